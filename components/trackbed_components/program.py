"""The Pulumi program of every stack: reads its environment spec, makes the environment, exports the contract."""

from __future__ import annotations

from pathlib import Path

import pulumi
from trackbed.documents import read_document, refuse
from trackbed.environments import environment_home
from trackbed.errors import UserError
from trackbed.spec import build_spec, spec_document, spec_problems

from trackbed_components.environment import Environment, EnvironmentArgs
from trackbed_components.targets import make_target


def main(project: Path) -> None:
    """Make the environment of the current stack.

    Args:
        project: the directory that holds Pulumi.yaml; the spec is in its `stacks/Pulumi.<stack>.yaml`.

    Raises:
        pulumi.RunError: the spec has problems, or the target cannot serve it; told without a traceback.
    """
    try:
        _make(project)
    except UserError as error:
        raise pulumi.RunError(f"{error}\n{error.hint}".rstrip()) from None


def _make(project: Path) -> None:
    stack = pulumi.get_stack()
    document = spec_document(read_document(project / "stacks" / f"Pulumi.{stack}.yaml"))
    refuse(document, spec_problems(document))
    spec = build_spec(document.value)
    target = make_target(spec.target, home=environment_home(project, stack))
    environment = Environment(spec.name or stack, EnvironmentArgs(spec=spec, target=target))
    pulumi.export("environment", environment.outputs.contract)
    pulumi.export("uri", environment.outputs.uri)
