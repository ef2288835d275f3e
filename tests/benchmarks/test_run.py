"""What `trackbed run` adds to a tool started by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from measuring import report, side_by_side, timed
from support import EXECUTABLES, RunningEnvironment

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

SCRIPT = "import mlflow\n"
TINY_SCRIPT = "def later():\n    import mlflow\n"
FLOW = """\
from metaflow import FlowSpec, step


class Tiny(FlowSpec):
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    Tiny()
"""


@pytest.mark.parametrize(
    ("title", "text", "arguments", "rounds"),
    [
        ("a script that does nothing", TINY_SCRIPT, [], 20),
        ("a script that imports mlflow", SCRIPT, [], 5),
        ("flow.py show", FLOW, ["show"], 10),
        ("flow.py run", FLOW, ["run"], 5),
    ],
)
def test_run(
    environment: RunningEnvironment, tmp_path: Path, title: str, text: str, arguments: list[str], rounds: int
) -> None:
    program = tmp_path / "program.py"
    program.write_text(text)
    exported = environment.trackbed("environment", "--export", "shell").stdout
    by_hand = {**environment.variables, "METAFLOW_USER": "benchmark"}
    for line in exported.splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        by_hand[name] = value.strip("'")

    def start(*command: str) -> float:
        return timed(
            lambda: subprocess.run(
                [*command, str(program), *arguments], cwd=tmp_path, env=by_hand, check=True, capture_output=True
            )
        )

    seconds = side_by_side(
        {
            "trackbed run": lambda: start(str(EXECUTABLES / "trackbed"), "run"),
            "by hand": lambda: start(sys.executable),
        },
        rounds=rounds,
    )
    more = 1000 * (seconds["trackbed run"] - seconds["by hand"])
    report(
        f"run: {title} (medians)",
        {
            **{name: f"{1000 * value:.0f} ms" for name, value in seconds.items()},
            "trackbed run - by hand, goal at most 50 ms": f"{more:.0f} ms",
        },
    )
