"""How Kubeflow programs are recognised and their arguments and installs read: pure functions, no environment."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from trackbed.engines import Program, kubeflow
from trackbed.kubeflow.arguments import Parameter, UsageError, parse_arguments, usage
from trackbed.kubeflow.installs import split_prelude
from trackbed.kubeflow.source import read_source

PROGRAMS = Path(__file__).parents[1] / "programs" / "kubeflow"
NUMBERS = Parameter("numbers", "list", required=True)
LIMIT = Parameter("upper_limit", "float", required=False, default=0.5, description="where it ends")


@pytest.mark.parametrize("program", sorted(PROGRAMS.glob("*.py")), ids=lambda path: path.stem)
def test_every_program_is_recognised_with_its_version(program: Path) -> None:
    assert kubeflow.recognises(Program(program))
    assert read_source(ast.parse(program.read_text())).v1 == program.stem.startswith("v1_")


@pytest.mark.parametrize(
    "source",
    [
        "import mlflow\n",
        "from somewhere import pipeline\n@pipeline\ndef p(): ...\n",
        "from kfp import dsl\n@dsl.component\ndef c(): ...\n",
    ],
)
def test_other_python_files_are_not_recognised(tmp_path: Path, source: str) -> None:
    (tmp_path / "other.py").write_text(source)
    assert not kubeflow.recognises(Program(tmp_path / "other.py"))


@pytest.mark.parametrize("text", ["a: 1\n", "schemaVersion: 2.1.0\n", "- schemaVersion\n", "{schemaVersion: ["])
def test_other_documents_are_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    assert not kubeflow.recognises(Program(tmp_path / "other.yaml"))


@pytest.mark.parametrize(
    ("source", "v1"),
    [
        ("import kfp.dsl as d\n@d.pipeline(name='x')\ndef p(a: int): ...\n", False),
        ("from kfp.v2 import dsl\n@dsl.pipeline\ndef p(a: int): ...\n", False),
        ("from kfp import dsl\n@dsl.pipeline\ndef p(a): ...\n", True),
        ("import kfp\n@kfp.dsl.pipeline\ndef p():\n    kfp.dsl.ContainerOp('a', 'b')\n", True),
        ("from kfp.components import InputPath\nfrom kfp.dsl import pipeline\n@pipeline()\ndef p(): ...\n", True),
        ("import kfp\ndef p(): ...\nkfp.compiler.Compiler().compile(p, 'p.yaml')\n", True),
    ],
)
def test_the_sdk_version_is_read_from_the_names_used(source: str, v1: bool) -> None:
    found = read_source(ast.parse(source))
    assert (found.pipelines, found.v1) == (("p",), v1)


def test_a_file_that_starts_local_execution_itself_is_left_to_do_so() -> None:
    source = "from kfp import dsl, local\nlocal.init(local.SubprocessRunner())\n@dsl.pipeline\ndef p(): ...\n"
    assert read_source(ast.parse(source)).runs_itself


def test_arguments_take_both_spellings_and_forms() -> None:
    given = ["--numbers=[1, 2]", "--upper_limit", "-1.5"]
    assert parse_arguments([NUMBERS, LIMIT], given) == {"numbers": [1, 2], "upper_limit": -1.5}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--numbers", "{}"], "--numbers is '{}', which is not a JSON list"),
        (["--numbers"], "--numbers needs a value"),
        (["--numbers", "--upper-limit", "1"], "--numbers needs a value"),
        (["[1]"], "'[1]' is no option"),
        ([], "--numbers is required (list)"),
    ],
)
def test_unusable_arguments_are_refused(given: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_arguments([NUMBERS, LIMIT], given)
    assert message in str(raised.value)
    assert str(raised.value).count("--numbers ") <= 1


def test_usage_lists_type_default_and_meaning() -> None:
    text = usage("p", [NUMBERS, LIMIT])
    assert "--numbers LIST       required" in text
    assert "--upper-limit FLOAT  default: 0.5  where it ends" in text


PIP = "python3 -m pip install --quiet --no-warn-script-location --index-url https://i"
SIX = "'six>=1; python_version>\"3\"'"
PRELUDES = {
    "2.17": f"""
if ! [ -x "$(command -v pip)" ]; then
    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install python3-pip
fi

PIP_DISABLE_PIP_VERSION_CHECK=1 {PIP} {SIX}  &&  {PIP} 'kfp==2.17.0' '--no-deps' 'typing-extensions<5' && "$0" "$@"
""",
    "2.0": f"""
PIP_DISABLE_PIP_VERSION_CHECK=1 {PIP} {SIX} 'kfp==2.0.1' && "$0" "$@"
""",
    "1.8": f"""(PIP_DISABLE_PIP_VERSION_CHECK=1 {PIP} {SIX} || \
PIP_DISABLE_PIP_VERSION_CHECK=1 {PIP} {SIX} --user) && "$0" "$@" """,
}


@pytest.mark.parametrize("version", PRELUDES)
def test_packages_are_read_from_what_each_compiler_writes(version: str) -> None:
    installs, rest = split_prelude(["sh", "-c", PRELUDES[version], "sh", "-ec", "program"]) or ((), [])
    assert rest == ["sh", "-ec", "program"]
    options = ("--quiet", "--no-warn-script-location", "--index-url", "https://i")
    assert installs == ((*options, 'six>=1; python_version>"3"'),)


def test_a_prelude_that_only_installs_kfp_installs_nothing() -> None:
    script = "python3 -m pip install --quiet 'kfp==2.4.0' '--no-deps' 'typing-extensions>=3' && \"$0\" \"$@\""
    assert split_prelude(["sh", "-c", script, "sh", "-ec", "program"]) == ((), ["sh", "-ec", "program"])


def test_an_unknown_prelude_is_not_guessed_at() -> None:
    assert split_prelude(["bash", "-c", 'pip install six; exec "$@"', "sh", "program"]) is None
