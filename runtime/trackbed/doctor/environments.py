"""The environments that are known here: their contracts, services and versions, and what the shell says of them."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from trackbed import environments
from trackbed.contract import Contract
from trackbed.doctor.findings import Finding, Place
from trackbed.environments import VARIABLE, resolve_environment
from trackbed.errors import UserError

ANSWER_SECONDS = 5


@dataclass(frozen=True)
class Known:
    """An environment that is known here, readable or not.

    Args:
        name: the name it is known by.
        uri: path or URI of its contract.
        place: where the checks look.
    """

    name: str
    uri: str
    place: Place

    @cached_property
    def contract(self) -> Contract:
        """Its contract.

        Raises:
            UserError: it cannot be read.
        """
        return resolve_environment(self.uri).contract

    @property
    def project(self) -> Path | None:
        """The platform project it was made by; None when it is not on this machine."""
        # PROJECT/.trackbed/environments/NAME/contract.json, or the home that the contract names.
        homes = [Path(self.uri).parent]
        if self.readable and self.contract.home is not None:
            homes.append(Path(self.contract.home))
        for home in homes:
            if (
                len(home.parents) > 2
                and home.parents[1].name == ".trackbed"
                and (home.parents[2] / "Pulumi.yaml").is_file()
            ):
                return home.parents[2]
        return None

    @property
    def readable(self) -> bool:
        """Whether its contract can be read."""
        try:
            return bool(self.contract)
        except UserError:
            return False

    def up(self) -> str:
        """Return the command that brings it to what its file says; empty when its project is not here."""
        project = self.project
        return "" if project is None else self.place.in_project(f"trackbed up {self.name} --yes", project)


def chosen(place: Place) -> Iterator[Finding]:
    """Tell which environment commands work on here, and why."""
    variable = None if place.environment else os.environ.get(VARIABLE)
    try:
        found = resolve_environment(place.environment)
    except UserError as error:
        if variable:
            yield Finding("environment", "problem", f"{VARIABLE} is {variable!r}: {error}", f"unset {VARIABLE}")
        else:
            yield Finding("environment", "problem" if place.environment else "warning", str(error), error.hint)
    else:
        yield Finding("environment", "ok", f"{found.contract.name}, chosen because of {found.source}")


def contracts(place: Place) -> Iterator[Finding]:
    """Read the contract of every environment that is known here."""
    for known in _known(place):
        try:
            contract = known.contract
        except UserError as error:
            yield Finding(f"{known.name}: contract", "problem", str(error), known.up() or error.hint)
            continue
        yield Finding(f"{known.name}: contract", "ok", f"{known.uri}, target {contract.target}")
        if contract.home is not None and not Path(contract.home).is_dir():
            fix = known.up() or (
                f"if it was moved: trackbed connect URI --name {known.name}; "
                f"if it is gone for good: rm {shlex.quote(known.uri)}"
            )
            yield Finding(f"{known.name}: home", "problem", f"its directory {contract.home} is gone", fix)


def services(place: Place) -> Iterator[Finding]:
    """Look at the supervisor and every service of each environment."""
    from trackbed_local.layout import Home
    from trackbed_local.supervision import Supervisor

    from trackbed.launchers import launcher_for

    for known in _readable(place):
        contract = known.contract
        if contract.home is None or not Path(contract.home).is_dir():
            continue
        up = known.up() or "trackbed up in the directory of its platform project"
        home = Home(Path(contract.home))
        if home.program_names() and not Supervisor(home).is_alive():
            seen = f"nothing answers at {home.socket}: its services are not kept alive"
            yield Finding(f"{known.name}: supervisor", "problem", seen, up)
        found = launcher_for(contract).services()
        for service in found:
            check = f"{known.name}: {service.component}"
            seen = f"{service.state}, health {service.health}, {service.url}"
            if service.is_well:
                yield Finding(check, "ok", seen)
            else:
                logs = f"trackbed logs {service.component} -e {shlex.quote(known.uri)}"
                yield Finding(check, "problem", f"{seen}; its log: {logs}", up)
        if not any(service.component == "tracking" for service in found):
            yield _answer(known, up)


def versions(place: Place) -> Iterator[Finding]:
    """Compare the MLflow of each tracking server with the one that programs here would use."""
    try:
        installed = version("mlflow")
    except PackageNotFoundError:
        return  # told with the extras
    for known in _readable(place):
        serving = known.contract.tracking.version
        check = f"{known.name}: MLflow"
        if not serving[:1].isdigit():
            continue  # a server that is not ours: it tells no version
        if serving == installed:
            yield Finding(check, "ok", f"{installed}, here and on the tracking server")
            continue
        seen = f"the contract says that its tracking server runs MLflow {serving}; installed here is {installed}"
        yield Finding(check, "warning", seen, known.up() or f"python -m uv pip install 'mlflow=={serving}'")


def connections(place: Place) -> Iterator[Finding]:
    """Look for names that stand for environments which are gone."""
    file = environments.connections_file()
    if not file.exists():
        return
    drop = f"rm {shlex.quote(str(file))}"
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        yield Finding("connections", "problem", f"{file} is not JSON ({error}): no name in it is known", drop)
        return
    if not isinstance(written, dict):
        yield Finding("connections", "problem", f"{file} holds no JSON object: no name in it is known", drop)
        return
    live = dict(environments.connections())
    stale = {str(name): str(uri) for name, uri in written.items() if name not in live}  # pyright: ignore[reportUnknownVariableType]
    if not stale:
        yield Finding("connections", "ok", f"{file}: {', '.join(sorted(live)) or 'none'}")
        return
    # Connecting writes the file anew, with only those that are there.
    name, uri = next(iter(live.items()), ("", ""))
    fix = shlex.join(["trackbed", "connect", uri, "--name", name]) if live else drop
    listed = ", ".join(f"{name} ({uri})" for name, uri in sorted(stale.items()))
    yield Finding("connections", "warning", f"{file} names what is gone: {listed}", fix)


def tracking_variable(place: Place) -> Iterator[Finding]:
    """Compare the shell's MLFLOW_TRACKING_URI with the environment's."""
    from trackbed.launchers import launcher_for

    given = os.environ.get("MLFLOW_TRACKING_URI")
    if not given:
        return
    try:
        contract = resolve_environment(place.environment).contract
    except UserError:
        return  # told by another check
    url = launcher_for(contract).address(contract.tracking.address)
    if given.rstrip("/") == url.rstrip("/"):
        yield Finding("MLFLOW_TRACKING_URI", "ok", f"{given}, as in {contract.name}")
        return
    option = f" -e {shlex.quote(place.environment)}" if place.environment else ""
    yield Finding(
        "MLFLOW_TRACKING_URI",
        "warning",
        f"the shell says {given}, {contract.name} has {url}: trackbed run uses that, but tools started by hand do not",
        f'eval "$(trackbed environment --export mlflow{option})"',
    )


CHECKS = (chosen, contracts, services, versions, connections, tracking_variable)


def _known(place: Place) -> list[Known]:
    if place.environment is not None:
        try:
            found = resolve_environment(place.environment)
        except UserError:
            return []  # told by another check
        return [Known(found.contract.name, found.uri, place)]
    pairs = [
        *environments.connections(),
        *environments.enclosing_environments(place.directory),
    ]
    by_uri = {uri: name for name, uri in pairs}
    return [Known(name, uri, place) for uri, name in by_uri.items()]


def _readable(place: Place) -> list[Known]:
    return [known for known in _known(place) if known.readable]


def _answer(known: Known, up: str) -> Finding:
    """Ask a tracking server that no supervisor of ours watches."""
    import requests

    from trackbed.launchers import launcher_for

    url = launcher_for(known.contract).address(known.contract.tracking.address)
    check = f"{known.name}: tracking"
    try:
        answer = requests.get(f"{url}/health", timeout=ANSWER_SECONDS)
    except requests.RequestException as error:
        return Finding(check, "problem", f"{url} does not answer ({type(error).__name__})", up)
    if answer.ok:
        return Finding(check, "ok", f"{url} answers")
    return Finding(check, "problem", f"{url} answers {answer.status_code}", up)
