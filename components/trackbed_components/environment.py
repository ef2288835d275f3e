"""An environment: every component of one spec, and the contract that tells the runtime about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from jsonschema import Draft202012Validator
from trackbed.contract import Address, Artifacts, Authentication, Contract, Tracking
from trackbed.documents import schema
from trackbed.spec import DEFAULT_POOL, EnvironmentSpec
from trackbed_local.resources import Settings

from trackbed_components.artifact_store import ArtifactStore, ArtifactStoreArgs
from trackbed_components.compute_pool import ComputePool, ComputePoolArgs
from trackbed_components.serving_endpoint import ServingEndpoint, ServingEndpointArgs
from trackbed_components.targets.base import Documents, Target, require
from trackbed_components.tracking_server import ADMINISTRATOR, TrackingServer, TrackingServerArgs, TrackingServerOutputs
from trackbed_components.tuning_service import TuningService, TuningServiceArgs


@dataclass(frozen=True, kw_only=True)
class EnvironmentArgs:
    """What an environment is made of.

    Args:
        spec: its checked spec.
        target: the ground it stands on.
    """

    spec: EnvironmentSpec
    target: Target


@dataclass(frozen=True, kw_only=True)
class EnvironmentOutputs:
    """What an environment tells.

    Args:
        contract: the contract's JSON document.
        uri: where the contract was published.
    """

    contract: pulumi.Output[dict[str, Any]]
    uri: pulumi.Output[str]


class Environment(pulumi.ComponentResource):
    """Tracking, artifacts, compute, tuning and serving, and the contract about them.

    Args:
        name: logical name and name of the environment.
        args: its spec and target.
        opts: Pulumi options.

    Raises:
        UserError: the target cannot serve what the spec asks for.
    """

    def __init__(self, name: str, args: EnvironmentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("trackbed:index:Environment", name, None, opts)
        spec, target = args.spec, args.target
        settings = Settings(
            f"{name}-settings",
            immutable={"name": name, **spec.immutable()},
            opts=pulumi.ResourceOptions(parent=self),
        )
        # Everything waits for the settings, so that a forbidden change is refused before anything is touched.
        below = pulumi.ResourceOptions(parent=self, depends_on=[settings])

        artifacts = ArtifactStore(
            f"{name}-artifacts",
            ArtifactStoreArgs(target=target, uri=spec.artifacts_uri, disposable=spec.disposable),
            below,
        )
        tracking = _tracking(f"{name}-tracking", spec, target, artifacts, below)
        pools = {
            pool: ComputePool(
                f"{name}-pool-{pool}",
                ComputePoolArgs(target=target, cpu=size.cpu, memory=size.memory, gpu=size.gpu, maximum=size.maximum),
                below,
            )
            for pool, size in spec.pools.items()
        }
        tuning = TuningService(
            f"{name}-tuning",
            TuningServiceArgs(
                target=target,
                parallel_trials=spec.parallel_trials or pools[DEFAULT_POOL].slots,
                disposable=spec.disposable,
            ),
            below,
        )
        endpoints = {
            endpoint.name: ServingEndpoint(
                f"{name}-endpoint-{endpoint.name}",
                ServingEndpointArgs(
                    target=target,
                    tracking=tracking,
                    model=endpoint.model,
                    endpoint=endpoint.name,
                    traffic=endpoint.traffic,
                    auth=endpoint.auth,
                    port=endpoint.port,
                ),
                below,
            )
            for endpoint in spec.endpoints
        }

        contract = pulumi.Output.all(
            artifacts=artifacts.outputs.uri,
            address=tracking.address,
            authentication=tracking.authentication,
            pools={pool: component.outputs.pool for pool, component in pools.items()},
            tuning=tuning.outputs.tuning,
            endpoints={endpoint: component.outputs.endpoint for endpoint, component in endpoints.items()},
        ).apply(lambda known: _contract(name, target, tracking.version, known))
        uri = require(target, Documents).publish_contract(
            f"{name}-contract",
            contract.apply(lambda document: json.dumps(document, indent=2, sort_keys=True) + "\n"),
            artifacts.outputs.uri,
            below,
        )
        self.outputs = EnvironmentOutputs(contract=contract, uri=uri)
        self.register_outputs({"environment": contract, "uri": uri})


def _tracking(
    name: str, spec: EnvironmentSpec, target: Target, artifacts: ArtifactStore, opts: pulumi.ResourceOptions
) -> TrackingServerOutputs:
    if spec.tracking.url is not None:
        return _existing_tracking(spec.tracking.url, spec.tracking.username, spec.tracking.password)
    return TrackingServer(
        name,
        TrackingServerArgs(
            target=target,
            artifacts=artifacts.outputs.uri,
            database=spec.tracking.database,
            auth=spec.tracking.auth,
            port=spec.tracking.port,
            allowed_hosts=spec.tracking.allowed_hosts,
            disposable=spec.disposable,
        ),
        opts,
    ).outputs


def _existing_tracking(url: str, username: str | None, password: str | None) -> TrackingServerOutputs:
    authentication = None
    if password is not None:
        authentication = Authentication(kind="basic", username=username or ADMINISTRATOR, secret=password)
    return TrackingServerOutputs(
        address=pulumi.Output.from_input(Address(internal=url, external=url)),
        authentication=None if authentication is None else pulumi.Output.from_input(authentication),
        version="(existing server)",
    )


def _contract(name: str, target: Target, version: str, known: Mapping[str, Any]) -> dict[str, Any]:
    document = Contract(
        name=name,
        target=target.name,
        tracking=Tracking(address=known["address"], version=version, authentication=known["authentication"]),
        artifacts=Artifacts(uri=known["artifacts"]),
        pools=known["pools"],
        tuning=known["tuning"],
        endpoints=known["endpoints"],
        **target.contract_fields(),
    ).to_dict()
    # A bug in a target or component, not a user's error: it must not reach those who read the contract.
    Draft202012Validator(schema("contract")).validate(document)
    return document
