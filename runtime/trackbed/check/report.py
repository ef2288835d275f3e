"""Running the steps one after the other, timed, until the first that fails; then taking away what they made."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trackbed.check.steps import STEPS, Ground
from trackbed.check.traces import remove_traces
from trackbed.environments import Environment
from trackbed.errors import UserError
from trackbed.launchers import Launcher

PREFIX = "trackbed-check"
# For MLflow in this process and in those it starts: one attempt to reach a server, and no bars between the results.
QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}


@dataclass(frozen=True)
class Result:
    """How one step went.

    Args:
        step: what was done, in words.
        passed: whether it went well.
        seconds: how long it took.
        message: what was seen, or what failed.
        hint: the next command; empty when it passed.
    """

    step: str
    passed: bool
    seconds: float
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Report:
    """How a check went.

    Args:
        results: the steps up to the first that failed.
        left: what could not be taken away again, each in words.
    """

    results: tuple[Result, ...]
    left: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every step went well and nothing is left."""
        return not self.left and all(result.passed for result in self.results)


def run_check(environment: Environment, launcher: Launcher, on_result: Callable[[Result], None]) -> Report:
    """Run the check. What it makes has a name of its own, so that two checks at a time do not meet.

    Args:
        environment: the environment.
        launcher: its launcher.
        on_result: called with each result as soon as it is there.
    """
    os.environ.update(QUIET)
    name = f"{PREFIX}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    results: list[Result] = []
    left: list[str] = []
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-") as directory:
        ground = Ground(environment, launcher, name, Path(directory))
        try:
            for title, step in STEPS:
                results.append(_timed(title, lambda step=step: step(ground)))
                on_result(results[-1])
                if not results[-1].passed:
                    break
        finally:
            if ground.reached:
                cleaning = _timed("clean up", lambda: _cleaned(ground, left))
                results.append(cleaning)
                on_result(cleaning)
    return Report(tuple(results), tuple(left))


def _timed(title: str, work: Callable[[], str]) -> Result:
    began = time.monotonic()
    try:
        message, hint, passed = work(), "", True
    except UserError as error:
        message, hint, passed = str(error), error.hint or "trackbed doctor", False
    return Result(title, passed, round(time.monotonic() - began, 3), message, hint)


def _cleaned(ground: Ground, left: list[str]) -> str:
    left += remove_traces(ground)
    if left:
        raise UserError(f"left behind: {'; '.join(left)}", hint="trackbed status; then delete it in the tracking UI")
    return "nothing is left"
