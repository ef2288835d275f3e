"""The tuning service: the storage of studies that parallel workers share."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from trackbed.contract import Tuning

from trackbed_components.targets.base import DatabaseArgs, Target, TuningStores, require


@dataclass(frozen=True, kw_only=True)
class TuningServiceArgs:
    """What a tuning service is made of.

    Args:
        target: the ground it stands on.
        parallel_trials: trials at the same time, unless a study says less.
        disposable: whether destroying the service deletes its studies; they are kept by default.
    """

    target: Target
    parallel_trials: int = 1
    disposable: bool = False


@dataclass(frozen=True, kw_only=True)
class TuningServiceOutputs:
    """The tuning service, as the contract tells the runtime.

    Args:
        tuning: the storage and how many trials run at once.
    """

    tuning: pulumi.Output[Tuning]


class TuningService(pulumi.ComponentResource):
    """Optuna's storage, for studies that survive their tuner and are shared by parallel trials.

    Args:
        name: logical name.
        args: what it is made of.
        opts: Pulumi options.

    Raises:
        UserError: the target has no store for studies.
    """

    def __init__(self, name: str, args: TuningServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("trackbed:index:TuningService", name, None, opts)
        store = require(args.target, TuningStores).tuning_store(
            f"{name}-studies", DatabaseArgs(disposable=args.disposable), pulumi.ResourceOptions(parent=self)
        )
        self.outputs = TuningServiceOutputs(
            tuning=store.url.apply(lambda url: Tuning(storage=url, parallel_trials=args.parallel_trials))
        )
        self.register_outputs({"storage": store.url})
