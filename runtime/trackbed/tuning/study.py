"""A study as `trackbed tune` reads it: the typed form of a study file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from trackbed.documents import Document, Step, read_document, refuse, schema_problems
from trackbed.errors import UserError
from trackbed.tuning.algorithms import ALGORITHMS, EARLY_STOPPING, AlgorithmKind, parse_number, parse_whole
from trackbed.tuning.checks import study_problems

# Parts of a Katib Experiment that describe a Kubernetes job. They may stay in the file, and mean nothing here.
KATIB_ONLY = ("trialTemplate", "metricsCollectorSpec", "resumePolicy")
# Closer than this, relative to the step, a last grid point counts as reached: 0.1 * 3 is a little more than 0.3.
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What a study optimises.

    Args:
        type: `minimize` or `maximize`.
        metric: name of the MLflow metric.
        goal: the study ends when a trial is at least this good; None for no goal.
        additional: names of metrics shown beside it.
    """

    type: str
    metric: str
    goal: float | None = None
    additional: tuple[str, ...] = ()

    def better(self, value: float, than: float) -> bool:
        """Whether `value` is strictly better than `than`."""
        return value < than if self.type == "minimize" else value > than

    def reached(self, value: float) -> bool:
        """Whether `value` is as good as the goal; False without a goal."""
        return self.goal is not None and not self.better(self.goal, value)


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """A chosen algorithm.

    Args:
        name: its name in the study file.
        settings: arguments of the Optuna class behind it.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One dimension of the search space.

    Args:
        name: its name.
        kind: `double`, `int`, `discrete` or `categorical`.
        low: smallest value, for double and int.
        high: largest value, for double and int.
        step: distance between values; None where every value between is allowed.
        log: whether values are drawn evenly on a logarithmic scale.
        choices: all values, for discrete (numbers) and categorical (text).
    """

    name: str
    kind: str
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    choices: tuple[float | str, ...] = ()

    def points(self) -> tuple[float | str, ...]:
        """Return every value, for a grid; the parameter must be finite."""
        if self.choices:
            return self.choices
        step = self.step or 1
        count = math.floor((self.high - self.low) / step + ROUNDING) + 1
        values = [self.low + position * step for position in range(count)]
        return tuple(values) if self.kind == "int" else tuple(round(value, 12) for value in values)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study.

    Args:
        name: what the study is called in the storage, in MLflow and in the log directory.
        file: the study file.
        program: what each trial runs, absolute.
        arguments: its arguments with placeholders; None for the engine's usual form.
        experiment: name of the MLflow experiment; None to derive it from the program.
        seed: seed of the algorithm; None for none.
        objective: what is optimised.
        algorithm: how parameters are chosen.
        early_stopping: what ends poor trials early; None for nothing.
        parallel_trials: trials at the same time; None for the environment's number.
        max_trials: trials in all.
        max_failed_trials: failed trials that are tolerated; None for the default rule.
        parameters: the search space.
        ignored: keys of the file that have a meaning for Katib only.
    """

    name: str
    file: Path
    program: Path
    arguments: tuple[str, ...] | None
    experiment: str | None
    seed: int | None
    objective: Objective
    algorithm: Algorithm
    early_stopping: Algorithm | None
    parallel_trials: int | None
    max_trials: int
    max_failed_trials: int | None
    parameters: tuple[Parameter, ...]
    ignored: tuple[str, ...] = ()

    def space(self) -> dict[str, str]:
        """Return what may not change while a study goes on, each part in words: objective and parameters."""
        parts = {"objective": f"{self.objective.type} {self.objective.metric}"}
        for parameter in self.parameters:
            values = (
                list(parameter.choices)
                if parameter.choices
                else f"{parameter.low} to {parameter.high}, step {parameter.step}, log {parameter.log}"
            )
            parts[f"parameter {parameter.name}"] = f"{parameter.kind} {values}"
        return parts

    def grid(self) -> Iterator[dict[str, float | str]]:
        """Yield every combination of the parameters' values, the last parameter changing fastest."""
        names = [parameter.name for parameter in self.parameters]
        for values in product(*(parameter.points() for parameter in self.parameters)):
            yield dict(zip(names, values, strict=True))


def read_study(path: Path) -> Study:
    """Read and check a study file: a bare Katib experiment spec or a whole `Experiment` document.

    Args:
        path: the YAML file.

    Raises:
        UserError: the file cannot be read.
        ProblemsError: something in it is wrong; all problems are told at once.
    """
    if path.exists() and not path.is_file():
        # Opening a pipe would wait for a writer, and each start of an interrupted study reads it anew.
        raise UserError(f"{path} is not a file; give the path of a study")
    document = read_document(path)
    base = experiment_base(document)
    problems = [*schema_problems(document, "study"), *study_problems(document, base, path.parent)]
    refuse(document, problems)
    value = document.value
    metadata_name = value.get("metadata", {}).get("name") if base else None
    for step in base:
        value = value[step]
    return _study(value, path, metadata_name)


def experiment_base(document: Document) -> tuple[Step, ...]:
    """Return where the study lies in the document: under `spec` for a whole Experiment, else at the top."""
    value = document.value
    whole = isinstance(value, dict) and any(key in value for key in ("spec", "kind", "apiVersion"))
    return ("spec",) if whole else ()


def _study(value: Mapping[str, Any], path: Path, metadata_name: str | None) -> Study:
    objective = value["objective"]
    goal = objective.get("goal")
    early_stopping = value.get("earlyStopping")
    arguments = value.get("arguments")
    parameters = tuple(_parameter(item) for item in value["parameters"])
    algorithm = _algorithm(value.get("algorithm", {"algorithmName": "tpe"}), ALGORITHMS)
    max_trials = value.get("maxTrialCount")
    if algorithm.name == "grid":
        size = math.prod(len(parameter.points()) for parameter in parameters)
        max_trials = size if max_trials is None else min(max_trials, size)
    assert max_trials is not None, "checked: only a grid may leave it out"
    return Study(
        name=value.get("name") or metadata_name or path.stem,
        file=path.absolute(),
        program=(path.parent / value["program"]).absolute(),
        arguments=None if arguments is None else tuple(str(argument) for argument in arguments),
        experiment=value.get("experiment"),
        seed=value.get("seed"),
        objective=Objective(
            type=objective["type"],
            metric=objective["objectiveMetricName"],
            goal=None if goal is None else parse_number(goal),
            additional=tuple(objective.get("additionalMetricNames", ())),
        ),
        algorithm=algorithm,
        early_stopping=None if early_stopping is None else _algorithm(early_stopping, EARLY_STOPPING),
        parallel_trials=value.get("parallelTrialCount"),
        max_trials=max_trials,
        max_failed_trials=value.get("maxFailedTrialCount"),
        parameters=parameters,
        ignored=tuple(key for key in KATIB_ONLY if key in value),
    )


def _algorithm(value: Mapping[str, Any], kinds: Mapping[str, AlgorithmKind]) -> Algorithm:
    name = value["algorithmName"]
    settings: dict[str, Any] = {}
    for setting in value.get("algorithmSettings", ()):
        known = kinds[name].settings[setting["name"]]
        settings[known.argument] = known.parse(str(setting["value"]))
    return Algorithm(name=name, settings=settings)


def _parameter(value: Mapping[str, Any]) -> Parameter:
    name, kind, space = value["name"], value["parameterType"], value["feasibleSpace"]
    if kind == "discrete":
        return Parameter(name=name, kind=kind, choices=tuple(_shortest(item) for item in space["list"]))
    if kind == "categorical":
        return Parameter(name=name, kind=kind, choices=tuple(choice_text(item) for item in space["list"]))
    parse = parse_whole if kind == "int" else parse_number
    step = space.get("step")
    return Parameter(
        name=name,
        kind=kind,
        low=parse(space["min"]),
        high=parse(space["max"]),
        step=None if step is None else parse(step),
        log=space.get("distribution") == "logUniform",
    )


def choice_text(value: str | float | bool) -> str:
    """Return a categorical value as the program gets it: `true` and `false` as YAML writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shortest(item: str | float) -> float:
    number = parse_number(item)
    return int(number) if number.is_integer() and "." not in str(item) else number
