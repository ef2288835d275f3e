"""The plugin of the local target, started beside the engine instead of by it.

The engine starts a plugin twice in an `up`, one time after the other and each before it goes on, and a Python plugin
takes half a second. One that runs already is only attached to (Pulumi's PULUMI_DEBUG_PROVIDERS), and is shared by
all operations of a command.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from trackbed.errors import UserError

ATTACHED = "PULUMI_DEBUG_PROVIDERS"
PACKAGE = "trackbed"


class Plugin:
    """A running plugin; it ends with this process, or earlier on request.

    Args:
        environment: its variables, the engine's own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        # In a group of its own: Ctrl-C is for the engine, which tells its plugins what to give up.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "trackbed_local.provider"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        self._port = ""

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that make an engine attach to this plugin; blocks until it can.

        Args:
            given: the engine's other variables; what they attach to already is kept.

        Raises:
            UserError: the plugin did not start.
        """
        if not self._port:
            assert self._process.stdout is not None
            self._port = self._process.stdout.readline().strip()
        if not self._port:
            raise UserError(
                f"the plugin of the local target ended with exit status {self._process.wait()} while it was starting",
                hint=f"{sys.executable} -m trackbed_local.provider says why",
            )
        return {ATTACHED: ",".join([*filter(None, [given.get(ATTACHED)]), f"{PACKAGE}:{self._port}"])}

    def end(self) -> None:
        """End it; may be repeated."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
