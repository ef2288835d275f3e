from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from trackbed.documents import schema
from trackbed.errors import ProblemsError
from trackbed.tuning.algorithms import ALGORITHMS, EARLY_STOPPING
from trackbed.tuning.samplers import distributions, make_pruner, make_sampler
from trackbed.tuning.study import Study, read_study
from trackbed.tuning.trials import trial_arguments
from tuning_ground import PROGRAMS

STUDIES = Path(__file__).parent / "studies"


@pytest.mark.parametrize("path", sorted(STUDIES.glob("bad-*.yaml")), ids=lambda path: path.stem)
def test_bad_studies_are_refused_with_every_problem(path: Path) -> None:
    with pytest.raises(ProblemsError) as refused:
        read_study(path)
    assert str(refused.value).replace(f"{STUDIES}/", "") + "\n" == path.with_suffix(".txt").read_text()


@pytest.mark.parametrize("path", sorted(STUDIES.glob("good-*.yaml")), ids=lambda path: path.stem)
def test_good_studies_are_read(path: Path) -> None:
    use(read_study(path))


def test_katib_fields_get_their_meaning() -> None:
    study = read_study(STUDIES / "good-experiment.yaml")
    assert (study.name, study.max_trials, study.ignored) == ("from-katib", 6, ("trialTemplate", "resumePolicy"))
    assert list(study.grid())[:3] == [{"x": 1, "y": 1}, {"x": 1, "y": 5}, {"x": 1, "y": 9}]
    bare = read_study(STUDIES / "good-bare.yaml")
    assert (bare.name, bare.objective.goal) == ("good-bare", 0.001)
    assert trial_arguments(bare, {"x": 0.1, "y": -0.5, "kind": "steep"}) == [
        "--x=0.1",
        "--y",
        "-0.5",
        "--kind=steep",
        "--seconds",
        "0",
    ]


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("quadratic.py", ["--x", "0.5", "--depth", "3"]),
        ("tuned_flow.py", ["run", "--x", "0.5", "--depth", "3"]),
        ("tuned_project", ["-P", "x=0.5", "-P", "depth=3"]),
    ],
)
def test_arguments_have_the_form_of_the_engine(tmp_path: Path, program: str, arguments: list[str]) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(document() | {"program": str(PROGRAMS / program)}))
    assert trial_arguments(read_study(path), {"x": 0.5, "depth": 3}) == arguments


def test_the_command_refuses_without_a_traceback(tmp_path: Path) -> None:
    for path in (STUDIES / "bad-many-problems.yaml", tmp_path / "absent.yaml"):
        command = [sys.executable, "-m", "trackbed", "tune", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema("study"))


def document() -> dict[str, Any]:
    return {
        "program": str(PROGRAMS / "quadratic.py"),
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random"},
        "maxTrialCount": 3,
        "parameters": [
            {"name": "x", "parameterType": "double", "feasibleSpace": {"min": 0, "max": 1}},
            {"name": "depth", "parameterType": "int", "feasibleSpace": {"min": 1, "max": 9}},
        ],
    }


def use(study: Study) -> None:
    """Do with a study what the tuner does with it before the first trial."""
    distributions(study)
    make_sampler(study, trials=3)
    make_pruner(study)
    study.space()
    if study.algorithm.name == "grid":
        next(study.grid())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.floats().map(str),
    st.integers(-5, 50).map(str),
    st.sampled_from(["uniform", "logUniform", "grid", "double", "int", "${trialParameters.x}", "1e400"]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NUMBER = st.one_of(st.floats(), st.integers(), st.floats(allow_nan=False).map(str), st.integers(-3, 30))
SETTINGS = sorted({name for kinds in (ALGORITHMS, EARLY_STOPPING) for kind in kinds.values() for name in kind.settings})
SPACE = st.fixed_dictionaries(
    {},
    optional={
        "min": NUMBER,
        "max": NUMBER,
        "step": NUMBER,
        "list": st.lists(SCALARS, max_size=4),
        "distribution": st.sampled_from(["uniform", "logUniform"]),
    },
)
PARAMETER = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y", "z"]),
        "parameterType": st.sampled_from(["double", "int", "discrete", "categorical"]),
        "feasibleSpace": SPACE,
    }
)
# Without the Gaussian process, which needs PyTorch.
ALGORITHM = st.fixed_dictionaries(
    {"algorithmName": st.sampled_from(sorted({*ALGORITHMS, *EARLY_STOPPING} - {"gp", "bayesianoptimization"}))},
    optional={
        "algorithmSettings": st.lists(
            st.fixed_dictionaries({"name": st.sampled_from(SETTINGS), "value": st.one_of(st.integers(0, 9), NUMBER)}),
            max_size=3,
        )
    },
)
PLAUSIBLE = st.fixed_dictionaries(
    {},
    optional={
        "algorithm": ALGORITHM,
        "earlyStopping": ALGORITHM,
        "parameters": st.lists(PARAMETER, min_size=1, max_size=3),
        "maxTrialCount": st.integers(0, 5),
        "seed": st.integers(-1, 2**33),
        "arguments": st.lists(st.sampled_from(["${trialParameters.x}", "${trialParameters.q}", "plain"]), max_size=2),
    },
)
WILD = st.dictionaries(st.sampled_from([*document(), "spec", "kind", "arguments", "earlyStopping", "goal"]), ANYTHING)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.one_of(PLAUSIBLE, WILD))
def test_any_study_is_read_or_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(document() | changes))
    try:
        study = read_study(path)
    except ProblemsError as refused:
        assert refused.problems
        return
    use(study)
