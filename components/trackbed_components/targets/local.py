"""The local target: this machine, as an ordinary user, with nothing to install beside the virtual environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pulumi
from trackbed.errors import UserError
from trackbed_local.resources import Directory, File, Process, Secret

from trackbed_components.targets.base import (
    Bucket,
    BucketArgs,
    Buckets,
    Database,
    DatabaseArgs,
    Databases,
    Documents,
    Pool,
    PoolArgs,
    Pools,
    SecretArgs,
    Secrets,
    Service,
    ServiceArgs,
    Services,
    Target,
    TuningStores,
)

POSTGRESQL_PORT = 5432  # preferred; the next free one is taken
DATABASE = "mlflow"
DATABASE_USER = "mlflow"
HEALTH_TIMEOUT = 180  # seconds until a service that is still not healthy counts as failed


class LocalTarget(Target, Buckets, Databases, TuningStores, Services, Pools, Secrets, Documents):
    """Services as supervised processes on loopback, buckets and databases as directories, pools as lock files.

    Args:
        home: directory of the environment: its data, logs, secrets and running state.
    """

    name = "local"

    def __init__(self, home: Path) -> None:
        self._home = home.absolute()

    def contract_fields(self) -> Mapping[str, Any]:
        """Return the directory of the environment, where `status` and `logs` look."""
        return {"home": str(self._home)}

    def bucket(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions) -> Bucket:
        """Make a directory, or adopt the one that the `file://` URI names."""
        if args.uri is None:
            path = self._home / "data" / "artifacts"
        elif args.uri.startswith("file://"):
            path = Path(unquote(urlsplit(args.uri).path))
        else:
            raise UserError(
                f"artifacts.uri {args.uri!r} cannot be used by the local target; allowed are file:/// URIs",
                hint="remove artifacts.uri, or choose another target",
            )
        return Bucket(uri=self._data(name, path, args.disposable, opts).path.apply(file_uri))

    def database(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions) -> Database:
        """Make a SQLite database in a directory of its own, or run a PostgreSQL server of the environment's own."""
        directory = self._data(name, self._home / "data" / "tracking", args.disposable, opts)
        if args.kind == "postgresql":
            return self._postgresql(name, directory, args, opts)
        return Database(url=directory.path.apply(lambda path: f"sqlite:///{path}/mlflow.db"), ready=[directory])

    def _postgresql(
        self, name: str, directory: Directory, args: DatabaseArgs, opts: pulumi.ResourceOptions
    ) -> Database:
        # The password opens data that is kept, so it is kept with it.
        password = self.secret(f"{name}-password", SecretArgs(disposable=args.disposable), opts)
        module = [sys.executable, "-m", "trackbed_local.postgresql"]
        server = Process(
            f"{name}-server",
            home=str(self._home),
            name=f"{name}-server",
            command=[*module, "serve", directory.path, "{port}", str(self._home / "run" / "postgresql")],
            prepare=[[*module, "initialise", directory.path, DATABASE, DATABASE_USER]],
            secret_references={"PGPASSWORD": password},
            port=POSTGRESQL_PORT,
            opts=opts,
        )
        url = server.port.apply(lambda port: f"postgresql+psycopg://{DATABASE_USER}@127.0.0.1:{port}/{DATABASE}")
        return Database(url=url, password=password, ready=[server])

    def tuning_store(self, name: str, args: DatabaseArgs, opts: pulumi.ResourceOptions) -> Database:
        """Make a directory for Optuna's journal file."""
        directory = self._data(name, self._home / "data" / "tuning", args.disposable, opts)
        return Database(url=directory.path.apply(lambda path: f"journal:{path}/studies.journal"), ready=[directory])

    def service(self, name: str, args: ServiceArgs, opts: pulumi.ResourceOptions) -> Service:
        """Run a supervised process that listens on loopback."""
        process = Process(
            name,
            home=str(self._home),
            name=name,
            command=self._command(args.command),
            environment=args.environment,
            secret_references=args.secrets,
            prepare=[self._command(command) for command in args.prepare],
            port=args.port,
            health_check={"path": args.health_path, "timeoutSeconds": HEALTH_TIMEOUT},
            triggers=args.triggers,
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(args.depends_on))),
        )
        return Service(internal=process.url, external=process.url, resource=process)

    def package_version(self, package: str) -> str:
        """Return the package's version in this virtual environment, where the processes run too."""
        return version(package)

    def pool(self, name: str, args: PoolArgs, opts: pulumi.ResourceOptions) -> Pool:
        """Make a directory of lock files; what the spec leaves open comes from this machine's size."""
        slots = args.maximum or max(1, int((os.cpu_count() or 1) / args.cpu))
        memory = args.memory * slots if args.memory else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        locks = Directory(name, path=str(self._home / "run" / "pools" / name), opts=opts)
        return Pool(slots=slots, cpu=args.cpu * slots, memory=memory, gpu=args.gpu * slots, locks=locks.path)

    def secret(self, name: str, args: SecretArgs, opts: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Make a 0600 file with a random value."""
        return Secret(
            name,
            path=str(self._home / "secrets" / name),
            format="fernet" if args.encryption_key else "text",
            opts=_kept(opts, args.disposable),
        ).reference

    def document(
        self, name: str, file: str, content: pulumi.Input[str], opts: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        """Write a file into the environment's directory."""
        return File(name, path=str(self._home / "configuration" / file), content=content, opts=opts).path

    def publish_contract(
        self, name: str, content: pulumi.Input[str], artifacts: pulumi.Output[str], opts: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        """Write the contract into the artifact store and beside the environment's state."""
        store = artifacts.apply(lambda uri: f"{unquote(urlsplit(uri).path)}/trackbed/contract.json")
        File(f"{name}-stored", path=store, content=content, mode="0644", opts=opts)
        return File(name, path=str(self._home / "contract.json"), content=content, opts=opts).path

    def _data(self, name: str, path: Path, disposable: bool, opts: pulumi.ResourceOptions) -> Directory:
        return Directory(name, path=str(path), opts=_kept(opts, disposable))

    @staticmethod
    def _command(command: Any) -> list[pulumi.Input[str]]:
        first, *rest = command
        return [sys.executable if first == "python" else first, *rest]


def _kept(opts: pulumi.ResourceOptions, disposable: bool) -> pulumi.ResourceOptions:
    # Set on the stateful resource itself: components do not hand this option down.
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=not disposable))


def file_uri(path: str) -> str:
    """Return an absolute path as a `file://` URI."""
    return f"file://{quote(path)}"
