"""`trackbed:local:File`: a file with the content it is given."""

from __future__ import annotations

import stat
from pathlib import Path

from trackbed.errors import UserError

from trackbed_local.kinds.base import Difference, Failure, Inputs, Properties, compare, mode_input
from trackbed_local.layout import write_atomic


class File:
    """Writes a file in one step and notices when somebody else changes it."""

    secret_properties: frozenset[str] = frozenset()

    def check(self, _olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        """Validate path, content and permissions."""
        inputs = Inputs(news)
        inputs.path("path")
        inputs.text("content")
        mode_input(inputs, "0600")
        return inputs.finish()

    def diff(self, state: Properties, news: Properties) -> Difference:
        """Compare inputs with the record, and the record with the file."""
        difference = compare(state, news, ["path", "content", "mode"], replacing=["path"])
        if difference.paths:
            return difference
        found = self.read(state)
        if found is None:
            return Difference(drifted=frozenset(["path"]), reason=f"{state['path']} is missing.")
        drifted = frozenset(key for key in ("content", "mode") if found[key] != state[key])
        return Difference(drifted=drifted, reason=f"{state['path']} was changed." if drifted else "")

    def preview(self, _state: Properties, news: Properties) -> Properties:
        """Return the inputs: there are no other outputs."""
        return news

    def create(self, news: Properties) -> tuple[str, Properties]:
        """Write the file, and its parent directories where they are missing."""
        path = Path(news["path"])
        if path.is_dir():
            raise UserError(f"{path} should be a file, but is a directory.", hint="Move it away.")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, news["content"].encode(), int(news["mode"], 8))
        return str(path), news

    def read(self, state: Properties) -> Properties | None:
        """Return content and permissions as they are."""
        path = Path(state["path"])
        try:
            content = path.read_bytes().decode(errors="replace")
            mode = f"{stat.S_IMODE(path.stat().st_mode):04o}"
        except OSError:
            return None
        same = int(mode, 8) == int(state.get("mode", mode), 8)
        return {**state, "content": content, "mode": state.get("mode", mode) if same else mode}

    def update(self, _state: Properties, news: Properties) -> Properties:
        """Write the file anew."""
        return self.create(news)[1]

    def delete(self, state: Properties) -> None:
        """Remove the file."""
        Path(state["path"]).unlink(missing_ok=True)
