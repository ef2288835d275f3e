"""The components an environment is made of, for any Pulumi program (`from trackbed_components import ...`)."""

from trackbed_components.artifact_store import ArtifactStore, ArtifactStoreArgs, ArtifactStoreOutputs
from trackbed_components.compute_pool import ComputePool, ComputePoolArgs, ComputePoolOutputs
from trackbed_components.environment import Environment, EnvironmentArgs, EnvironmentOutputs
from trackbed_components.serving_endpoint import ServingEndpoint, ServingEndpointArgs, ServingEndpointOutputs
from trackbed_components.targets import LocalTarget, Target, make_target
from trackbed_components.tracking_server import TrackingServer, TrackingServerArgs, TrackingServerOutputs
from trackbed_components.tuning_service import TuningService, TuningServiceArgs, TuningServiceOutputs

__all__ = [
    "ArtifactStore",
    "ArtifactStoreArgs",
    "ArtifactStoreOutputs",
    "ComputePool",
    "ComputePoolArgs",
    "ComputePoolOutputs",
    "Environment",
    "EnvironmentArgs",
    "EnvironmentOutputs",
    "LocalTarget",
    "ServingEndpoint",
    "ServingEndpointArgs",
    "ServingEndpointOutputs",
    "Target",
    "TrackingServer",
    "TrackingServerArgs",
    "TrackingServerOutputs",
    "TuningService",
    "TuningServiceArgs",
    "TuningServiceOutputs",
    "make_target",
]
