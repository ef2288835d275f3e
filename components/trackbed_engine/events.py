"""The engine's event stream (`pulumi up --json`), typed to what people are told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# What the engine calls an operation, and what people call it. The others change nothing.
OPERATIONS = {
    "create": "create",
    "update": "change",
    "delete": "delete",
    "replace": "replace",
    "create-replacement": "replace",
    "delete-replaced": "replace",
    "import": "adopt",
    "discard": "keep",
    "discard-replaced": "keep",
    "read": "read",
    "refresh": "refresh",
}
ROOT_TYPE = "pulumi:pulumi:Stack"


@dataclass(frozen=True)
class Change:
    """What happens, or would happen, to one resource.

    Args:
        urn: the resource's unique name.
        operation: `create`, `change`, `replace`, `delete`, `adopt`, `keep`, or `same`.
        reasons: paths of the properties that differ, for a change.
    """

    urn: str
    operation: str
    reasons: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The resource's logical name."""
        return self.urn.rsplit("::", 1)[1]

    @property
    def kind(self) -> str:
        """The last part of the resource's type: `Process`, `TrackingServer`."""
        return self.urn.split("::")[2].rsplit("$", 1)[-1].rsplit(":", 1)[-1]

    @property
    def is_component(self) -> bool:
        """Whether it groups other resources instead of being one."""
        kind = self.urn.split("::")[2].rsplit("$", 1)[-1]
        return kind == ROOT_TYPE or (kind.startswith("trackbed:index:") and self.kind != "Settings")


@dataclass(frozen=True)
class Started:
    """A resource is being worked on."""

    change: Change


@dataclass(frozen=True)
class Finished:
    """A resource was worked on.

    Args:
        change: what was done.
        failed: whether it failed.
    """

    change: Change
    failed: bool = False


@dataclass(frozen=True)
class Failure:
    """Something went wrong.

    Args:
        urn: the resource it happened to; empty when it is about the whole.
        message: what the engine, the provider or the program said.
    """

    urn: str
    message: str


@dataclass(frozen=True)
class Notice:
    """Something the person should know, while all goes on.

    Args:
        message: a sentence.
    """

    message: str


@dataclass(frozen=True)
class Output:
    """A piece of what the program wrote to its standard error.

    Args:
        text: as it was written.
    """

    text: str


Event = Started | Finished | Failure | Notice | Output


def read_events(lines: Iterable[str]) -> Iterator[Event]:
    """Translate the engine's lines of JSON, one event each; lines that are none are passed over."""
    for line in lines:
        try:
            event: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        translated = _translate(event)
        if translated is not None:
            yield translated


def _translate(event: Mapping[str, Any]) -> Event | None:
    if started := event.get("resourcePreEvent"):
        return Started(_change(started["metadata"]))
    if finished := event.get("resOutputsEvent"):
        return Finished(_change(finished["metadata"]))
    if failed := event.get("resOpFailedEvent"):
        return Finished(_change(failed["metadata"]), failed=True)
    diagnostic = event.get("diagnosticEvent")
    if diagnostic and diagnostic["severity"] == "error":
        return Failure(diagnostic.get("urn", ""), diagnostic["message"].strip())
    if diagnostic and diagnostic["severity"] == "info#err":
        return Output(diagnostic["message"].rstrip("\n"))
    return None


def _change(metadata: Mapping[str, Any]) -> Change:
    detailed: Mapping[str, Any] = metadata.get("detailedDiff") or {}
    kept = metadata["op"] == "delete" and (metadata.get("old") or {}).get("retainOnDelete")
    return Change(
        urn=metadata["urn"],
        operation="keep" if kept else OPERATIONS.get(metadata["op"], "same"),
        reasons=tuple(sorted(detailed) or metadata.get("diffs") or ()),
    )
