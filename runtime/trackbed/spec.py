"""The environment spec: read, checked (schema, then what spans fields) and typed.

Its form is templates/trackbed_templates/schemas/environment.schema.json. It stands in `stacks/Pulumi.<name>.yaml`
under the config key `trackbed:environment`; a file that holds nothing but the spec is read too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackbed.documents import Document, Problem, nearest, read_document, refuse, schema, schema_problems, shown_path
from trackbed.errors import UserError

CONFIG_KEY = "trackbed:environment"
IMPLEMENTED_TARGETS = ("local",)  # of those that a spec may name; trackbed_components.targets makes each
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
DEFAULT_POOL = "default"
TRACKING_PORT = 5000
ENDPOINT_PORT = 8080
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
SMALLEST_MEMORY = 2**20  # 1 Mi: less is a forgotten unit


@dataclass(frozen=True, kw_only=True)
class ExternalDatabase:
    """A PostgreSQL database that exists already.

    Args:
        url: its URL without a password.
        password: reference to the password; None when it needs none.
    """

    url: str
    password: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrackingSpec:
    """The tracking server, as the spec describes it; see the schema for each field."""

    url: str | None = None
    username: str | None = None
    password: str | None = None
    database: str | ExternalDatabase = "sqlite"
    auth: str = "none"
    port: int = TRACKING_PORT
    allowed_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """A compute pool, as the spec describes it: what one task may use, and how many run at once."""

    cpu: float = 1
    memory: int | None = None
    gpu: int = 0
    maximum: int | None = None


@dataclass(frozen=True, kw_only=True)
class EndpointSpec:
    """A serving endpoint, as the spec describes it; see the schema for each field."""

    name: str
    model: str
    traffic: Mapping[str, int] = field(default_factory=lambda: {"champion": 100})
    auth: str = "none"
    port: int = ENDPOINT_PORT


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """One environment, as its file describes it; see the schema for each field."""

    target: str
    name: str | None = None
    disposable: bool = False
    tracking: TrackingSpec = TrackingSpec()
    artifacts_uri: str | None = None
    pools: Mapping[str, PoolSpec] = field(default_factory=lambda: {DEFAULT_POOL: PoolSpec()})
    parallel_trials: int | None = None
    endpoints: tuple[EndpointSpec, ...] = ()

    def immutable(self) -> dict[str, str]:
        """Return the settings that cannot change after creation, by their path in the spec."""
        database = self.tracking.database
        return {
            "target": self.target,
            "tracking.url": self.tracking.url or "(made by Trackbed)",
            "tracking.database": database if isinstance(database, str) else database.url,
            "artifacts.uri": self.artifacts_uri or "(made by Trackbed)",
        }


def check_name(name: str) -> None:
    """Refuse what cannot be the name of an environment.

    Raises:
        UserError: it has another form; the exit status is that of unusable arguments.
    """
    if NAME.fullmatch(name) is None:
        raise UserError(
            f"{name!r} cannot be the name of an environment",
            hint="use up to 40 lower-case letters, digits and hyphens, a letter first: team-a",
            exit_code=2,
        )


def read_spec(path: Path) -> EnvironmentSpec:
    """Read and check the environment spec in a file.

    Args:
        path: a `Pulumi.<name>.yaml`, or a file that holds nothing but the spec.

    Raises:
        UserError: the file cannot be read.
        DocumentError: it has problems; all are told, each with its line.
    """
    document = spec_document(read_document(path))
    refuse(document, spec_problems(document))
    return build_spec(document.value)


def spec_document(document: Document) -> Document:
    """Return the part of a document that is the spec: the value of the config key, or the whole.

    Raises:
        DocumentError: the document is a stack file without an environment.
    """
    value = document.value
    if not isinstance(value, dict):
        return document
    if "config" not in value:
        for key in map(str, value):
            if key == CONFIG_KEY or (nearest(key, ("config",)) and key not in schema("environment")["properties"]):
                told = f"unknown key {key!r}; a stack file has the environment under config, {CONFIG_KEY}"
                suggestion = nearest(key, ("config",)) or "write config: above it, and indent it"
                refuse(document, [document.problem((key,), told, suggestion)])
        return document
    config: Any = value["config"]
    if not isinstance(config, dict) or CONFIG_KEY not in config:
        keys = [str(key) for key in config] if isinstance(config, dict) else []
        near = next((key for key in keys if nearest(key, (CONFIG_KEY,))), None)
        told = f"there is no key {CONFIG_KEY!r} with the environment in it"
        place, suggestion = ("config",), ""
        if near is not None:
            place, suggestion = ("config", near), f"is {near!r} meant to be {CONFIG_KEY!r}?"
        refuse(document, [document.problem(place, told, suggestion)])
    return document.below("config", CONFIG_KEY)


def spec_problems(document: Document) -> list[Problem]:
    """Return every problem of a spec: against the schema, and of fields with one another."""
    problems = schema_problems(document, "environment")
    if isinstance(document.value, dict):
        problems += [problem for check in CHECKS for problem in check(document)]
    return sorted(set(problems))


def build_spec(value: Mapping[str, Any]) -> EnvironmentSpec:
    """Build the typed spec from a document that has no problems; a block with nothing in it counts as absent."""
    tracking: dict[str, Any] = value.get("tracking") or {}
    database = tracking.get("database", "sqlite")
    pools = {name: _pool(pool or {}) for name, pool in (value.get("pools") or {}).items()}
    return EnvironmentSpec(
        target=value["target"],
        name=value.get("name"),
        disposable=value.get("disposable", False),
        tracking=TrackingSpec(
            url=tracking.get("url"),
            username=tracking.get("username"),
            password=tracking.get("password"),
            database=database if isinstance(database, str) else ExternalDatabase(**database),
            auth=tracking.get("auth", "none"),
            port=tracking.get("port", TRACKING_PORT),
            allowed_hosts=tuple(tracking.get("allowedHosts") or ()),
        ),
        artifacts_uri=(value.get("artifacts") or {}).get("uri"),
        pools={DEFAULT_POOL: PoolSpec(), **pools},
        parallel_trials=(value.get("tuning") or {}).get("parallelTrials"),
        endpoints=tuple(
            EndpointSpec(
                name=endpoint["name"],
                model=endpoint.get("model", endpoint["name"]),
                traffic=endpoint.get("traffic", {"champion": 100}),
                auth=endpoint.get("auth", "none"),
                port=endpoint.get("port", ENDPOINT_PORT + position),
            )
            for position, endpoint in enumerate(value.get("endpoints") or ())
        ),
    )


def parse_memory(given: int | str) -> int:
    """Return an amount of memory in bytes.

    Args:
        given: a number of bytes, or a number with a unit: Ki, Mi, Gi, Ti (powers of 1,024), k, M, G, T (of 1,000).

    Raises:
        ValueError: it has another form.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?", str(given))
    if match is None:
        raise ValueError(f"not an amount of memory: {given!r}")
    return int(float(match[1]) * UNITS[match[2] or ""])


def _pool(value: Mapping[str, Any]) -> PoolSpec:
    memory = value.get("memory")
    return PoolSpec(
        cpu=value.get("cpu", 1),
        memory=None if memory is None else parse_memory(memory),
        gpu=value.get("gpu", 0),
        maximum=value.get("maximum"),
    )


def _endpoints(document: Document) -> Iterator[tuple[int, dict[str, Any]]]:
    endpoints = document.value.get("endpoints")
    for position, endpoint in enumerate(endpoints if isinstance(endpoints, list) else []):
        if isinstance(endpoint, dict):
            yield position, endpoint


def _unique_endpoint_names(document: Document) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for position, endpoint in _endpoints(document):
        name = endpoint.get("name")
        if not isinstance(name, str):
            continue
        if name in seen:
            told = f"{name!r} is the name of endpoints[{seen[name]}] already"
            yield document.problem(("endpoints", position, "name"), told, "names must differ")
        seen.setdefault(name, position)


def _traffic_sums_to_100(document: Document) -> Iterator[Problem]:
    for position, endpoint in _endpoints(document):
        traffic = endpoint.get("traffic")
        if not isinstance(traffic, dict) or not all(type(share) is int for share in traffic.values()):
            continue
        if traffic and sum(traffic.values()) != 100:
            yield document.problem(
                ("endpoints", position, "traffic"), f"the shares sum to {sum(traffic.values())}; they must sum to 100"
            )


def _distinct_ports(document: Document) -> Iterator[Problem]:
    places: dict[int, str] = {}
    tracking = document.value.get("tracking")
    given: list[tuple[tuple[str | int, ...], Any]] = [
        (("tracking", "port"), tracking.get("port") if isinstance(tracking, dict) else None)
    ]
    given += [(("endpoints", position, "port"), endpoint.get("port")) for position, endpoint in _endpoints(document)]
    for path, port in given:
        if type(port) is not int:
            continue
        if port in places:
            yield document.problem(path, f"port {port} is taken by {places[port]} already", "give another port")
        places.setdefault(port, shown_path(path))


def _pool_memory(document: Document) -> Iterator[Problem]:
    pools = document.value.get("pools")
    for name, pool in pools.items() if isinstance(pools, dict) else ():
        memory = pool.get("memory") if isinstance(pool, dict) else None
        if not isinstance(memory, str):
            continue
        try:
            amount = parse_memory(memory)
        except ValueError:
            continue  # the schema has told of it
        if amount < SMALLEST_MEMORY:
            yield document.problem(
                ("pools", name, "memory"),
                f"{memory!r} is {amount} bytes; it must be at least 1Mi",
                "is a unit missing?",
            )


def _finite_processors(document: Document) -> Iterator[Problem]:
    pools = document.value.get("pools")
    for name, pool in pools.items() if isinstance(pools, dict) else ():
        cpu = pool.get("cpu") if isinstance(pool, dict) else None
        if isinstance(cpu, float) and math.isnan(cpu):
            yield document.problem(("pools", name, "cpu"), "NaN is not a number of processors")


def _no_password_in_database_url(document: Document) -> Iterator[Problem]:
    tracking = document.value.get("tracking")
    database = tracking.get("database") if isinstance(tracking, dict) else None
    url = database.get("url") if isinstance(database, dict) else None
    for key in re.findall(r"[?&]([^=&]*passw[^=&]*)=", url, re.IGNORECASE) if isinstance(url, str) else ():
        yield document.problem(
            ("tracking", "database", "url"),
            f"the URL holds a secret ({key})",
            "remove it, and give `password` beside `url` as a reference",
        )


def _existing_tracking_server(document: Document) -> Iterator[Problem]:
    tracking = document.value.get("tracking")
    if not isinstance(tracking, dict):
        return
    if "url" in tracking:
        for key in ("database", "auth", "port", "allowedHosts"):
            if key in tracking:
                yield document.problem(
                    ("tracking", key), f"{key!r} cannot stand beside 'url': that server exists already", "remove one"
                )
        if "username" in tracking and "password" not in tracking:
            told = "'username' needs 'password' beside it"
            yield document.problem(("tracking", "username"), told, "add a reference to the password")
        return
    for key in ("username", "password"):
        if key in tracking:
            yield document.problem(
                ("tracking", key),
                f"{key!r} is only for a server that exists ('url'); ours generates its own",
                "remove it",
            )


CHECKS = (
    _unique_endpoint_names,
    _traffic_sums_to_100,
    _distinct_ports,
    _pool_memory,
    _finite_processors,
    _no_password_in_database_url,
    _existing_tracking_server,
)
