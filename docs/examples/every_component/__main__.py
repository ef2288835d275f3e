"""Every component put together by hand, where the spec of an environment does not fit."""

from pathlib import Path

import pulumi
from trackbed_components import (
    ArtifactStore,
    ArtifactStoreArgs,
    ComputePool,
    ComputePoolArgs,
    LocalTarget,
    ServingEndpoint,
    ServingEndpointArgs,
    TrackingServer,
    TrackingServerArgs,
    TuningService,
    TuningServiceArgs,
)

target = LocalTarget(Path("platform"))
store = ArtifactStore("artifacts", ArtifactStoreArgs(target=target, disposable=True))
tracking = TrackingServer(
    "tracking", TrackingServerArgs(target=target, artifacts=store.outputs.uri, auth="basic", disposable=True)
)
pool = ComputePool("pool", ComputePoolArgs(target=target, cpu=1, memory=2 * 2**30, maximum=2))
tuning = TuningService("tuning", TuningServiceArgs(target=target, parallel_trials=pool.slots, disposable=True))
endpoint = ServingEndpoint(
    "digits", ServingEndpointArgs(target=target, tracking=tracking.outputs, model="digits", auth="token")
)

pulumi.export("tracking", tracking.outputs.address.apply(lambda address: address.external))
pulumi.export("password", tracking.outputs.authentication.apply(lambda basic: basic.secret))
pulumi.export("slots", pool.outputs.pool.apply(lambda size: size.slots))
pulumi.export("studies", tuning.outputs.tuning.apply(lambda service: service.storage))
pulumi.export("endpoint", endpoint.outputs.endpoint.apply(lambda served: served.address.external))
pulumi.export("token", endpoint.outputs.endpoint.apply(lambda served: served.authentication.secret))
