"""Environments of tasks that ask for packages: on top of the one that runs the pipeline, made once and kept.

KFP's own means is a new virtual environment for each task of each run, with all of its packages downloaded again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

from trackbed.kubeflow.installs import Install


class InstallError(Exception):
    """Packages of a component could not be installed; pip has said why."""


def task_environment(installs: Sequence[Install], base: Path) -> Path:
    """Return the virtual environment with a component's packages, made when it is not there yet.

    It sees what the base environment has, as a component sees what its image has; pip installs what is missing or has
    another version.

    Args:
        installs: the arguments of each `pip install`; none at all gives the base itself.
        base: the environment that tasks use otherwise, with pip in it.

    Returns:
        The environment's directory; its interpreter is `bin/python`.

    Raises:
        InstallError: pip failed.
    """
    if not installs:
        return base
    key = hashlib.sha256(json.dumps([sys.version, *installs]).encode()).hexdigest()[:16]
    directory = base / "tasks" / key
    directory.parent.mkdir(exist_ok=True)
    with directory.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two runs that need it, one makes it
        complete = directory / "complete"
        if not complete.exists():
            shutil.rmtree(directory, ignore_errors=True)  # what a killed run left
            _make(directory, installs, base)
            complete.touch()
    return directory


def _make(directory: Path, installs: Sequence[Install], base: Path) -> None:
    words = [word for install in installs for word in install if not word.startswith("-")]
    print(f"trackbed: installing {' '.join(words)} (once; later runs reuse it)", file=sys.stderr, flush=True)
    venv.create(directory, symlinks=True)
    site = sysconfig.get_path("purelib", vars={"base": str(directory), "platbase": str(directory)})
    below = sysconfig.get_path("purelib", vars={"base": str(base), "platbase": str(base)})
    # A .pth file, not --system-site-packages: that would show the interpreter's packages, not the environment's.
    Path(site, "base.pth").write_text(below + "\n", encoding="utf-8")
    pip = [str(base / "bin" / "python"), "-m", "pip", "--python", str(directory / "bin" / "python"), "install"]
    for install in installs:
        if subprocess.run([*pip, *install]).returncode != 0:
            raise InstallError(f"pip could not install what a component asks for: {' '.join(words)}")
