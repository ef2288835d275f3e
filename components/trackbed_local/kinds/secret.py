"""`trackbed:local:Secret`: a secret in a file of its own that only its owner can read."""

from __future__ import annotations

import base64
import secrets
import string
from pathlib import Path

from trackbed_local.kinds.base import UNKNOWN, Difference, Failure, Inputs, Properties, compare
from trackbed_local.layout import write_atomic

ALPHABET = string.ascii_letters + string.digits  # safe in URLs, INI files and shells without quoting
SHORTEST, LONGEST = 16, 256


class Secret:
    """Generates a random value, or keeps one it is given; the generated value exists in the file only."""

    secret_properties: frozenset[str] = frozenset(["value"])

    def check(self, _olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        """Validate path, value, format, length and triggers."""
        inputs = Inputs(news)
        inputs.path("path")
        inputs.optional_text("value")
        inputs.text("format", default="text", pattern="text|fernet", allowed="text and fernet")
        inputs.number("length", minimum=SHORTEST, maximum=LONGEST, default=32, whole=True)
        inputs.text_map("triggers")
        return inputs.finish()

    def diff(self, state: Properties, news: Properties) -> Difference:
        """Compare inputs; a vanished file differs in its path, a changed one in the value that was given."""
        difference = compare(state, news, ["path", "value", "format", "length", "triggers"], replacing=["path"])
        if difference.paths:
            return difference
        found = self.read(state)
        if found is None:
            return Difference(drifted=frozenset(["path"]), reason=f"{state['path']} is missing.")
        if compare(found, news, ["value"]).paths:
            return Difference(drifted=frozenset(["value"]), reason=f"{state['path']} was changed.")
        return difference

    def preview(self, _state: Properties, news: Properties) -> Properties:
        """Predict the reference."""
        known = news["path"] != UNKNOWN
        return {**news, "reference": f"file:{news['path']}" if known else UNKNOWN}

    def create(self, news: Properties) -> tuple[str, Properties]:
        """Write the value given; without one, adopt what the file holds, or generate."""
        path = Path(news["path"])
        present = _content(path)
        given: str | None = news.get("value")
        if given is None and present:
            path.chmod(0o600)
        elif given is None or given != present:
            _write(path, given or _generated(news))
        return str(path), self.preview({}, news)

    def read(self, state: Properties) -> Properties | None:
        """Return the value found if one was given; a generated one is never read into the state."""
        present = _content(Path(state["path"]))
        if not present:
            return None
        return state if state.get("value") is None else {**state, "value": present}

    def update(self, state: Properties, news: Properties) -> Properties:
        """Write a value that changed; other triggers, another length or no more value: generate anew."""
        path = Path(news["path"])
        given: str | None = news.get("value")
        rotate = compare(state, news, ["value", "format", "length", "triggers"]).paths
        if given is not None:
            _write(path, given)
        elif rotate or not _content(path):
            _write(path, _generated(news))
        return self.preview(state, news)

    def delete(self, state: Properties) -> None:
        """Remove the file."""
        Path(state["path"]).unlink(missing_ok=True)


def _generated(news: Properties) -> str:
    if news["format"] == "fernet":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return "".join(secrets.choice(ALPHABET) for _ in range(int(news["length"])))


def _content(path: Path) -> str:
    try:
        return path.read_text().rstrip("\n")
    except OSError:
        return ""


def _write(path: Path, value: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(path, value.encode(), 0o600)
