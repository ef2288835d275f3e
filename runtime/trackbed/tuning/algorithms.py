"""The algorithms of a study by their names in Katib, with the settings each one takes.

Plain tables: checking a study file imports nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

LARGEST_WHOLE = 2**53  # beyond it floats skip whole numbers, and every algorithm computes with floats


@dataclass(frozen=True)
class Setting:
    """One setting of an algorithm.

    Args:
        argument: the keyword argument of the Optuna class behind it.
        parse: turns the text of the study file into the argument's value; raises ValueError.
        allowed: what `parse` takes, in words.
    """

    argument: str
    parse: Callable[[str], Any]
    allowed: str


@dataclass(frozen=True)
class AlgorithmKind:
    """An algorithm that a study can name.

    Args:
        implementation: name of the sampler or pruner class in Optuna.
        settings: its settings, by the names that a study file may use.
        defaults: arguments that differ from Optuna's own defaults.
    """

    implementation: str
    settings: Mapping[str, Setting] = field(default_factory=dict[str, Setting])
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])


def parse_number(text: object) -> float:
    """Return a finite number from a YAML number or from text, as Katib writes numbers.

    Raises:
        ValueError: it is neither, or not finite.
    """
    if isinstance(text, bool):
        raise ValueError("not a number")
    try:
        number = float(text)  # pyright: ignore[reportArgumentType]
    except (TypeError, OverflowError) as error:
        raise ValueError("not a number") from error
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def parse_whole(text: object) -> int:
    """Return a whole number from a YAML number or from text; `8.0` counts as 8.

    Raises:
        ValueError: it is not a whole number, or too large for a float to hold it exactly.
    """
    number = parse_number(text)
    if not number.is_integer() or abs(number) > LARGEST_WHOLE:
        raise ValueError("not a whole number")
    return int(number)


def _count(argument: str, minimum: int = 0, maximum: int | None = None) -> Setting:
    def parse(text: str) -> int:
        number = parse_whole(text)
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError("out of range")
        return number

    until = f" and at most {maximum}" if maximum is not None else ""
    return Setting(argument, parse, f"a whole number, at least {minimum}{until}")


def _positive(argument: str) -> Setting:
    def parse(text: str) -> float:
        number = parse_number(text)
        if number <= 0:
            raise ValueError("out of range")
        return number

    return Setting(argument, parse, "a number above 0")


def _number(argument: str) -> Setting:
    return Setting(argument, parse_number, "a number")


def _flag(argument: str) -> Setting:
    def parse(text: str) -> bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("neither true nor false")
        return text.lower() == "true"

    return Setting(argument, parse, "true or false")


def _percentage(argument: str) -> Setting:
    def parse(text: str) -> float:
        number = parse_number(text)
        if not 0 <= number <= 100:
            raise ValueError("out of range")
        return number

    return Setting(argument, parse, "a number from 0 to 100")


_SEED = {"random_state": _count("seed", maximum=2**32 - 1)}
_TPE = {
    **_SEED,
    "n_startup_trials": _count("n_startup_trials"),
    "n_ei_candidates": _count("n_ei_candidates", 1),
    "n_EI_candidates": _count("n_ei_candidates", 1),
}
_GAUSSIAN = {
    **_SEED,
    "n_initial_points": _count("n_startup_trials"),
    "n_startup_trials": _count("n_startup_trials"),
    "deterministic_objective": _flag("deterministic_objective"),
}
_HYPERBAND = {
    "min_resource": _count("min_resource", 1),
    "max_resource": _count("max_resource", 1),
    "reduction_factor": _count("reduction_factor", 2),
    "eta": _count("reduction_factor", 2),
    "r_l": _count("max_resource", 1),
}
_WARM_UP = {
    "n_startup_trials": _count("n_startup_trials"),
    "n_warmup_steps": _count("n_warmup_steps"),
    "min_trials_required": _count("n_startup_trials"),
    "start_step": _count("n_warmup_steps"),
    "interval_steps": _count("interval_steps", 1),
}

ALGORITHMS: Mapping[str, AlgorithmKind] = {
    # A trial that runs counts as a poor one until it ends, or parallel trials would crowd at the same point.
    "tpe": AlgorithmKind("TPESampler", _TPE, {"multivariate": False, "constant_liar": True}),
    "multivariate-tpe": AlgorithmKind(
        "TPESampler",
        {**_TPE, "group": _flag("group")},
        {"multivariate": True, "constant_liar": True, "warn_independent_sampling": False},
    ),
    "cmaes": AlgorithmKind(
        "CmaEsSampler",
        {
            **_SEED,
            "sigma": _positive("sigma0"),
            "sigma0": _positive("sigma0"),
            "popsize": _count("popsize", 2),
            "n_startup_trials": _count("n_startup_trials", 1),
            "use_separable_cma": _flag("use_separable_cma"),
            "with_margin": _flag("with_margin"),
            "lr_adapt": _flag("lr_adapt"),
        },
        {"warn_independent_sampling": False},
    ),
    "random": AlgorithmKind("RandomSampler", _SEED),
    "grid": AlgorithmKind("RandomSampler"),
    "sobol": AlgorithmKind(
        "QMCSampler",
        {**_SEED, "scramble": _flag("scramble")},
        {"warn_independent_sampling": False, "warn_asynchronous_seeding": False},
    ),
    "bayesianoptimization": AlgorithmKind("GPSampler", _GAUSSIAN, {"warn_independent_sampling": False}),
    "gp": AlgorithmKind("GPSampler", _GAUSSIAN, {"warn_independent_sampling": False}),
    # Katib's hyperband is a way to choose and to stop at once: random parameters, and Hyperband's brackets.
    "hyperband": AlgorithmKind("RandomSampler", {**_SEED, **_HYPERBAND}),
}

EARLY_STOPPING: Mapping[str, AlgorithmKind] = {
    # Katib's own defaults, which differ from Optuna's.
    "medianstop": AlgorithmKind("MedianPruner", _WARM_UP, {"n_startup_trials": 3, "n_warmup_steps": 4}),
    "percentile": AlgorithmKind(
        "PercentilePruner", {**_WARM_UP, "percentile": _percentage("percentile")}, {"percentile": 25.0}
    ),
    "asha": AlgorithmKind(
        "SuccessiveHalvingPruner",
        {
            "min_resource": _count("min_resource", 1),
            "reduction_factor": _count("reduction_factor", 2),
            "eta": _count("reduction_factor", 2),
            "min_early_stopping_rate": _count("min_early_stopping_rate"),
        },
    ),
    "hyperband": AlgorithmKind("HyperbandPruner", _HYPERBAND),
    "threshold": AlgorithmKind(
        "ThresholdPruner",
        {
            "lower": _number("lower"),
            "upper": _number("upper"),
            "n_warmup_steps": _count("n_warmup_steps"),
            "interval_steps": _count("interval_steps", 1),
        },
    ),
}
