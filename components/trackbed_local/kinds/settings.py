"""`trackbed:index:Settings`: the settings an environment is born with, and keeps."""

from __future__ import annotations

import json
from typing import Any

from trackbed_local.kinds.base import UNKNOWN, Difference, Failure, Inputs, Properties, compare


class Settings:
    """Refuses, before anything else happens, a change of what cannot be changed in place."""

    secret_properties: frozenset[str] = frozenset()

    def check(self, olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        """Report each setting that has another value than before, or is gone.

        A setting that is new is let through: an environment made by an earlier version lacks it.
        """
        inputs = Inputs(news)
        inputs.anything("immutable", {})
        values, failures = inputs.finish()
        before, now = olds.get("immutable"), values["immutable"]
        if isinstance(before, dict) and isinstance(now, dict):
            failures = [*failures, *_refusals(before, now)]
        return values, failures

    def diff(self, state: Properties, news: Properties) -> Difference:
        """Compare the settings."""
        return compare(state, news, ["immutable"])

    def preview(self, _state: Properties, news: Properties) -> Properties:
        """Return the inputs: there are no other outputs."""
        return news

    def create(self, news: Properties) -> tuple[str, Properties]:
        """Record the settings; nothing is made."""
        return "settings", news

    def read(self, state: Properties) -> Properties | None:
        """Return what was recorded: it cannot drift."""
        return state

    def update(self, _state: Properties, news: Properties) -> Properties:
        """Record settings that were added."""
        return news

    def delete(self, _state: Properties) -> None:
        """Nothing was made, nothing is taken away."""


def _refusals(before: dict[str, Any], now: dict[str, Any]) -> list[Failure]:
    return [
        Failure(
            f"immutable.{key}",
            f"{key} cannot change from {_shown(old)} to {_shown(now.get(key))} in an environment that exists. "
            f"Set it back to {_shown(old)}, or make another environment beside this one "
            f"(trackbed new-environment NAME).",
        )
        for key, old in before.items()
        if UNKNOWN not in (old, now.get(key)) and now.get(key) != old
    ]


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)
