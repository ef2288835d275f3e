"""The tracking server: MLflow's tracking, model registry and UI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from trackbed.contract import Address, Authentication
from trackbed.spec import ExternalDatabase
from trackbed.templates import template_text

from trackbed_components.targets.base import (
    Database,
    DatabaseArgs,
    Databases,
    Documents,
    SecretArgs,
    Secrets,
    ServiceArgs,
    Services,
    Target,
    require,
)

DEFAULT_PORT = 5000
ADMINISTRATOR = "admin"
OWN_HOSTS = ("localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*")
LEAN = {
    # One worker and no job executors: healthy in half the time and a quarter of the memory.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    # Endpoints of this environment follow aliases by webhook, and they live on private addresses.
    "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
    "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
}


@dataclass(frozen=True, kw_only=True)
class TrackingServerArgs:
    """What a tracking server is made of.

    Args:
        target: the ground it stands on.
        artifacts: root of the artifact store; artifacts go through the server, so clients need no access to it.
        database: `sqlite`, `postgresql`, or a database that exists already.
        auth: `none` or `basic`.
        port: preferred port, where the target lets one choose.
        allowed_hosts: host names the server answers to, besides loopback.
        disposable: whether destroying the server deletes its database; it is kept by default.
    """

    target: Target
    artifacts: pulumi.Input[str]
    database: str | ExternalDatabase = "sqlite"
    auth: str = "none"
    port: int = DEFAULT_PORT
    allowed_hosts: Sequence[str] = ()
    disposable: bool = False


@dataclass(frozen=True, kw_only=True)
class TrackingServerOutputs:
    """How the tracking server is reached.

    Args:
        address: its address.
        authentication: how callers authenticate; None when it is open.
        version: the MLflow version it runs.
    """

    address: pulumi.Output[Address]
    authentication: pulumi.Output[Authentication] | None
    version: str


class TrackingServer(pulumi.ComponentResource):
    """MLflow behind one address, with its database and, on request, basic authentication.

    Args:
        name: logical name.
        args: what it is made of.
        opts: Pulumi options.

    Raises:
        UserError: the target lacks a primitive that the arguments need.
    """

    def __init__(self, name: str, args: TrackingServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("trackbed:index:TrackingServer", name, None, opts)
        below = pulumi.ResourceOptions(parent=self)
        services = require(args.target, Services)
        secrets = require(args.target, Secrets)
        database = _database(name, args, below)
        artifacts = pulumi.Output.concat(args.artifacts, "/mlflow")

        references: dict[str, pulumi.Input[str]] = {
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": secrets.secret(
                f"{name}-webhook-key", SecretArgs(encryption_key=True, disposable=args.disposable), below
            )
        }
        environment: dict[str, pulumi.Input[str]] = dict(LEAN)
        command: list[pulumi.Input[str]] = [
            *("python", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1"),
            *("--backend-store-uri", database.url, "--artifacts-destination", artifacts),
            *("--allowed-hosts", ",".join([*OWN_HOSTS, *args.allowed_hosts])),
        ]
        if database.password is not None:
            references["PGPASSWORD"] = database.password
        authentication: pulumi.Output[Authentication] | None = None
        if args.auth == "basic":
            password = secrets.secret(f"{name}-password", SecretArgs(disposable=args.disposable), below)
            references["MLFLOW_AUTH_ADMIN_PASSWORD"] = password
            references["MLFLOW_FLASK_SERVER_SECRET_KEY"] = secrets.secret(f"{name}-session-key", SecretArgs(), below)
            environment["MLFLOW_AUTH_CONFIG_PATH"] = require(args.target, Documents).document(
                f"{name}-auth", "basic-auth.ini", _auth_configuration(database), below
            )
            command += ["--app-name", "basic-auth"]
            authentication = password.apply(
                lambda reference: Authentication(kind="basic", username=ADMINISTRATOR, secret=reference)
            )

        version = services.package_version("mlflow")
        service = services.service(
            f"{name}-server",
            ServiceArgs(
                command=command,
                port=args.port,
                health_path="/health",
                environment=environment,
                secrets=references,
                prepare=[["python", "-m", "trackbed.tracking_schema", database.url]],
                triggers={"mlflow": version},
                depends_on=database.ready,
            ),
            below,
        )
        address = pulumi.Output.all(service.internal, service.external).apply(
            lambda urls: Address(internal=urls[0], external=urls[1])
        )
        self.outputs = TrackingServerOutputs(address=address, authentication=authentication, version=version)
        self.register_outputs({"url": service.internal, "version": version})


def _database(name: str, args: TrackingServerArgs, opts: pulumi.ResourceOptions) -> Database:
    if isinstance(args.database, ExternalDatabase):
        url = args.database.url.split("://", 1)[1]
        password = args.database.password
        return Database(
            url=pulumi.Output.from_input(f"postgresql+psycopg://{url}"),
            password=None if password is None else pulumi.Output.from_input(password),
        )
    return require(args.target, Databases).database(
        f"{name}-database", DatabaseArgs(kind=args.database, disposable=args.disposable), opts
    )


def _auth_configuration(database: Database) -> pulumi.Output[str]:
    from jinja2 import Template

    template = Template(template_text("tracking/basic-auth.ini"))
    return database.url.apply(lambda url: template.render(database_uri=url, administrator=ADMINISTRATOR))
