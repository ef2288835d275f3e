"""How Pulumi is set for a project: where its state lies, its passphrase, and where its executables are."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from trackbed_engine.install import Engine

PASSPHRASE_BYTES = 32


def pulumi_variables(project: Path, engine: Engine, *, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables under which `pulumi` works on a project as `trackbed` does.

    The state is a file backend inside the project's `.trackbed`, with a passphrase generated for the project, unless
    the person chose another backend by PULUMI_BACKEND_URL or by `backend.url` in Pulumi.yaml: then both are left to
    them. A `pulumi login` is not followed: it belongs to the person, not to the project.

    Args:
        project: the directory that holds Pulumi.yaml.
        engine: the engine to use.
        given: the variables to start from; this process's by default.

    Returns:
        The variables to set, PATH among them; none of them is a secret.
    """
    given = os.environ if given is None else given
    executables = [str(Path(sys.executable).parent), str(engine.directory)]
    path = [part for part in given.get("PATH", os.defpath).split(os.pathsep) if part not in executables]
    variables = {
        "PATH": os.pathsep.join([*executables, *path]),
        # The plugin of the local target is on PATH; the SDKs of other clouds must not fetch theirs for it.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": given.get("PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "true"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        # gRPC for Python asks a proxy even for this machine, where engine, program and plugin talk to one another.
        "no_grpc_proxy": ",".join(filter(None, [_not_proxied(given), "127.0.0.1", "localhost"])),
    }
    _make_private_directory(project)
    if default_backend(project, given):
        state_directory(project).mkdir(mode=0o700, exist_ok=True)
        variables["PULUMI_BACKEND_URL"] = backend_url(project)
        if not given.get("PULUMI_CONFIG_PASSPHRASE") and "PULUMI_CONFIG_PASSPHRASE_FILE" not in given:
            variables["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(_passphrase_file(project))
    return variables


def _not_proxied(given: Mapping[str, str]) -> str:
    return next((given[name] for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY") if given.get(name)), "")


def default_backend(project: Path, given: Mapping[str, str]) -> bool:
    """Whether the project's state lies in its own `.trackbed`, rather than where Pulumi's settings put it."""
    url = given.get("PULUMI_BACKEND_URL")
    if url:
        return url == backend_url(project)
    settings = yaml.safe_load((project / "Pulumi.yaml").read_text(encoding="utf-8"))
    backend = settings.get("backend") if isinstance(settings, dict) else None
    return not (isinstance(backend, dict) and backend.get("url"))


def backend_url(project: Path) -> str:
    """Return the URL of the project's own file backend.

    Without `metadata=skip` each file gets a second one with its content type, which is not written in one step: a kill
    in that moment leaves a state that cannot be read.
    """
    return f"file://{state_directory(project)}?metadata=skip"


def state_directory(project: Path) -> Path:
    """Return the directory of the file backend."""
    return project / ".trackbed" / "state"


def _make_private_directory(project: Path) -> None:
    """Make `.trackbed`: for its owner's eyes, and out of every commit, since secrets lie below it."""
    directory = project / ".trackbed"
    directory.mkdir(mode=0o700, exist_ok=True)
    ignored = directory / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", encoding="utf-8")


def _passphrase_file(project: Path) -> Path:
    file = project / ".trackbed" / "passphrase"
    if file.exists() and file.stat().st_size:
        return file
    # Never readable by others, and never seen half-written by a second process.
    temporary = file.with_name(f"passphrase.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(secrets.token_urlsafe(PASSPHRASE_BYTES))
    try:
        os.link(temporary, file)
    except FileExistsError:
        if not file.stat().st_size:
            temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return file
