"""Finds the container engine of this machine: one that answers, not one that is only installed."""

from __future__ import annotations

import shutil
import subprocess

ENGINES = ("podman", "docker")
ANSWERS_WITHIN = 30  # seconds


def container_engine() -> str | None:
    """Return the path of a podman or docker that works, None when there is none."""
    for name in ENGINES:
        path = shutil.which(name)
        if path and _answers(path):
            return path
    return None


def _answers(path: str) -> bool:
    try:
        done = subprocess.run([path, "info"], stdin=subprocess.DEVNULL, capture_output=True, timeout=ANSWERS_WITHIN)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
