"""The grounds an environment stands on, each a handful of primitives."""

from __future__ import annotations

from pathlib import Path

from trackbed.errors import UserError
from trackbed.spec import IMPLEMENTED_TARGETS

from trackbed_components.targets.base import Target
from trackbed_components.targets.local import LocalTarget

__all__ = ["LocalTarget", "Target", "make_target"]


def make_target(name: str, *, home: Path) -> Target:
    """Return the target that a spec names.

    Args:
        name: the value of `target` in the spec.
        home: directory of the environment on this machine, for the targets that use one.

    Raises:
        UserError: this version of Trackbed has no such target.
    """
    if name == LocalTarget.name:
        return LocalTarget(home)
    raise UserError(f"the target {name!r} is not in this version of Trackbed; it has: {', '.join(IMPLEMENTED_TARGETS)}")
