"""The Pulumi program: reads the stack's environment spec, makes the environment and exports its contract."""

from pathlib import Path

import pulumi
from trackbed.documents import Document, parse_document, refuse
from trackbed.environments import environment_home
from trackbed.errors import UserError
from trackbed.spec import build_spec, spec_document, spec_problems
from trackbed_components import Environment, EnvironmentArgs, make_target

PROJECT = Path(__file__).resolve().parent.parent


def read_stack_file(stack: str) -> Document:
    """Return the spec of a stack, with the lines where its values stand."""
    file = PROJECT / "stacks" / f"Pulumi.{stack}.yaml"
    return spec_document(parse_document(file.read_text(encoding="utf-8"), name=f"stacks/{file.name}"))


def main() -> None:
    """Make the stack's environment."""
    stack = pulumi.get_stack()
    document = read_stack_file(stack)
    refuse(document, spec_problems(document))
    spec = build_spec(document.value)
    target = make_target(spec.target, home=environment_home(PROJECT, stack))
    environment = Environment(spec.name or stack, EnvironmentArgs(spec=spec, target=target))
    pulumi.export("environment", environment.outputs.contract)
    pulumi.export("uri", environment.outputs.uri)


try:
    main()
except UserError as error:
    # A RunError is told without a traceback.
    raise pulumi.RunError(f"{error}\n{error.hint}".rstrip()) from None
