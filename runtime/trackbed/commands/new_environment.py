"""`trackbed new-environment`: write a commented starter file for an environment."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from trackbed.commands.options import json_option

TARGETS = ("local", "kubernetes", "aws")


@click.command(epilog="Example: trackbed new-environment staging --from local --target kubernetes")
@click.argument("name")
@click.option("--target", type=click.Choice(TARGETS), help="The ground it stands on; required without --from.")
@click.option("--from", "other", metavar="NAME", help="Start from another environment of the project instead.")
@json_option
def command(name: str, target: str | None, other: str | None, as_json: bool) -> None:
    """Write stacks/Pulumi.NAME.yaml, with every field explained.

    In a directory that is no project yet, Pulumi.yaml and stacks/__main__.py are written too. Nothing that exists is
    overwritten.
    """
    from trackbed.environments import project_root
    from trackbed.errors import UserError
    from trackbed.spec import IMPLEMENTED_TARGETS, check_name, read_spec
    from trackbed.templates import render, template_text

    check_name(name)
    if target is None and other is None:
        raise UserError(
            f"the target is missing; allowed are {', '.join(TARGETS)}", hint="add --target local", exit_code=2
        )
    project = project_root() or Path.cwd()
    file = project / "stacks" / f"Pulumi.{name}.yaml"
    if file.exists():
        raise UserError(f"{file} exists already", hint="choose another name, or edit that file")
    if other is None:
        text = render("environment/Pulumi.environment.yaml.j2", name=name, target=target)
    else:
        text = _copied(project, other, target)
    wanted = {
        project / "Pulumi.yaml": render("environment/Pulumi.yaml.j2", name=_project_name(project)),
        project / "stacks" / "__main__.py": template_text("environment/stacks_main.py"),
        file: text,
    }
    written = {path: content for path, content in wanted.items() if not path.exists()}
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    target = target or read_spec(file).target
    if as_json:
        document = {"environment": name, "target": target, "project": str(project), "written": list(map(str, written))}
        click.echo(json.dumps(document, indent=2))
        return
    for path in written:
        click.echo(f"wrote {path.relative_to(project)}")
    if target in IMPLEMENTED_TARGETS:
        click.echo(f"next: edit {file.relative_to(project)}, then: trackbed up {name}")
    else:
        click.echo(f"this version of trackbed brings up the target {', '.join(IMPLEMENTED_TARGETS)}, not {target} yet")


def _copied(project: Path, other: str, target: str | None) -> str:
    from trackbed.documents import read_document, refuse
    from trackbed.errors import UserError
    from trackbed.spec import spec_document, spec_problems

    source = project / "stacks" / f"Pulumi.{other}.yaml"
    document = spec_document(read_document(source))
    refuse(document, spec_problems(document))
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    given: str = document.value["target"]
    if target is not None and target != given:
        position = document.line(("target",)) - 1
        changed, count = re.subn(
            rf"""(\btarget["']?\s*:\s*["']?){given}\b""", rf"\g<1>{target}", lines[position], count=1
        )
        if count != 1:
            raise UserError(
                f"the target could not be changed in line {position + 1} of {source}",
                hint=f"write that line as: target: {given}",
            )
        lines[position] = changed
    # The salt belongs to the other stack's secrets; the rest, comments too, is kept as it stands.
    return "".join(line for line in lines if not line.startswith("encryptionsalt:"))


def _project_name(project: Path) -> str:
    """Return a name that Pulumi takes, near that of the directory."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", project.name).strip("-.") or "trackbed"
