"""`trackbed:local:Directory`: a directory that is removed only by who made it."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

from trackbed.errors import UserError

from trackbed_local.kinds.base import Difference, Failure, Inputs, Properties, compare, mode_input
from trackbed_local.layout import write_atomic
from trackbed_local.programs import remove_all

MARKER = ".trackbed-directory"  # holds the path it was made for, so that a copied tree is nobody's


class Directory:
    """Makes a directory; adopts one that exists, and then never deletes it."""

    secret_properties: frozenset[str] = frozenset()

    def check(self, _olds: Properties, news: Properties) -> tuple[Properties, list[Failure]]:
        """Validate path and permissions."""
        inputs = Inputs(news)
        inputs.path("path")
        mode_input(inputs, "0700")
        return inputs.finish()

    def diff(self, state: Properties, news: Properties) -> Difference:
        """Compare inputs; a directory that has vanished differs in its path."""
        difference = compare(state, news, ["path", "mode"], replacing=["path"])
        if not difference.paths and not Path(state["path"]).is_dir():
            return Difference(drifted=frozenset(["path"]), reason=f"{state['path']} is missing.")
        return difference

    def preview(self, _state: Properties, news: Properties) -> Properties:
        """Return the inputs: there are no other outputs."""
        return news

    def create(self, news: Properties) -> tuple[str, Properties]:
        """Make the directory with its parents and mark it as ours, or adopt one that is there."""
        path = Path(news["path"])
        if path.exists() and not path.is_dir():
            raise UserError(f"{path} should be a directory, but is a file.", hint="Move it away.")
        if not path.exists():
            path.mkdir(parents=True)
            write_atomic(path / MARKER, f"{path}\n".encode(), 0o600)
        path.chmod(int(news["mode"], 8))
        return str(path), news

    def read(self, state: Properties) -> Properties | None:
        """Return the permissions as they are."""
        path = Path(state["path"])
        if not path.is_dir():
            return None
        return {**state, "mode": f"{stat.S_IMODE(path.stat().st_mode):04o}"}

    def update(self, _state: Properties, news: Properties) -> Properties:
        """Bring a vanished directory back, or change the permissions."""
        return self.create(news)[1]

    def delete(self, state: Properties) -> None:
        """Remove the tree if the mark says that we made it; nothing goes on running in it."""
        path = Path(state["path"])
        try:
            ours = not path.is_symlink() and (path / MARKER).read_text().strip() == str(path)
        except OSError:
            return
        if ours:
            remove_all(path)  # a killed `up` may have started what no state knows of
            shutil.rmtree(path)
