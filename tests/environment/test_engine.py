"""Getting the Pulumi engine on machines that lack it, and its settings for a project."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from platform_ground import engine_directory, spec, state_directory
from support import EXECUTABLES, Project, make_project
from trackbed_engine.install import Engine

NO_NETWORK = "http://127.0.0.1:9"  # the discard port: nobody listens
GO_THAT_FAILS = """\
#!/bin/sh
[ "$1" = env ] && echo go1.25.0 && exit 0
echo "go: downloading the modules: no route to host"
exit 1
"""
# Builds what it is asked for by copying an engine that was built before.
GO_THAT_COPIES = """\
#!/bin/sh
[ "$1" = env ] && echo go1.25.0 && exit 0
[ "$1" = list ] && echo {scripts} && exit 0
while [ "$1" != -o ]; do shift; done
mkdir -p "$(dirname "$2")" && cp {engine}/"$(basename "$2")" "$2"
"""
OLD_PULUMI = "#!/bin/sh\necho v3.100.0\n"


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    """A project on a machine that has nothing but the virtual environment and the basic tools."""
    project = make_project(tmp_path / "platform")
    (tmp_path / "tools").mkdir()
    variables = {
        **project.variables,
        "PATH": os.pathsep.join([str(tmp_path / "tools"), "/usr/bin", "/bin"]),
        "TRACKBED_CACHE": str(tmp_path / "cache"),
        "https_proxy": NO_NETWORK,
        "HTTPS_PROXY": NO_NETWORK,
    }
    return Project(project.directory, variables)


def _put_tool(tmp_path: Path, name: str, text: str) -> None:
    tool = tmp_path / "tools" / name
    tool.write_text(text)
    tool.chmod(0o755)


def _put_old_pulumi(tmp_path: Path) -> None:
    _put_tool(tmp_path, "pulumi", OLD_PULUMI)
    _put_tool(tmp_path, "pulumi-language-python", "#!/bin/sh\n")


def _fill_cache(tmp_path: Path, engine: Engine) -> None:
    built = tmp_path / "cache" / "pulumi" / engine.directory.parent.name
    built.mkdir(parents=True)
    (built / "bin").symlink_to(engine.directory)


def _export(project: Project, check: bool = True) -> tuple[str, str]:
    done = project.trackbed("environment", "--export", "pulumi", check=check)
    assert check or done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def test_a_filled_cache_is_used_without_a_word(bare: Project, tmp_path: Path, engine: Engine) -> None:
    _fill_cache(tmp_path, engine)
    exported, said = _export(bare)
    assert str(tmp_path / "cache") in exported
    assert said == ""


def test_an_old_pulumi_on_path_is_passed_over(bare: Project, tmp_path: Path, engine: Engine) -> None:
    _put_old_pulumi(tmp_path)
    _put_tool(tmp_path, "go", GO_THAT_FAILS)
    _, said = _export(bare, check=False)
    assert f"{tmp_path}/tools/pulumi is 3.100.0, older than 3.200.0; getting the engine" in said

    _fill_cache(tmp_path, engine)
    exported, _ = _export(bare)
    path = exported.split("export PATH=")[1].splitlines()[0].strip("'").split(os.pathsep)
    assert path.index(str(tmp_path / "cache" / "pulumi" / engine.directory.parent.name / "bin")) < path.index(
        str(tmp_path / "tools")
    )


def test_without_network_or_go_the_error_says_what_was_tried_and_a_repeat_starts_clean(
    bare: Project, tmp_path: Path
) -> None:
    _put_tool(tmp_path, "go", GO_THAT_FAILS)
    _, said = _export(bare, check=False)
    assert "there is no pulumi on PATH; getting the engine" in said
    assert "the official download failed" in said and "building the engine from its Go modules instead" in said
    assert "go: downloading the modules: no route to host" in said
    assert "fix: install Pulumi yourself (https://www.pulumi.com/docs/install/) and put it on PATH" in said

    [left] = (tmp_path / "cache" / "pulumi").glob("built-*.partial")
    (left / "bin").mkdir(exist_ok=True)
    (left / "bin" / "half-an-engine").touch()
    scripts = tmp_path / "sdk" / "python"
    for script in ("cmd/pulumi-language-python-exec", "dist/pulumi-resource-pulumi-python"):
        (scripts / script).parent.mkdir(parents=True)
        shutil.copy(engine_directory() / Path(script).name, scripts / script)
    _put_tool(tmp_path, "go", GO_THAT_COPIES.format(scripts=tmp_path / "sdk", engine=engine_directory()))
    exported, said = _export(bare)
    assert "built Pulumi 3." in said
    [made] = [path for path in (tmp_path / "cache" / "pulumi").glob("built-*") if path.suffix != ".partial"]
    assert str(made) in exported
    assert not (made / "bin" / "half-an-engine").exists() and not left.exists()
    bare.trackbed("preview", "local")  # behind a proxy as well: what is on this machine is not asked through it


def test_a_program_that_crashes_is_told_with_what_it_wrote(project: Project) -> None:
    program = project.directory / "stacks" / "__main__.py"
    program.write_text("print('hello')\nraise LookupError('no such thing as a free lunch')\n")
    done = project.trackbed("preview", "local", check=False)
    assert done.returncode == 1
    assert "LookupError: no such thing as a free lunch" in done.stderr


def test_the_passphrase_is_generated_once_kept_to_the_owner_and_never_shown(project: Project) -> None:
    exported = project.trackbed("environment", "--export", "pulumi")
    file = project.directory / ".trackbed" / "passphrase"
    passphrase = file.read_text()
    assert len(passphrase) >= 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    shown = project.trackbed("preview", "local")
    assert file.read_text() == passphrase
    assert passphrase not in exported.stdout + exported.stderr + shown.stdout + shown.stderr

    file.write_text("")  # as a full disk leaves it
    project.trackbed("environment", "--export", "pulumi")
    assert len(file.read_text()) >= 32


def test_a_backend_of_the_persons_own_is_used_and_nothing_is_written_beside_it(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "backend").mkdir()
    own = {"PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}", "PULUMI_CONFIG_PASSPHRASE": "their own words"}
    theirs = Project(project.directory, {**project.variables, **own})
    theirs.trackbed("preview", "local")
    assert list((tmp_path / "backend").rglob("local.json"))
    assert not state_directory(project).exists()
    assert not (project.directory / ".trackbed" / "passphrase").exists()
    assert "PULUMI_BACKEND_URL" not in theirs.trackbed("environment", "--export", "pulumi").stdout


def test_a_salt_committed_on_another_machine_does_not_stop_a_fresh_clone(project: Project, tmp_path: Path) -> None:
    file = project.write_spec("local", spec())
    project.trackbed("preview", "local")
    assert "encryptionsalt:" in file.read_text()
    clone = make_project(tmp_path / "clone")
    clone.write_spec("local", file.read_text())
    assert "create" in clone.trackbed("preview", "local").stdout


def test_the_persons_path_stays_behind_ours(project: Project) -> None:
    exported = project.trackbed("environment", "--export", "pulumi").stdout
    path = exported.split("export PATH=")[1].splitlines()[0].strip("'").split(os.pathsep)
    assert path[0] == str(EXECUTABLES) == str(Path(sys.executable).parent)
    assert path[1] == str(engine_directory())
