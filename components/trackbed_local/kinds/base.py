"""What a resource type of the local provider is: six operations on plain property values."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Properties = dict[str, Any]

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # how Pulumi's wire format writes a value not known yet


@dataclass(frozen=True)
class Failure:
    """Something wrong with one input.

    Args:
        path: the property path, such as `restart.policy`.
        reason: what is wrong, the value given, what is allowed.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class Difference:
    """What an update would have to do.

    Args:
        added: property paths that are new.
        changed: property paths whose value is another.
        removed: property paths that are gone.
        drifted: outputs that say that the real thing is not as it should be.
        replaced: those of the paths above that need the resource to be made anew.
        delete_first: the old resource has to go before the new one can be made.
        reason: a sentence for the reader about what drifted; empty when there is nothing to explain.
    """

    added: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    drifted: frozenset[str] = frozenset()
    replaced: frozenset[str] = frozenset()
    delete_first: bool = False
    reason: str = ""

    @property
    def paths(self) -> frozenset[str]:
        """All property paths that differ."""
        return self.added | self.changed | self.removed | self.drifted


class Kind(Protocol):
    """One resource type. All operations block and may be repeated after a crash.

    Attributes:
        secret_properties: properties that are secret whatever the program says.
    """

    secret_properties: frozenset[str]

    def check(self, olds: Properties, news: Properties, /) -> tuple[Properties, list[Failure]]:
        """Validate the new inputs and fill in defaults; unknown values pass. Returns inputs and problems."""
        ...

    def diff(self, state: Properties, news: Properties, /) -> Difference:
        """Compare the recorded state (and the real thing, without touching it) with the new inputs."""
        ...

    def preview(self, state: Properties, news: Properties, /) -> Properties:
        """Predict the outputs of `create` (empty state) or `update`, without touching the machine."""
        ...

    def create(self, news: Properties, /) -> tuple[str, Properties]:
        """Make the real thing, or adopt one that is there; returns its id and outputs."""
        ...

    def read(self, state: Properties, /) -> Properties | None:
        """Return the outputs as they are in reality, None when the thing is gone."""
        ...

    def update(self, state: Properties, news: Properties, /) -> Properties:
        """Bring the real thing to the new inputs; returns its outputs."""
        ...

    def delete(self, state: Properties, /) -> None:
        """Take the real thing away; one that is gone already is no error."""
        ...


def compare(state: Properties, news: Properties, keys: Iterable[str], *, replacing: Iterable[str] = ()) -> Difference:
    """Compare inputs recorded in the state with new ones; maps are compared key by key.

    Args:
        state: recorded values.
        news: new inputs.
        keys: the properties to compare; a null counts as absent.
        replacing: those whose change needs another resource.
    """
    added: set[str] = set()
    changed: set[str] = set()
    removed: set[str] = set()
    for key in keys:
        old, new = state.get(key), news.get(key)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            inner = compare(old, new, {*old, *new})
            added |= {f"{key}{_step(path)}" for path in inner.added}
            changed |= {f"{key}{_step(path)}" for path in inner.changed}
            removed |= {f"{key}{_step(path)}" for path in inner.removed}
        elif old is None:
            added.add(key)
        elif new is None:
            removed.add(key)
        else:
            changed.add(key)
    replaced = frozenset(replacing) & (added | changed | removed)
    return Difference(
        added=frozenset(added),
        changed=frozenset(changed),
        removed=frozenset(removed),
        replaced=replaced,
        delete_first=bool(replaced),
    )


def _step(path: str) -> str:
    """Write a map's key (with what follows) as Pulumi's property paths want it."""
    return f".{path}" if re.fullmatch(r"[A-Za-z_][\w.]*", path) else f'["{path}"]'


class Inputs:
    """Reads inputs one by one, collecting all problems and what is left of the values.

    Args:
        news: the inputs as given.
        prefix: property path of these inputs, for nested ones.
    """

    def __init__(self, news: Mapping[str, Any], prefix: str = "") -> None:
        self.values: Properties = {}
        self.failures: list[Failure] = []
        self._news = news
        self._prefix = prefix
        self._known: set[str] = set()

    def text(self, key: str, *, default: str | None = None, pattern: str = "", allowed: str = "") -> None:
        """Read a string that, if given a pattern, matches it wholly; required without a default."""
        value = self._take(key, default)
        if value is None or value == UNKNOWN:
            return
        if not isinstance(value, str):
            self.fail(key, f"must be a string, but it is {_shown(value)}")
        elif pattern and not re.fullmatch(pattern, value):
            self.fail(key, f"is {value!r}, but must be {allowed}")

    def optional_text(self, key: str) -> None:
        """Read a string that may be absent."""
        if self._news.get(key) is not None:
            self.text(key)
        self._known.add(key)

    def path(self, key: str, *, optional: bool = False) -> None:
        """Read an absolute path; it is normalised, and is neither the root nor the home directory."""
        if optional and self._news.get(key) is None:
            self._known.add(key)
            return
        self.text(key)
        value = self.values.get(key)
        if not isinstance(value, str) or value == UNKNOWN:
            return
        if not value.startswith("/"):
            self.fail(key, f"is {value!r}, but must be an absolute path")
        elif any(ord(letter) < 32 for letter in value):
            self.fail(key, f"is {value!r}, but must not have control characters")
        elif Path(value) in (Path("/"), Path.home()) and not optional:
            self.fail(key, f"is {value!r}, but must be a directory or file below that, not a whole file tree")
        elif ".." in Path(value).parts:
            self.fail(key, f"is {value!r}, but must not contain '..'")
        else:
            self.values[key] = str(Path(value))

    def number(
        self,
        key: str,
        *,
        minimum: float,
        maximum: float,
        default: float | None = None,
        whole: bool = False,
        optional: bool = False,
    ) -> None:
        """Read a number within bounds (both included); required without a default unless optional."""
        if optional and self._news.get(key) is None:
            self._known.add(key)
            return
        value = self._take(key, default)
        if value is None or value == UNKNOWN:
            return
        kind = "a whole number" if whole else "a number"
        wrong_type = isinstance(value, bool) or not isinstance(value, int | float)
        if wrong_type or (whole and value != int(value)) or not minimum <= value <= maximum:
            self.fail(key, f"is {_shown(value)}, but must be {kind} from {minimum:g} to {maximum:g}")

    def texts(self, key: str, *, minimum: int = 0) -> None:
        """Read a list of strings."""
        value = self._take(key, None if minimum else [])
        if value is None or value == UNKNOWN:
            return
        if not _is_texts(value):
            self.fail(key, f"must be a list of strings, but it is {_shown(value)}")
        elif len(value) < minimum:
            self.fail(key, f"must have at least {minimum} element")

    def lists_of_texts(self, key: str) -> None:
        """Read a list of lists of strings, none of them empty."""
        value = self._take(key, [])
        if value == UNKNOWN:
            return
        if not isinstance(value, list) or not all(item == UNKNOWN or (item and _is_texts(item)) for item in value):
            self.fail(key, f"must be a list of commands, each a list of strings, but it is {_shown(value)}")

    def text_map(self, key: str, *, secret: bool = False, names: str = "", value: str = "") -> None:
        """Read a map of strings; `names` and `value` are patterns of its keys and values."""
        given = self._take(key, {})
        if given == UNKNOWN:
            return
        if not isinstance(given, dict):
            self.fail(key, f"must be a map of strings, but it is {'no map' if secret else _shown(given)}")
            return
        for name, item in given.items():
            shown = "no string" if secret else _shown(item)
            if names and not re.fullmatch(names, name):
                self.fail(f"{key}{_step(name)}", "is not a name of a variable")
            if not isinstance(item, str):
                self.fail(f"{key}{_step(name)}", f"must be a string, but it is {shown}")
            elif value and item != UNKNOWN and not re.fullmatch(value, item):
                self.fail(f"{key}{_step(name)}", f"is {item!r}, but must be file:/absolute/path or env:NAME")

    def nested(self, key: str, *, optional: bool = False) -> Inputs | None:
        """Read a map with fields of its own; finish it with `adopt`. None when there is nothing to read."""
        value = self._news.get(key)
        self._known.add(key)
        if value is None and optional:
            return None
        if value == UNKNOWN:
            self.values[key] = UNKNOWN
            return None
        if value is not None and not isinstance(value, dict):
            self.fail(key, f"must be a map, but it is {_shown(value)}")
            return None
        return Inputs(value or {}, prefix=f"{self._prefix}{key}.")

    def adopt(self, key: str, inner: Inputs) -> None:
        """Take over the values and problems of a nested map that has been read."""
        values, failures = inner.finish()
        self.values[key] = values
        self.failures.extend(failures)

    def anything(self, key: str, default: Any) -> None:
        """Read a value of any type."""
        self._take(key, default)

    def fail(self, key: str, reason: str) -> None:
        """Note a problem with one input."""
        path = self._prefix + key
        self.failures.append(Failure(path, f"{path} {reason}."))

    def finish(self) -> tuple[Properties, list[Failure]]:
        """Refuse what nobody asked for; return the values with defaults, and all problems."""
        for key in self._news:
            if key in self._known or key.startswith("__"):
                continue
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f" Did you mean {near[0]}?" if near else f" Known are: {', '.join(sorted(self._known))}."
            self.failures.append(Failure(self._prefix + key, f"{self._prefix}{key} is not known here.{hint}"))
        return self.values, self.failures

    def _take(self, key: str, default: Any) -> Any:
        self._known.add(key)
        value = self._news.get(key)
        if value is None:
            value = default
        if value is None:
            self.fail(key, "is missing")
        else:
            self.values[key] = value
        return value


def mode_input(inputs: Inputs, default: str) -> None:
    """Read permissions such as "0700"."""
    inputs.text("mode", default=default, pattern="0?[0-7]{3}", allowed='octal permissions such as "0600"')


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)  # pyright: ignore[reportUnknownVariableType]


def _shown(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
