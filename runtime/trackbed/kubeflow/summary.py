"""What became of a run's tasks, gathered from the log of KFP's local execution, and told in a few lines."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

SUCCEEDED, FAILED, SKIPPED = "succeeded", "failed", "skipped"
DETAIL_LINES = 12  # of a task's outputs
VALUE_LENGTH = 120  # characters of a value; the whole of it is in the log and in the run's directory

_COLOUR = re.compile(r"\033\[\d+m")
_STARTED = re.compile(r"Executing task '(.+)'$")
_FINISHED = re.compile(r"Task '(.+)' finished with status (SUCCESS|FAILURE)$")
_OUTPUTS = re.compile(r"Task '(.+)' outputs:\n(.*)$", re.DOTALL)
_SKIPPED = re.compile(r"Skipping (?:conditional )?task ([^\s:]+)[: ]+\(?(.*?)\)?$")
# What KFP takes for `false` or for an empty loop, and goes on, although it could not tell.
_UNDECIDED = re.compile(r"(Condition evaluation failed|Could not resolve|Failed to get artifact iterator items)")


@dataclass
class Task:
    """One execution of a task, or the reason why there was none.

    Args:
        name: the task's name.
        state: `succeeded`, `failed` or `skipped`; empty while it runs.
        seconds: how long it took.
        detail: its outputs, or why it was skipped.
    """

    name: str
    state: str = ""
    seconds: float | None = None
    detail: str = ""


class TaskLog(logging.Filter):
    """Follows the tasks of a run through KFP's log records, all of which it lets pass.

    The wording is that of the kfp version in the engine's lock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Task] = []
        self.undecided: list[str] = []
        self._running: dict[tuple[int | None, str], tuple[Task, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Take note of what a record says of a task."""
        text = _COLOUR.sub("", record.getMessage())
        if match := _STARTED.search(text):
            task = Task(match[1])
            self.tasks.append(task)
            self._running[record.thread, task.name] = task, time.monotonic()
        elif match := _FINISHED.search(text):
            task, started = self._task(record, match[1])
            task.state = SUCCEEDED if match[2] == "SUCCESS" else FAILED
            task.seconds = time.monotonic() - started
        elif match := _OUTPUTS.search(text):
            self._task(record, match[1])[0].detail = match[2]
        elif match := _SKIPPED.search(text):
            self.tasks.append(Task(match[1], SKIPPED, detail=match[2]))
        elif _UNDECIDED.search(text):
            self.undecided.append(text)
        return True

    def _task(self, record: logging.LogRecord, name: str) -> tuple[Task, float]:
        found = self._running.get((record.thread, name))
        if found is None:
            found = Task(name), time.monotonic()
            self.tasks.append(found[0])
            self._running[record.thread, name] = found
        return found


def summary(
    pipeline: str, tasks: Sequence[Task], outputs: Mapping[str, str], problem: str | None, directory: str
) -> str:
    """Return what became of a run: each task's state and outputs, the pipeline's outputs, where the files are.

    Args:
        pipeline: the pipeline's name.
        tasks: its tasks in the order they began.
        outputs: the pipeline's outputs, already worded.
        problem: why it failed; None when it succeeded.
        directory: where the run's files lie.
    """
    width = max((len(task.name) for task in tasks), default=0)
    lines = [f"Pipeline {pipeline} {FAILED if problem else SUCCEEDED}"]
    for task in tasks:
        seconds = "" if task.seconds is None else f"{task.seconds:.1f} s"
        lines.append(f"  {task.name:<{width}}  {task.state or FAILED:<9}  {seconds:>7}  {_reason(task)}".rstrip())
        if task.state == SUCCEEDED:
            lines += [f"      {_cut(line.strip())}" for line in task.detail.splitlines()[:DETAIL_LINES]]
    if outputs:
        lines += ["Outputs", *(f"  {name} = {value}" for name, value in outputs.items())]
    if problem:
        lines.append(f"Why: {_COLOUR.sub('', problem)}")
    return "\n".join([*lines, f"Files: {directory}"])


def shown(value: Any) -> str:
    """Return a value in one line, cut where it is long; whole numbers without the `.0` that protobuf gives them."""
    return _cut(repr(whole_numbers(value)).replace("\n", " "))


def whole_numbers(value: Any) -> Any:
    """Return a JSON value with floats that are whole numbers as integers, at any depth."""
    if isinstance(value, list):
        return [whole_numbers(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in cast(dict[str, Any], value).items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_LENGTH else text[: VALUE_LENGTH - 1] + "…"


def _reason(task: Task) -> str:
    return task.detail if task.state == SKIPPED else ""
