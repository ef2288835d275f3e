"""Compute pools: where tasks run, what one may use, and how many run at once."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from trackbed.contract import Pool

from trackbed_components.targets.base import PoolArgs, Pools, Target, require


@dataclass(frozen=True, kw_only=True)
class ComputePoolArgs:
    """What a compute pool is made of.

    Args:
        target: the ground it stands on.
        cpu: processors of one task.
        memory: bytes of one task; None takes what the target has, divided by `maximum`.
        gpu: GPUs of one task.
        maximum: tasks at the same time; None takes as many as the target has processors for.
    """

    target: Target
    cpu: float = 1
    memory: int | None = None
    gpu: int = 0
    maximum: int | None = None


@dataclass(frozen=True, kw_only=True)
class ComputePoolOutputs:
    """The pool, as the contract tells the runtime.

    Args:
        pool: its size and where its slots are.
    """

    pool: pulumi.Output[Pool]


class ComputePool(pulumi.ComponentResource):
    """A bounded place for tasks.

    Args:
        name: logical name.
        args: what it is made of.
        opts: Pulumi options.

    Raises:
        UserError: the target runs no tasks.
    """

    def __init__(self, name: str, args: ComputePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("trackbed:index:ComputePool", name, None, opts)
        made = require(args.target, Pools).pool(
            f"{name}-slots",
            PoolArgs(cpu=args.cpu, memory=args.memory, gpu=args.gpu, maximum=args.maximum),
            pulumi.ResourceOptions(parent=self),
        )
        self.slots = made.slots
        self.outputs = ComputePoolOutputs(
            pool=pulumi.Output.from_input(made.locks).apply(
                lambda locks: Pool(slots=made.slots, cpu=made.cpu, memory=made.memory, gpu=made.gpu, locks=locks)
            )
        )
        self.register_outputs({"slots": made.slots})
