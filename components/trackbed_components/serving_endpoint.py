"""Serving endpoints: a model of the registry behind one address, by alias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
from trackbed.contract import Address, Authentication, Endpoint

from trackbed_components.targets.base import SecretArgs, Secrets, ServiceArgs, Services, Target, require
from trackbed_components.tracking_server import TrackingServerOutputs

DEFAULT_PORT = 8080


@dataclass(frozen=True, kw_only=True)
class ServingEndpointArgs:
    """What a serving endpoint is made of.

    Args:
        target: the ground it stands on.
        tracking: the tracking server whose registry holds the model.
        model: name of the registered model.
        endpoint: name of the endpoint, under which it keeps its weights; the logical name by default.
        traffic: first share of each alias, in percent; the runtime owns it afterwards.
        auth: `none` or `token`.
        port: preferred port, where the target lets one choose.
    """

    target: Target
    tracking: TrackingServerOutputs
    model: str
    endpoint: str | None = None
    traffic: Mapping[str, int] = field(default_factory=lambda: {"champion": 100})
    auth: str = "none"
    port: int = DEFAULT_PORT


@dataclass(frozen=True, kw_only=True)
class ServingEndpointOutputs:
    """The endpoint, as the contract tells the runtime.

    Args:
        endpoint: its model, address and authentication.
    """

    endpoint: pulumi.Output[Endpoint]


class ServingEndpoint(pulumi.ComponentResource):
    """A server that follows the aliases of one registered model.

    It is live before an alias has a version, and ready once one has: `up` waits for live.

    Args:
        name: logical name.
        args: what it is made of.
        opts: Pulumi options.

    Raises:
        UserError: the target lacks a primitive that the arguments need.
    """

    def __init__(self, name: str, args: ServingEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("trackbed:index:ServingEndpoint", name, None, opts)
        below = pulumi.ResourceOptions(parent=self)
        services = require(args.target, Services)
        secrets = require(args.target, Secrets)

        url = args.tracking.address.apply(lambda address: address.internal)
        environment: dict[str, pulumi.Input[str]] = {"MLFLOW_TRACKING_URI": url, "MLFLOW_REGISTRY_URI": url}
        references: dict[str, pulumi.Input[str]] = {
            "TRACKBED_WEBHOOK_SECRET": secrets.secret(f"{name}-webhook-secret", SecretArgs(), below)
        }
        if args.tracking.authentication is not None:
            environment["MLFLOW_TRACKING_USERNAME"] = args.tracking.authentication.apply(
                lambda auth: auth.username or ""
            )
            references["MLFLOW_TRACKING_PASSWORD"] = args.tracking.authentication.apply(lambda auth: auth.secret)
        authentication: pulumi.Output[Authentication] | None = None
        if args.auth == "token":
            token = secrets.secret(f"{name}-token", SecretArgs(), below)
            references["TRACKBED_ENDPOINT_TOKEN"] = token
            authentication = token.apply(lambda reference: Authentication(kind="token", secret=reference))

        service = services.service(
            f"{name}-server",
            ServiceArgs(
                command=[
                    *("python", "-m", "trackbed.serving", "--host", "127.0.0.1", "--port", "{port}"),
                    *("--name", args.endpoint or name, "--model", args.model),
                    *(word for alias, share in args.traffic.items() for word in ("--traffic", f"{alias}={share}")),
                ],
                port=args.port,
                health_path="/health",
                environment=environment,
                secrets=references,
                triggers={
                    "mlflow": services.package_version("mlflow"),
                    "trackbed": services.package_version("trackbed"),
                },
            ),
            below,
        )
        self.outputs = ServingEndpointOutputs(
            endpoint=pulumi.Output.all(service.internal, service.external, authentication).apply(
                lambda known: Endpoint(
                    model=args.model,
                    traffic=args.traffic,
                    address=Address(internal=known[0], external=known[1]),
                    authentication=known[2],
                )
            )
        )
        self.register_outputs({"url": service.internal})
