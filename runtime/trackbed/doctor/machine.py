"""What this machine offers: Python, packages, the Pulumi engine, tools, room."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trackbed.cache import VARIABLE as CACHE_VARIABLE
from trackbed.cache import cache_root
from trackbed.doctor.findings import Finding, Place

OLDEST_PYTHON = (3, 11)
EXTRAS = {
    "platform": ("pip", "psutil", "pulumi", "supervisor"),
    "tracking": ("mlflow", "psycopg", "uvloop"),
    "serving": ("mlflow", "prometheus_client", "uvicorn", "uvloop"),
    "tuning": ("cmaes", "matplotlib", "mlflow", "optuna"),
    "metaflow": ("metaflow",),
}
PURPOSES = {
    "platform": "trackbed up, preview and down",
    "tracking": "the tracking server, and programs that use MLflow",
    "serving": "endpoints",
    "tuning": "trackbed tune",
    "metaflow": "Metaflow flows",
}
OF_A_PLATFORM = ("platform", "tracking", "serving", "tuning")  # without them an environment cannot stand here
PACKAGE_MANAGERS = {
    "apt-get": "apt-get install --yes",
    "dnf": "dnf install -y",
    "apk": "apk add",
    "zypper": "zypper --non-interactive install",
    "pacman": "pacman -S --noconfirm",
    "brew": "brew install",
}
GIB = 2**30
LITTLE_DISK, TOO_LITTLE_DISK = 5 * GIB, GIB  # an engine with its build is 3 GiB, a database needs some room to grow
LITTLE_MEMORY = 1.5 * GIB  # a tracking server and an endpoint with a small model


def python(_place: Place) -> Iterator[Finding]:
    """Look at the interpreter."""
    seen = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        yield Finding("python", "problem", seen, f"make a virtual environment with Python {wanted} or later")
    else:
        yield Finding("python", "ok", seen)


def packages(place: Place) -> Iterator[Finding]:
    """Look for the packages of each extra, without importing them."""
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        check = f"extra {extra}"
        if not missing:
            yield Finding(check, "ok", f"installed in {sys.prefix}")
            continue
        needed = place.project is not None and extra in OF_A_PLATFORM
        yield Finding(
            check,
            "problem" if needed else "warning",
            f"{', '.join(missing)} cannot be imported by {sys.executable}: no {PURPOSES[extra]}",
            _installs(extra),
        )


def pulumi(place: Place) -> Iterator[Finding]:
    """Look for the Pulumi engine on PATH and in the cache."""
    from trackbed_engine.install import MINIMUM_VERSION, find_engine

    if place.project is None and find_spec("pulumi") is None:
        return
    engine = find_engine()
    on_path = shutil.which("pulumi")
    if engine is not None:
        yield Finding("pulumi", "ok", f"Pulumi {engine.version} in {engine.directory} ({engine.source})")
        if on_path is not None and Path(on_path).parent != engine.directory:
            yield Finding(
                "pulumi on PATH",
                "warning",
                f"trackbed does not use {on_path}: {_flaw(on_path, MINIMUM_VERSION)}; "
                "plain pulumi commands would use it",
                'eval "$(trackbed environment --export pulumi)"',
            )
        return
    seen = f"{on_path}: {_flaw(on_path, MINIMUM_VERSION)}" if on_path else "there is no pulumi on PATH"
    go = shutil.which("go")
    builder = f"with the Go at {go}" if go else "with a Go toolchain from the package index"
    yield Finding(
        "pulumi",
        "warning",
        f"{seen}, and none in {cache_root()}; trackbed up downloads it, or builds it {builder} in some minutes, once",
        "trackbed up; or install Pulumi (https://www.pulumi.com/docs/install/) and put it on PATH",
    )


def tools(place: Place) -> Iterator[Finding]:
    """Look for git and, where the project has a Makefile, for make."""
    wanted = {"git": "MLflow records no commit, and no project can be run from a repository"}
    if place.project is not None and (place.project / "Makefile").exists():
        wanted["make"] = "the verbs of the project's Makefile cannot be used"
    for tool, without in wanted.items():
        found = shutil.which(tool)
        if found:
            yield Finding(tool, "ok", found)
        else:
            yield Finding(tool, "warning", f"not on PATH: {without}", _package(tool))


def containers(_place: Place) -> Iterator[Finding]:
    """Look for a container engine that answers; only container components of Kubeflow pipelines need one."""
    from trackbed.kubeflow.container_engines import ENGINES, container_engine

    found = container_engine()
    installed = [path for path in map(shutil.which, ENGINES) if path]
    if found:
        yield Finding("containers", "ok", f"{found} answers")
    elif installed:
        yield Finding(
            "containers",
            "warning",
            f"{', '.join(installed)} does not answer: no container components of Kubeflow pipelines",
            f"see what `{installed[0]} info` says, and start its service",
        )
    else:
        seen = f"no {' or '.join(ENGINES)} on PATH; only container components of Kubeflow pipelines need one"
        yield Finding("containers", "ok", seen)


def room(place: Place) -> Iterator[Finding]:
    """Look at the free space of the file systems in use, and at the memory."""
    seen: set[int] = set()
    for directory in (place.project or place.directory, cache_root()):
        existing = _existing(directory)
        device = existing.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(existing).free
        level = "problem" if free < TOO_LITTLE_DISK else "warning" if free < LITTLE_DISK else "ok"
        fix = (
            "" if level == "ok" else f"make room; what can be made again is in {cache_root()}: du -sh {cache_root()}/*"
        )
        yield Finding("disk", level, f"{free / GIB:.1f} GiB free for {existing}", fix)
    memory = _available_memory()
    level = "warning" if memory < LITTLE_MEMORY else "ok"
    fix = "" if level == "ok" else "end what needs much memory: ps aux --sort -rss | head"
    yield Finding("memory", level, f"{memory / GIB:.1f} GiB available", fix)


def cache(_place: Place) -> Iterator[Finding]:
    """Try to write where engines and environments are kept."""
    root = cache_root()
    existing = _existing(root)
    try:
        with tempfile.NamedTemporaryFile(dir=existing):
            pass
    except OSError as error:
        if os.environ.get(CACHE_VARIABLE):
            fix = f"unset {CACHE_VARIABLE}"
        elif existing.is_dir():
            fix = f"sudo chown -R {os.getuid()} {existing} && chmod u+rwx {existing}"
        else:
            fix = f"mv {existing} {existing}.before"
        yield Finding("cache", "problem", f"cannot write to {root}: {error.strerror} ({existing})", fix)
    else:
        yield Finding("cache", "ok", f"{root} can be written to")


CHECKS = (python, packages, pulumi, tools, containers, room, cache)


def _installs(extra: str) -> str:
    """Return the command that installs an extra from where trackbed itself came from."""
    origin = json.loads(distribution("trackbed").read_text("direct_url.json") or "{}")
    source = f"trackbed[{extra}]"
    if origin.get("url", "").startswith("file://"):
        source = f"{unquote(urlsplit(origin['url']).path)}[{extra}]"
    editable = ["--editable"] if origin.get("dir_info", {}).get("editable") else []
    # uv comes with trackbed; pip is not in every virtual environment.
    return shlex.join([sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable, *editable, source])


def _flaw(executable: str, minimum: tuple[int, ...]) -> str:
    if shutil.which("pulumi-language-python") is None:
        return "pulumi-language-python is not on PATH beside it"
    try:
        answered = subprocess.run(
            [executable, "version"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not run ({error})"
    version = answered.stdout.strip() or "nothing"
    return f"`pulumi version` says {version}, and {'.'.join(map(str, minimum))} or later is needed"


def _package(name: str) -> str:
    for manager, command in PACKAGE_MANAGERS.items():
        if shutil.which(manager):
            root = "" if os.getuid() == 0 or manager == "brew" else "sudo "
            return f"{root}{command} {name}"
    return f"install {name}"


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _available_memory() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux: what is free is not known there without psutil
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    facts = dict(line.split(":", 1) for line in lines)
    return int(facts["MemAvailable"].split()[0]) * 1024.0
