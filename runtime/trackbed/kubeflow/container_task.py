"""Runs one task of a pipeline in a container, with podman or docker: the command of an adapted container component.

Started by KFP's local execution, which has put values in place of the command's placeholders. The task gets the
pipeline's directories at their own paths, the environment's variables, and this machine's network, so that servers on
loopback are reached.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ARGUMENTS_FOLLOW = "--trackbed-arguments"
PASSED_ON = ("MLFLOW_", "TRACKBED_", "AWS_")  # beginnings of the variables that every task gets


def main() -> int:
    """Run the task and return its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--executor")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--executor-input", required=True)
    parser.add_argument("--mount", action="append", default=[])
    parser.add_argument("--variable", action="append", default=[])
    # KFP writes the interpreter's path over every `python3`, also those meant for the container.
    own, words = _split([word.replace(sys.executable, "python3") for word in sys.argv[1:]], "--")
    given = parser.parse_args(own)
    command, arguments = _split(words, ARGUMENTS_FOLLOW)
    outputs = json.loads(given.executor_input).get("outputs", {})
    for path in _paths(outputs):
        path.parent.mkdir(parents=True, exist_ok=True)  # as the launcher of a cluster does
    argv = engine_command(
        given.engine,
        given.image,
        command,
        arguments,
        mounts={path: path for path in given.mount},
        variables=given.variable,
    )
    code = subprocess.run(argv).returncode
    if code == 0:
        _record_artifacts(outputs)
    return code


def engine_command(
    engine: str,
    image: str,
    command: Sequence[str],
    arguments: Sequence[str],
    *,
    mounts: Mapping[str, str],
    variables: Sequence[str],
) -> list[str]:
    """Return the command line that runs a task in a container.

    Args:
        engine: podman or docker.
        image: the image.
        command: as Kubernetes means it: it replaces the image's entry point; empty keeps that.
        arguments: what follows the entry point or command.
        mounts: directories and files of this machine, with their paths in the container.
        variables: names of variables that the task gets beside those of the environment.
    """
    passed_on = {name for name in os.environ if name.startswith(PASSED_ON)}
    return [
        *(engine, "run", "--rm", "--network", "host", "--security-opt", "label=disable"),
        *(word for here, there in mounts.items() for word in ("--volume", f"{here}:{there}")),
        # By name alone: values, some of them secret, stay off the command line.
        *(word for name in sorted({*variables, *passed_on}) for word in ("--env", name)),
        *(["--entrypoint", command[0], image, *command[1:]] if command else [image]),
        *arguments,
    ]


def _split(words: Sequence[str], separator: str) -> tuple[list[str], list[str]]:
    position = list(words).index(separator)
    return list(words[:position]), list(words[position + 1 :])


def _paths(outputs: dict[str, Any]) -> Iterator[Path]:
    yield from (Path(item["outputFile"]) for item in outputs.get("parameters", {}).values())
    for listed in outputs.get("artifacts", {}).values():
        yield from (Path(item["uri"]) for item in listed["artifacts"] if "://" not in item["uri"])
    if "outputFile" in outputs:
        yield Path(outputs["outputFile"])


def _record_artifacts(outputs: dict[str, Any]) -> None:
    """Add the artifacts that the task did not describe itself to its record, as the launcher of a cluster does."""
    file = Path(outputs["outputFile"])
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    record["artifacts"] = {**outputs.get("artifacts", {}), **record.get("artifacts", {})}
    file.write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
