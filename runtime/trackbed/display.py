"""What people see while the engine works: a live list at a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from trackbed_engine.events import Change, Event

PIPE_WIDTH = 240  # columns
DOING = {"create": "creating", "change": "changing", "replace": "replacing", "delete": "deleting", "adopt": "adopting"}
DONE = {
    "create": "created",
    "change": "changed",
    "replace": "replaced",
    "delete": "deleted",
    "adopt": "adopted",
    "keep": "kept",
}
COLOURS = {
    "create": "green",
    "change": "yellow",
    "replace": "magenta",
    "delete": "red",
    "adopt": "cyan",
    "keep": "cyan",
}


def output_console(*, stderr: bool = False) -> Console:
    """Return a console for people's eyes that does not cut lines off where the output goes to a file or a pipe."""
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


class ProgressDisplay:
    """Shows each resource that is worked on, with how long it takes; use it as a context manager.

    Args:
        title: what is being done.
        console: where to write; standard error, so that data on standard output stays clean.
    """

    def __init__(self, title: str, console: Console) -> None:
        self._title = title
        self._console = console
        self._began = time.monotonic()
        self._running: dict[str, tuple[Change, float]] = {}
        self._live = Live(console=console, refresh_per_second=10, transient=True, get_renderable=self._render)

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def on_event(self, event: Event) -> None:
        """Take in one event of the engine."""
        from trackbed_engine.events import Finished, Notice, Started

        if isinstance(event, Notice):
            self._console.print(f"  {event.message}")
        if not isinstance(event, Started | Finished):
            return
        change = event.change
        if change.is_component or change.operation not in DOING | DONE:
            return
        if not isinstance(event, Finished):
            self._running[change.urn] = (change, time.monotonic())
            return
        _, began = self._running.pop(change.urn, (change, time.monotonic()))
        word = "failed" if event.failed else DONE[change.operation]
        colour = "red" if event.failed else COLOURS[change.operation]
        seconds = time.monotonic() - began
        line = Text.assemble(("  ", ""), (f"{word:<9}", colour), change.name, (f"  {seconds:.1f} s", "dim"))
        self._console.print(line)

    def _render(self) -> Table:
        table = Table.grid(padding=(0, 1))
        table.add_row(Spinner("dots"), Text(f"{self._title} ({time.monotonic() - self._began:.0f} s)"))
        for change, began in self._running.values():
            word = DOING.get(change.operation, change.operation)
            table.add_row("", Text(f"{word} {change.name} ({time.monotonic() - began:.0f} s)", style="dim"))
        return table


def changes_table(changes: Sequence[Change]) -> Table:
    """Return the table of what will change: operation, resource, kind and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "RESOURCE", "KIND", "BECAUSE OF"):
        table.add_column(heading)
    for change in changes:
        table.add_row(
            Text(change.operation, style=COLOURS.get(change.operation, "")),
            change.name,
            change.kind,
            ", ".join(change.reasons) if change.operation in ("change", "replace") else "",
        )
    return table


def counted(changes: Sequence[Change]) -> str:
    """Return the number of changes of each kind in words: `3 created, 1 changed`; `nothing to change` for none."""
    counts: dict[str, int] = {}
    for change in changes:
        word = DONE.get(change.operation, change.operation)
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or "nothing to change"
