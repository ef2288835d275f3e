"""The contract: what an environment tells the runtime about itself, in one versioned JSON document.

Its form is templates/trackbed_templates/schemas/contract.schema.json. The Pulumi program publishes it, the runtime
reads it, and it holds no secret: only references to where secrets lie.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from trackbed.errors import UserError

CONTRACT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a service is reached.

    Args:
        internal: the URL as tasks, jobs and other services of the environment see it.
        external: the URL as a person's machine sees it; None when a tunnel is needed.
        tunnel: how to make one, for example `kubectl:namespace/service:port`; None when `external` is there.
    """

    internal: str
    external: str | None = None
    tunnel: str | None = None


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """How a caller authenticates, as references to secrets.

    Args:
        kind: `basic` (user name and password) or `token` (bearer token).
        username: the user name, for `basic`.
        secret: reference to the password or token, for example `file:/path`.
    """

    kind: str
    secret: str
    username: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """The tracking server and model registry.

    Args:
        address: where it listens.
        version: the MLflow version it runs.
        authentication: how callers authenticate; None when it is open.
    """

    address: Address
    version: str
    authentication: Authentication | None = None


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """The artifact store: its root as a URI (`file:///...`, `s3://...`).

    Args:
        uri: the root under which every tool keeps a prefix of its own.
    """

    uri: str


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A compute pool: how many tasks run at once and what each may use.

    Args:
        slots: tasks at the same time.
        cpu: processors of the whole pool.
        memory: bytes of the whole pool.
        gpu: GPUs of the whole pool.
        locks: directory of the slots' lock files, for a pool on this machine.
    """

    slots: int
    cpu: float
    memory: int
    gpu: int = 0
    locks: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The tuning service.

    Args:
        storage: the studies' storage, `journal:/path` or a database URL without a password.
        parallel_trials: how many trials run at once unless a study says less.
        secret: reference to the storage's password; None when it needs none.
    """

    storage: str
    parallel_trials: int
    secret: str | None = None


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A serving endpoint: one registered model behind one address.

    Args:
        model: name of the registered model.
        traffic: first weights, alias to share in percent; the runtime owns them afterwards.
        address: where it listens.
        authentication: how callers authenticate; None when it is open.
    """

    model: str
    traffic: Mapping[str, int]
    address: Address
    authentication: Authentication | None = None


@dataclass(frozen=True, kw_only=True)
class Contract:
    """One environment, as the runtime sees it.

    Args:
        name: the environment's name.
        target: the ground it stands on: `local`, `kubernetes` or `aws`.
        tracking: the tracking server.
        artifacts: the artifact store.
        pools: compute pools by name; `default` is always there.
        tuning: the tuning service; None when the environment has none.
        endpoints: serving endpoints by name.
        home: for a local environment, the directory that holds its state, logs and secrets.
        version: version of this document's form.
    """

    name: str
    target: str
    tracking: Tracking
    artifacts: Artifacts
    pools: Mapping[str, Pool]
    tuning: Tuning | None = None
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict[str, Endpoint])
    home: str | None = None
    version: int = CONTRACT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document, without fields that are None."""
        return _without_none(asdict(self))

    @staticmethod
    def from_dict(document: Mapping[str, Any], *, source: str) -> Contract:
        """Build the contract from its JSON document.

        Args:
            document: the parsed JSON.
            source: where it came from, for error messages.

        Raises:
            UserError: the version is unknown, or a field is missing, unknown or no map where one belongs.
        """
        version = document.get("version")
        if version != CONTRACT_VERSION:
            raise UserError(
                f"{source}: the contract has version {version!r}; this trackbed reads version {CONTRACT_VERSION}",
                hint="run `trackbed up` with the same version of trackbed, or install the one that made it",
            )
        try:
            tuning = document.get("tuning")
            return Contract(
                name=document["name"],
                target=document["target"],
                tracking=Tracking(
                    address=Address(**document["tracking"]["address"]),
                    version=document["tracking"]["version"],
                    authentication=_authentication(document["tracking"]),
                ),
                artifacts=Artifacts(**document["artifacts"]),
                pools={name: Pool(**pool) for name, pool in document["pools"].items()},
                tuning=Tuning(**tuning) if tuning else None,
                endpoints={
                    name: Endpoint(
                        model=endpoint["model"],
                        traffic=endpoint["traffic"],
                        address=Address(**endpoint["address"]),
                        authentication=_authentication(endpoint),
                    )
                    for name, endpoint in document.get("endpoints", {}).items()
                },
                home=document.get("home"),
            )
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(
                f"{source} is not a contract that this trackbed can read: {error}",
                hint="run `trackbed up` again",
            ) from error


def read_contract(text: str, *, source: str) -> Contract:
    """Parse the contract's JSON text.

    Args:
        text: the JSON document.
        source: where it came from, for error messages.

    Raises:
        UserError: it is not JSON, or not a contract.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is not JSON: {error}", hint="run `trackbed up` again") from error
    if not isinstance(document, dict):
        raise UserError(f"{source} holds no JSON object", hint="run `trackbed up` again")
    return Contract.from_dict(document, source=source)  # pyright: ignore[reportUnknownArgumentType]


def _authentication(service: Mapping[str, Any]) -> Authentication | None:
    given = service.get("authentication")
    return Authentication(**given) if given else None


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}  # pyright: ignore
    return value
