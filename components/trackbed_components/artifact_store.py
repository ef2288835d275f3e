"""The artifact store: one place for the artifacts of every tool of an environment."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from trackbed_components.targets.base import BucketArgs, Buckets, Target, require


@dataclass(frozen=True, kw_only=True)
class ArtifactStoreArgs:
    """What an artifact store is made of.

    Args:
        target: the ground it stands on.
        uri: a bucket or directory that exists already; None makes one.
        disposable: whether destroying the store deletes the artifacts; they are kept by default.
    """

    target: Target
    uri: str | None = None
    disposable: bool = False


@dataclass(frozen=True, kw_only=True)
class ArtifactStoreOutputs:
    """Where the artifacts are.

    Args:
        uri: the root, `file:///...` or `s3://...`.
    """

    uri: pulumi.Output[str]


class ArtifactStore(pulumi.ComponentResource):
    """A bucket in which every tool keeps a prefix of its own.

    Args:
        name: logical name.
        args: what it is made of.
        opts: Pulumi options.

    Raises:
        UserError: the target has no buckets, or cannot use the given URI.
    """

    def __init__(self, name: str, args: ArtifactStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("trackbed:index:ArtifactStore", name, None, opts)
        bucket = require(args.target, Buckets).bucket(
            f"{name}-bucket",
            BucketArgs(uri=args.uri, disposable=args.disposable),
            pulumi.ResourceOptions(parent=self),
        )
        self.outputs = ArtifactStoreOutputs(uri=bucket.uri)
        self.register_outputs({"uri": bucket.uri})
