"""Virtual environments for engines whose dependencies must not meet the program's caller or each other.

An environment holds the engine's committed lock (templates/trackbed_templates/engines/<engine>.lock) and, with the
lock as constraints, what the program's own project asks for. It is made once with uv and kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from trackbed.cache import cache_root, only_builder, tell
from trackbed.errors import UserError
from trackbed.templates import template_text

# Changes whenever environments are made differently from the same input, so that older ones are not taken for new.
LAYOUT = "2"
PROJECT_MARKERS = (".git", "pyproject.toml", "trackbed.yaml")
KEY_LENGTH = 16
MESSAGE_LINES = 30  # of uv's output, in an error

_NESTED = re.compile(r"^\s*(?:-r|--requirement|-c|--constraint)[ =]?\s*([^\s#]+)", re.MULTILINE)


def environment_for(engine: str, project: Path | None) -> Path:
    """Return the directory of the engine's virtual environment, made when it is not there yet.

    Whatever is made is told on standard error. A build that was killed leaves nothing that is taken for an
    environment, and of two builders at once one waits for the other.

    Args:
        engine: `airflow`, `kubeflow` or `kubeflow-v1`.
        project: the directory of the program, whose requirements.txt (there, or further up in its project) is
            installed too; None for nothing beside the lock.

    Returns:
        The environment's directory; its interpreter is `bin/python`.

    Raises:
        UserError: uv could not make it; the message is uv's.
    """
    directory = environment_directory(engine, project)
    if directory.is_dir():
        return directory
    with only_builder(directory) as held:
        if not directory.is_dir():
            _build(engine, _lock(engine), _requirements(project), directory, held)
    return directory


def environment_directory(engine: str, project: Path | None) -> Path:
    """Return where `environment_for` finds or makes the environment; makes nothing."""
    return environments_root() / f"{engine}-{_key(_lock(engine), _requirements(project))}"


def environments_root() -> Path:
    """Return where engine environments are kept."""
    return cache_root() / "engines"


def find_requirements(project: Path) -> Path | None:
    """Return the requirements.txt that counts for a program, None when there is none.

    The nearest one from the program's directory up to the project's root, which is the first directory with a .git, a
    pyproject.toml or a trackbed.yaml. Outside a project only the program's own directory counts.

    Args:
        project: the directory of the program.
    """
    directories = [project.absolute(), *project.absolute().parents]
    root = next((i for i, d in enumerate(directories) if any((d / m).exists() for m in PROJECT_MARKERS)), 0)
    candidates = (directory / "requirements.txt" for directory in directories[: root + 1])
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _lock(engine: str) -> str:
    return template_text(f"engines/{engine}.lock")


def _requirements(project: Path | None) -> Path | None:
    return find_requirements(project) if project is not None else None


def _key(lock: str, requirements: Path | None) -> str:
    digest = hashlib.sha256()
    # The base interpreter counts too: an environment refers to it and breaks when it is another one.
    for part in (LAYOUT, sys.version, sys.base_prefix, lock, *_texts(requirements)):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:KEY_LENGTH]


def _texts(requirements: Path | None) -> Iterator[str]:
    """Yield the text of a requirements file and of the files it names."""
    pending = [requirements] if requirements else []
    seen: set[Path] = set()
    while pending:
        file = pending.pop()
        if file in seen or not file.is_file():  # what is missing is uv's to tell
            continue
        seen.add(file)
        text = file.read_text(encoding="utf-8", errors="replace")
        yield text
        pending += [file.parent / name for name in _NESTED.findall(text)]


def _build(engine: str, lock: str, requirements: Path | None, directory: Path, held: int) -> None:
    started = time.monotonic()
    for_project = f" and {requirements}" if requirements else ""
    tell(f"making the {engine} environment from trackbed's lock{for_project} (once; later runs reuse it)")
    building = directory.with_suffix(".partial")
    lock_file = directory.with_suffix(".txt")
    shutil.rmtree(building, ignore_errors=True)  # what a killed build left; the build lock says nobody works on it
    try:
        lock_file.write_text(lock, encoding="utf-8")
        # Relocatable, or the scripts in bin/ would name the directory it is built in. With pip, by which components of
        # Kubeflow install packages and MLflow finds out what a model needs.
        _uv(["venv", "--relocatable", "--seed", "--python", sys.executable, str(building)], held)
        install = ["pip", "install", "--python", str(building / "bin" / "python")]
        _uv([*install, "--compile-bytecode", "--require-hashes", "--requirements", str(lock_file)], held)
        if requirements is not None:
            constrained = [*install, "--constraints", str(lock_file), "--requirements", str(requirements)]
            _uv(constrained, held, requirements)
        building.rename(directory)
    finally:
        lock_file.unlink(missing_ok=True)
        shutil.rmtree(building, ignore_errors=True)
    tell(f"made {directory} in {time.monotonic() - started:.1f} s")


def _uv_variables() -> dict[str, str]:
    """Let uv trust what the machine trusts, as pip does on most systems, unless the person decided otherwise."""
    import ssl

    authorities = ssl.get_default_verify_paths().cafile
    trusting = {"UV_SYSTEM_CERTS": "true"} if authorities and Path(authorities).exists() else {}
    return {**trusting, **os.environ}


def _uv(arguments: Sequence[str], held: int, requirements: Path | None = None) -> None:
    from uv import find_uv_bin

    done = subprocess.run(
        [find_uv_bin(), "--no-progress", *arguments],
        cwd=requirements.parent if requirements else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_uv_variables(),
        text=True,
        errors="replace",
        pass_fds=[held],  # a uv that outlives a killed builder keeps the next one waiting
    )
    if done.returncode == 0:
        return
    message = "\n".join(done.stdout.strip().splitlines()[-MESSAGE_LINES:])
    if requirements is None:
        raise UserError(f"uv {' '.join(arguments[:2])} failed:\n{message}", hint="check the network and run it again")
    raise UserError(
        f"the requirements in {requirements} cannot be installed beside the engine:\n{message}",
        hint="loosen the versions that uv names; the engine's own lock cannot give way",
    )
