"""The primitives: what a component may ask of the ground it stands on, as capabilities that a target implements.

A component asks `require(target, Services)` for what it needs. The support table in the docs and the error for a
request that a target cannot serve both come from the classes a target derives from, so a target cannot claim what it
does not have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pulumi
from trackbed.errors import UserError


@dataclass(frozen=True, kw_only=True)
class BucketArgs:
    """A place for artifacts.

    Args:
        uri: one that exists already; None makes one.
        disposable: whether destroying it deletes what is in it.
    """

    uri: str | None = None
    disposable: bool = False


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """A place for artifacts that is there.

    Args:
        uri: its root, `file:///...` or `s3://...`.
    """

    uri: pulumi.Output[str]


@dataclass(frozen=True, kw_only=True)
class DatabaseArgs:
    """A database of a service.

    Args:
        kind: `sqlite` or `postgresql`.
        disposable: whether destroying it deletes what is in it.
    """

    kind: str = "sqlite"
    disposable: bool = False


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database that is there.

    Args:
        url: SQLAlchemy URL without a password.
        password: reference to the password; None when it needs none.
        ready: resources that must stand before a client connects.
    """

    url: pulumi.Output[str]
    password: pulumi.Output[str] | None = None
    ready: Sequence[pulumi.Resource] = ()


@dataclass(frozen=True, kw_only=True)
class ServiceArgs:
    """A long-running program that listens on one port.

    Args:
        command: executable and arguments; `{port}` stands for the port. `python` is the target's own interpreter.
        port: preferred port, where the target lets one choose.
        health_path: HTTP path that answers 200 once the service works.
        environment: variables; `{port}` stands for the port here too.
        secrets: variables whose values are references to secrets (`file:/...`).
        prepare: commands run to their end, in order, before each start.
        triggers: values whose change restarts the service.
        depends_on: resources that must stand first.
    """

    command: Sequence[pulumi.Input[str]]
    port: int
    health_path: str
    environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    prepare: Sequence[Sequence[pulumi.Input[str]]] = ()
    triggers: Mapping[str, pulumi.Input[str]] = field(default_factory=dict[str, pulumi.Input[str]])
    depends_on: Sequence[pulumi.Resource] = ()


@dataclass(frozen=True, kw_only=True)
class Service:
    """A service that runs and is healthy.

    Args:
        internal: URL as the environment's own services and tasks see it.
        external: URL as a person's machine sees it; None where a tunnel is needed.
        resource: the resource to wait for.
    """

    internal: pulumi.Output[str]
    external: pulumi.Output[str] | None
    resource: pulumi.Resource


@dataclass(frozen=True, kw_only=True)
class PoolArgs:
    """A compute pool: what one task may use, and how many run at once.

    Args:
        cpu: processors of one task.
        memory: bytes of one task; None leaves it to the target.
        gpu: GPUs of one task.
        maximum: tasks at the same time; None leaves it to the target.
    """

    cpu: float = 1
    memory: int | None = None
    gpu: int = 0
    maximum: int | None = None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A compute pool that is there.

    Args:
        slots: tasks at the same time.
        cpu: processors of the whole pool.
        memory: bytes of the whole pool.
        gpu: GPUs of the whole pool.
        locks: directory of the slots' lock files, on targets that use this machine.
    """

    slots: int
    cpu: float
    memory: int
    gpu: int
    locks: pulumi.Output[str] | None = None


@dataclass(frozen=True, kw_only=True)
class SecretArgs:
    """A generated secret.

    Args:
        encryption_key: whether it must be a Fernet key; otherwise it is 32 letters and digits.
        disposable: whether it goes with its resource; a secret that opens kept data must be kept as well.
    """

    encryption_key: bool = False
    disposable: bool = True


class Target(ABC):
    """The ground an environment stands on.

    Attributes:
        name: the value of `target` in the spec.
    """

    name: str

    @abstractmethod
    def contract_fields(self) -> Mapping[str, Any]:
        """Return the top-level fields of the contract that only this target fills."""


class Buckets(ABC):
    """The target has places for artifacts."""

    @abstractmethod
    def bucket(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions) -> Bucket:
        """Make or adopt a bucket; `name` is the logical name of its resource."""


class Databases(ABC):
    """The target has databases."""

    @abstractmethod
    def database(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions) -> Database:
        """Make or adopt a database; `name` is the logical name of its resource."""


class TuningStores(ABC):
    """The target has stores for tuning studies."""

    @abstractmethod
    def tuning_store(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions) -> Database:
        """Make or adopt a store whose URL Optuna's storages take (`journal:/path` or a database URL)."""


class Services(ABC):
    """The target runs services."""

    @abstractmethod
    def service(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions) -> Service:
        """Run a service; its outputs are known once it is healthy."""

    @abstractmethod
    def package_version(self, package: str) -> str:
        """Return the version of a Python package where services run."""


class Pools(ABC):
    """The target runs tasks."""

    @abstractmethod
    def pool(self, name: str, args: PoolArgs, opts: pulumi.ResourceOptions) -> Pool:
        """Make a compute pool."""


class Secrets(ABC):
    """The target keeps secrets."""

    @abstractmethod
    def secret(self, name: str, args: SecretArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Make a random secret and return the reference to it."""


class Documents(ABC):
    """The target publishes documents: configuration files and the contract."""

    @abstractmethod
    def document(
        self, name: str, file: str, content: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        """Put a document where the environment's services find it, and return its path.

        Args:
            name: logical name of the resource.
            file: its file name, unique in the environment.
            content: its text; no secret.
            opts: options of the resource.
        """

    @abstractmethod
    def publish_contract(
        self, name: str, content: pulumi.Input[str], artifacts: pulumi.Output[str], opts: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        """Publish the contract into the artifact store and wherever else the runtime looks; return its URI."""


CAPABILITIES: Mapping[type[Any], str] = {
    Buckets: "artifact buckets",
    Databases: "databases",
    TuningStores: "stores for tuning studies",
    Services: "long-running services",
    Pools: "compute pools",
    Secrets: "generated secrets",
    Documents: "published documents",
}

Capability = TypeVar("Capability")


def require(target: Target, capability: type[Capability]) -> Capability:
    """Return the target, typed as one that has the capability.

    Raises:
        UserError: the target does not have it.
    """
    if isinstance(target, capability):
        return target
    has = ", ".join(support(target)) or "nothing"
    raise UserError(f"the target {target.name!r} has no {CAPABILITIES[capability]}; it has: {has}")


def support(target: Target | type[Target]) -> list[str]:
    """Return what a target can do, in words, from the classes it derives from."""
    kind = target if isinstance(target, type) else type(target)
    return [words for capability, words in CAPABILITIES.items() if issubclass(kind, capability)]
