"""What `up` and `down` say where there is nothing to bring up or to take down."""

from __future__ import annotations

import json

from support import Project


def test_a_target_of_a_later_version_is_refused_in_one_line(project: Project) -> None:
    project.trackbed("new-environment", "k", "--target", "kubernetes")
    done = project.trackbed("up", "k", "--yes", check=False)
    assert done.returncode == 1
    problems = [line for line in done.stderr.splitlines() if line.startswith("  - ")]
    assert problems == ["  - the target 'kubernetes' is not in this version of Trackbed; it has: local"]


def test_nothing_done_is_told_as_json(project: Project) -> None:
    done = project.trackbed("down", "local", "--json")
    assert json.loads(done.stdout) == {"environment": "local", "changes": [], "deleted_data": False, "kept": None}


def test_what_was_left_behind_is_told_as_json(project: Project) -> None:
    data = project.home("local") / "data"
    data.mkdir(parents=True)
    (data / "artifact").write_bytes(b"12345")
    told = json.loads(project.trackbed("down", "local", "--json").stdout)
    assert told["kept"] == {"directory": str(project.home("local")), "data_bytes": 5}
    told = json.loads(project.trackbed("down", "local", "--delete-data", "--yes", "--json").stdout)
    assert (told["deleted_data"], told["kept"]) == (True, None)
    assert not project.home("local").exists()


def test_a_crash_of_the_program_is_told_with_what_it_wrote(project: Project) -> None:
    (project.directory / "stacks" / "__main__.py").write_text('import sys\nsys.exit("no such thing")\n')
    done = project.trackbed("preview", "local", check=False)
    assert done.returncode == 1
    assert "no such thing" in done.stderr
