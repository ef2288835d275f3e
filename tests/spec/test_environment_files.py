"""Environment files and what is told of them.

Each bad/NAME.yaml has a bad/NAME.txt: what `trackbed validate NAME.yaml` prints in that directory.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from spec_ground import trackbed
from support import EXECUTABLES
from trackbed.documents import DocumentError, read_document, schema
from trackbed.spec import EnvironmentSpec, ExternalDatabase, PoolSpec, read_spec, spec_document, spec_problems

HERE = Path(__file__).parent
GOOD = sorted((HERE / "good").glob("*.yaml"))
BAD = sorted((HERE / "bad").glob("*.yaml"))
SECRET = "correct-horse"  # the password in the fixtures that hold one


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_every_problem_of_a_bad_file_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    done = trackbed("validate", file.name)
    assert (done.out, done.err, done.code) == (file.with_suffix(".txt").read_text(), "", 1)
    assert SECRET not in done.out


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_file_is_refused_wherever_it_is_read(file: Path) -> None:
    with pytest.raises(DocumentError) as refused:
        read_spec(file)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_file_is_valid_and_read(file: Path) -> None:
    done = trackbed("validate", str(file))
    assert (done.out, done.code) == (f"{file}: valid\n", 0)
    read_spec(file)


def test_there_are_no_messages_without_a_file() -> None:
    assert {file.stem for file in (HERE / "bad").glob("*.txt")} == {file.stem for file in BAD}


def test_the_schema_is_one_and_describes_every_field() -> None:
    whole = schema("environment")
    Draft202012Validator.check_schema(whole)

    def undescribed(part: object, place: str) -> list[str]:
        if not isinstance(part, dict):
            return []
        missing = [
            f"{place}.{name}" for name, field in part.get("properties", {}).items() if not field.get("description")
        ]
        return missing + [name for key, inner in part.items() for name in undescribed(inner, f"{place}.{key}")]

    assert undescribed(whole, "") == []


def test_a_target_alone_takes_the_defaults() -> None:
    spec = read_spec(HERE / "good" / "only-a-target.yaml")
    assert spec == EnvironmentSpec(target="local")
    assert spec.pools == {"default": PoolSpec()}
    assert (spec.tracking.port, spec.tracking.database, spec.tracking.auth) == (5000, "sqlite", "none")


def test_a_block_with_nothing_in_it_counts_as_absent() -> None:
    assert read_spec(HERE / "good" / "blocks-with-nothing-in-them.yaml") == EnvironmentSpec(target="local")
    fields = read_spec(HERE / "good" / "fields-with-nothing-in-them.yaml")
    assert fields.pools == {"default": PoolSpec(), "big": PoolSpec()}


def test_every_field_reaches_the_typed_spec() -> None:
    spec = read_spec(HERE / "good" / "everything.yaml")
    assert (spec.name, spec.disposable, spec.parallel_trials) == ("team-a", True, 3)
    assert spec.artifacts_uri == "file:///srv/artifacts and more"
    assert spec.tracking.database == ExternalDatabase(
        url="postgresql://mlflow@db.example.com:5432/mlflow?sslmode=require", password="env:MLFLOW_DATABASE_PASSWORD"
    )
    assert spec.tracking.allowed_hosts == ("mlflow.example.com", "*.internal:8443", "[::1]:5100")
    assert spec.pools["default"] == PoolSpec(cpu=0.5, memory=1610612736, gpu=0, maximum=4)
    digits, faces = spec.endpoints
    assert (digits.model, digits.traffic, digits.auth, digits.port) == (
        "Digits of the post office",
        {"champion": 90, "challenger": 10},
        "token",
        8100,
    )
    assert (faces.model, faces.traffic, faces.auth, faces.port) == ("faces", {"champion": 100}, "none", 8081)


def test_lines_are_those_of_the_whole_file() -> None:
    file = HERE / "bad" / "many-problems-in-a-stack-file.yaml"
    lines = file.read_text().splitlines()
    for problem in spec_problems(spec_document(read_document(file))):
        last = problem.path.rpartition(".")[2].rstrip("0123456789[]")
        assert f"{last}:" in lines[problem.line - 1]


def test_json_gives_the_parts_of_each_problem(directory: Path) -> None:
    (directory / "bad.yaml").write_text("target: lokal\n")
    (directory / "broken.yaml").write_text("target: [\n")
    (directory / "good.yaml").write_text("target: local\n")
    done = trackbed("validate", "--json", "bad.yaml", "broken.yaml", "good.yaml", "absent.yaml")
    bad, broken, good, absent = json.loads(done.out)
    assert done.code == 1
    assert bad == {
        "file": "bad.yaml",
        "valid": False,
        "problems": [
            {
                "line": 1,
                "path": "target",
                "message": '"lokal" is not one of local, kubernetes, aws',
                "suggestion": "did you mean 'local'?",
            }
        ],
    }
    assert broken["problems"][0]["message"].startswith("not valid YAML")
    assert good == {"file": "good.yaml", "valid": True, "problems": []}
    assert "absent.yaml cannot be read" in absent["problems"][0]["message"]


def test_every_environment_of_the_project_is_checked_by_default(directory: Path) -> None:
    (directory / "Pulumi.yaml").write_text("name: platform\n")
    (directory / "stacks").mkdir()
    (directory / "stacks" / "Pulumi.one.yaml").write_text("config: {'trackbed:environment': {target: local}}\n")
    (directory / "stacks" / "Pulumi.two.yaml").write_text("config: {'trackbed:environment': {target: mars}}\n")
    done = trackbed("validate")
    one, two = done.out.splitlines()
    assert one.endswith("Pulumi.one.yaml: valid")
    assert "Pulumi.two.yaml:1: target:" in two
    assert done.code == 1


def test_nothing_to_check_is_said(directory: Path) -> None:
    done = trackbed("validate")
    assert done.code == 1
    assert done.err.startswith("error: there is no environment file to check\n  fix: ")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"target: \x00", b""], ids=["no text", "control", "empty"])
def test_any_bytes_are_refused_without_a_traceback(directory: Path, content: bytes) -> None:
    (directory / "bytes.yaml").write_bytes(content)
    done = subprocess.run(
        [str(EXECUTABLES / "trackbed"), "validate", "bytes.yaml", "."], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "bytes.yaml" in done.stdout
    assert done.stderr == ""
