"""The platform side for the commands: the project, its engine and its stacks. Needs the extra `platform`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trackbed.cache import tell
from trackbed.environments import project_root
from trackbed.errors import UserError

if TYPE_CHECKING:
    from trackbed_engine.install import Engine
    from trackbed_engine.stack import Stack


def project_and_engine() -> tuple[Path, Engine]:
    """Return the project around the current directory, and the Pulumi engine, got where it is missing.

    Raises:
        UserError: there is no project here, the platform side is not installed, or the engine cannot be had.
    """
    try:
        from trackbed_engine.install import get_engine
    except ModuleNotFoundError as error:
        raise UserError(
            f"this needs the platform side of trackbed, which is not installed ({error})",
            hint="pip install 'trackbed[platform]'",
        ) from error
    project = project_root()
    if project is None:
        raise UserError(
            f"there is no Pulumi.yaml in {Path.cwd()} or above it",
            hint="go to the platform's directory, or start one: trackbed new-environment local --target local",
        )
    return project, get_engine(tell)


def open_stack(name: str, *, check: bool = True) -> Stack:
    """Return the stack of an environment.

    Args:
        name: the environment's name.
        check: whether its file must have no problems.

    Raises:
        UserError: there is no such environment file, it cannot be made by that name, or it has problems.
    """
    from trackbed.documents import nearest
    from trackbed.spec import check_name, read_spec

    project, engine = project_and_engine()
    file = project / "stacks" / f"Pulumi.{name}.yaml"
    if not file.exists():
        check_name(name)
        known = [
            found.name.removeprefix("Pulumi.").removesuffix(".yaml") for found in project.glob("stacks/Pulumi.*.yaml")
        ]
        suggestion = nearest(name, known)
        raise UserError(
            f"there is no environment {name!r}: {file} is missing; there are: {', '.join(sorted(known)) or 'none'}"
            + (f" ({suggestion})" if suggestion else ""),
            hint=f"trackbed new-environment {name} --target local",
        )
    if check:
        read_spec(file)
    from trackbed_engine.stack import Stack

    return Stack(project, name, engine)


def pulumi_exports(project: Path, engine: Engine) -> dict[str, str]:
    """Return the variables under which plain `pulumi` commands work as `trackbed` does."""
    from trackbed_engine.settings import pulumi_variables

    return pulumi_variables(project, engine)
