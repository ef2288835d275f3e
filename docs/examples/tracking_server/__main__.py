"""An MLflow tracking server on this machine, with an artifact store behind it. Both keep their data on `destroy`."""

from pathlib import Path

import pulumi
from trackbed_components import ArtifactStore, ArtifactStoreArgs, LocalTarget, TrackingServer, TrackingServerArgs

target = LocalTarget(Path("platform"))  # data, logs and secrets lie in this directory
store = ArtifactStore("artifacts", ArtifactStoreArgs(target=target))
tracking = TrackingServer("tracking", TrackingServerArgs(target=target, artifacts=store.outputs.uri, port=5000))

pulumi.export("url", tracking.outputs.address.apply(lambda address: address.external))
