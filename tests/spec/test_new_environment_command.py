"""`trackbed new-environment`: what it writes, and what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from spec_ground import trackbed
from trackbed.commands.new_environment import TARGETS
from trackbed.documents import schema
from trackbed.errors import UserError
from trackbed.spec import CONFIG_KEY, IMPLEMENTED_TARGETS, read_spec
from trackbed_components.targets import make_target

OTHER = """\
# our production
encryptionsalt: v1:abc=:v1:def:ghi==
config:
  other:settings:
    target: local  # not ours
  trackbed:environment:
    # target: local is what we began with
    target: local  # this machine
    pools:
      default: {maximum: 3}  # three at once

    endpoints: [{name: digits}]
"""


@pytest.fixture
def other(directory: Path) -> Path:
    """A project with an environment that somebody has edited."""
    (directory / "Pulumi.yaml").write_text("name: platform\n")
    (directory / "stacks").mkdir()
    file = directory / "stacks" / "Pulumi.production.yaml"
    file.write_text(OTHER)
    return file


def test_the_targets_are_those_of_the_schema() -> None:
    assert list(TARGETS) == schema("environment")["properties"]["target"]["enum"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_is_made_where_it_is_told_to_be_in_this_version(directory: Path, target: str) -> None:
    if target in IMPLEMENTED_TARGETS:
        assert make_target(target, home=directory).name == target
    else:
        with pytest.raises(UserError, match=r"it has: local$"):
            make_target(target, home=directory)


def test_what_was_written_is_told_as_json(directory: Path) -> None:
    done = trackbed("new-environment", "team-a", "--target", "local", "--json")
    told = json.loads(done.out)
    files = [directory / name for name in ("Pulumi.yaml", "stacks/__main__.py", "stacks/Pulumi.team-a.yaml")]
    assert told == {
        "environment": "team-a",
        "target": "local",
        "project": str(directory),
        "written": list(map(str, files)),
    }
    assert all(file.is_file() for file in files)


@pytest.mark.parametrize("command", ["up", "preview", "down"])
def test_no_command_suggests_to_make_what_cannot_be_a_name(directory: Path, other: Path, command: str) -> None:
    done = trackbed(command, "../x")
    assert done.code == 2
    assert done.err.startswith("error: '../x' cannot be the name of an environment\n")
    assert "new-environment" not in done.err


@pytest.mark.parametrize("target", TARGETS)
def test_the_file_is_valid_and_makes_a_project(directory: Path, target: str) -> None:
    done = trackbed("new-environment", "team-a", "--target", target)
    assert (done.code, done.err) == (0, "")
    if target in IMPLEMENTED_TARGETS:
        following = "next: edit stacks/Pulumi.team-a.yaml, then: trackbed up team-a"
    else:
        following = f"this version of trackbed brings up the target local, not {target} yet"
    assert done.out.splitlines()[-1] == following
    file = directory / "stacks" / "Pulumi.team-a.yaml"
    assert read_spec(file).target == target
    assert yaml.safe_load((directory / "Pulumi.yaml").read_text())["main"] == "stacks/"
    assert "main(" in (directory / "stacks" / "__main__.py").read_text()
    assert trackbed("validate").code == 0


@pytest.mark.parametrize("target", TARGETS)
def test_every_commented_field_is_valid_once_uncommented(directory: Path, target: str) -> None:
    trackbed("new-environment", "team-a", "--target", target)
    file = directory / "stacks" / "Pulumi.team-a.yaml"
    lines = file.read_text().splitlines()
    field = re.compile(r"( +)# ( *(?:- )?[A-Za-z]+:( .*)?)$")
    shown = [f"{match[1]}{match[2]}" if (match := field.match(line)) else line for line in lines]
    file.write_text("\n".join(shown) + "\n")
    done = trackbed("validate", str(file))
    assert done.out == f"{file}: valid\n"
    written = yaml.safe_load(file.read_text())["config"][CONFIG_KEY]
    assert set(written) == set(schema("environment")["properties"]) - {"name"}


def test_another_environment_is_copied_with_its_comments(directory: Path, other: Path) -> None:
    done = trackbed("new-environment", "staging", "--from", "production", "--target", "kubernetes")
    assert done.code == 0, done.err
    copied = (directory / "stacks" / "Pulumi.staging.yaml").read_text().splitlines()
    expected = [line for line in OTHER.splitlines() if not line.startswith("encryptionsalt")]
    changed = [(old, new) for old, new in zip(expected, copied, strict=True) if old != new]
    assert changed == [("    target: local  # this machine", "    target: kubernetes  # this machine")]
    assert other.read_text() == OTHER


@pytest.mark.parametrize("line", ['"target": "local"', "target:   local", "{target: local, disposable: true}"])
def test_the_target_is_changed_however_it_is_written(directory: Path, other: Path, line: str) -> None:
    other.write_text(f"config:\n  {CONFIG_KEY}:\n    {line}\n")
    assert trackbed("new-environment", "staging", "--from", "production", "--target", "aws").code == 0
    copied = (directory / "stacks" / "Pulumi.staging.yaml").read_text()
    assert copied == f"config:\n  {CONFIG_KEY}:\n    {line.replace('local', 'aws')}\n"


def test_a_copy_keeps_the_target_unless_told(directory: Path, other: Path) -> None:
    assert trackbed("new-environment", "staging", "--from", "production").code == 0
    assert read_spec(directory / "stacks" / "Pulumi.staging.yaml") == read_spec(other)


def test_nothing_that_exists_is_overwritten(directory: Path, other: Path) -> None:
    (directory / "stacks" / "__main__.py").write_text("ours = True\n")
    done = trackbed("new-environment", "production", "--target", "local")
    assert (done.code, other.read_text()) == (1, OTHER)
    assert "exists already" in done.err
    assert trackbed("new-environment", "staging", "--target", "local").code == 0
    assert (directory / "stacks" / "__main__.py").read_text() == "ours = True\n"
    assert (directory / "Pulumi.yaml").read_text() == "name: platform\n"


def test_it_is_written_to_the_project_around(directory: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / "deep" / "below").mkdir(parents=True)
    monkeypatch.chdir(directory / "deep" / "below")
    assert trackbed("new-environment", "staging", "--target", "local").code == 0
    assert (directory / "stacks" / "Pulumi.staging.yaml").exists()


@pytest.mark.parametrize("name", ["Team", "1st", "a_b", "../x", "ends-", "", "n" * 41, "team\n"])
def test_a_name_that_cannot_be_one_is_refused_with_what_can(directory: Path, name: str) -> None:
    done = trackbed("new-environment", "--target", "local", "--", name)
    assert done.code == 2
    assert done.err.startswith(f"error: {name!r} cannot be the name of an environment\n  fix: use up to 40 lower-case")
    assert list(directory.iterdir()) == []


def test_a_target_is_asked_for(directory: Path) -> None:
    done = trackbed("new-environment", "team-a")
    assert done.code == 2
    assert done.err == "error: the target is missing; allowed are local, kubernetes, aws\n  fix: add --target local\n"
    assert trackbed("new-environment", "team-a", "--target", "moon").code == 2
    assert list(directory.iterdir()) == []


def test_an_environment_to_copy_must_exist_and_be_valid(directory: Path, other: Path) -> None:
    absent = trackbed("new-environment", "staging", "--from", "absent", "--target", "aws")
    assert (absent.code, "Pulumi.absent.yaml cannot be read" in absent.err) == (1, True)
    other.write_text("config: {'trackbed:environment': {target: mars}}\n")
    broken = trackbed("new-environment", "staging", "--from", "production", "--target", "aws")
    assert (broken.code, '"mars" is not one of local, kubernetes, aws' in broken.err) == (1, True)
    assert not (directory / "stacks" / "Pulumi.staging.yaml").exists()
