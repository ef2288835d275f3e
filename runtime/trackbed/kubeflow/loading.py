"""Imports the person's file without running what it does as a script, and without leaving bytecode beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def load(program: Path) -> ModuleType:
    """Run a Python file under its own module name, so that `if __name__ == "__main__"` is false.

    Its directory comes first on the module path, as it does for a script.

    Args:
        program: the file.
    """
    sys.path.insert(0, str(program.parent))
    sys.argv = [str(program)]
    module = ModuleType(program.stem)
    module.__file__ = str(program)
    sys.modules[module.__name__] = module
    # dont_inherit: this module's own __future__ imports would change what annotations mean in that one.
    exec(compile(program.read_bytes(), str(program), "exec", dont_inherit=True), module.__dict__)
    return module
