"""What a person sees of a study: a line for each event and, at a terminal, a live table of the running trials."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trackbed.tuning.study import Study

REFRESHES_PER_SECOND = 4


@dataclass(frozen=True)
class Counts:
    """How many trials there are of each kind.

    Args:
        complete: ended with a value of the objective.
        pruned: ended early.
        failed: ended without a value.
        running: not ended yet.
        interrupted: ended with a tuner; they count for nothing and are run again.
    """

    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    interrupted: int = 0

    @property
    def finished(self) -> int:
        """Trials that used up a part of maxTrialCount."""
        return self.complete + self.pruned + self.failed


@dataclass(frozen=True)
class Row:
    """A running trial in the live table.

    Args:
        number: the trial's number.
        values: its parameters as text.
        seconds: how long it has been running.
        latest: last value of the objective's metric; None before the first.
    """

    number: int
    values: Mapping[str, str]
    seconds: float
    latest: float | None


class Display:
    """Shows a study's progress; a context manager while trials run.

    Args:
        study: the study.
        console: where to.
    """

    def __init__(self, study: Study, console: Console) -> None:
        self._study = study
        self._console = console
        self._started = time.monotonic()
        self._live = Live(console=console, refresh_per_second=REFRESHES_PER_SECOND, transient=True)

    def __enter__(self) -> Display:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """Print a line above the live table."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def update(self, rows: Sequence[Row], counts: Counts, best: str) -> None:
        """Renew the live table; does nothing without a terminal.

        Args:
            rows: the running trials.
            counts: all trials.
            best: the best trial so far, in words.
        """
        if not self._console.is_terminal:
            return
        table = Table(box=None, pad_edge=False)
        for column in ("trial", "running", f"last {self._study.objective.metric}", "parameters"):
            table.add_column(column, no_wrap=column != "parameters", style="cyan" if column == "trial" else "")
        for row in rows:
            latest = "" if row.latest is None else f"{row.latest:.6g}"
            table.add_row(Text(str(row.number)), f"{row.seconds:.0f} s", latest, Text(shown_values(row.values)))
        elapsed = time.monotonic() - self._started
        summary = f"{counts.finished} of {self._study.max_trials} trials, {counts_text(counts)}, {elapsed:.0f} s"
        self._live.update(Group(table, Text(summary, style="bold"), Text(best, style="green")))


def counts_text(counts: Counts) -> str:
    """Return the counts in words: `7 complete, 2 pruned, 1 failed`."""
    parts = [f"{counts.complete} complete"]
    for name in ("pruned", "failed", "running", "interrupted"):
        if number := getattr(counts, name):
            parts.append(f"{number} {name}")
    return ", ".join(parts)


def shown_values(values: Mapping[str, str]) -> str:
    """Return parameters in one line: `lr=0.1 depth=3`."""
    return " ".join(f"{name}={_short(text)}" for name, text in values.items())


def _short(text: str) -> str:
    """Shorten a float of many digits; the full value stands in MLflow and in the summary."""
    try:
        return text if len(text) <= 8 else f"{float(text):.4g}"
    except ValueError:
        return text
