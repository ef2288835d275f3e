"""Optuna's side of a study's algorithm: its sampler, its pruner and its distributions."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler

from trackbed.errors import UserError
from trackbed.tuning.algorithms import ALGORITHMS, EARLY_STOPPING
from trackbed.tuning.study import Algorithm, Parameter, Study

HYPERBAND_ARGUMENTS = ("min_resource", "max_resource", "reduction_factor")


def make_sampler(study: Study, *, trials: int) -> BaseSampler:
    """Return the sampler of the study's algorithm.

    Args:
        study: the study.
        trials: how many trials the storage holds already. A seeded sampler starts from its seed in every process: the
            seed moves on with the trials, or a resumed study would draw the same parameters again.

    Raises:
        UserError: the algorithm needs a package that is not installed.
    """
    kind = ALGORITHMS[study.algorithm.name]
    if kind.implementation == "GPSampler" and find_spec("torch") is None:
        raise UserError(
            f"the algorithm {study.algorithm.name} needs PyTorch, which is not installed",
            hint="pip install torch, or use the algorithm multivariate-tpe",
        )
    given = {key: value for key, value in study.algorithm.settings.items() if key not in HYPERBAND_ARGUMENTS}
    arguments: dict[str, Any] = {**kind.defaults, "seed": study.seed, **given}
    # Sobol's sequence is found again in the storage by its seed, and counts its points there.
    if arguments["seed"] is not None and study.algorithm.name != "sobol":
        arguments["seed"] = (arguments["seed"] + trials) % 2**32
    return _quietly(getattr(optuna.samplers, kind.implementation), arguments)


def make_pruner(study: Study) -> BasePruner:
    """Return the pruner of the study's early stopping, or of Hyperband as its algorithm; else one that never prunes."""
    if study.algorithm.name == "hyperband":
        settings = study.algorithm.settings
        return _quietly(HyperbandPruner, {key: settings[key] for key in HYPERBAND_ARGUMENTS if key in settings})
    chosen = study.early_stopping or Algorithm(name="")
    kind = EARLY_STOPPING.get(chosen.name)
    if kind is None:
        return NopPruner()
    return _quietly(getattr(optuna.pruners, kind.implementation), {**kind.defaults, **chosen.settings})


def distributions(study: Study) -> dict[str, BaseDistribution]:
    """Return the search space in Optuna's terms, by parameter name."""
    return {parameter.name: _distribution(parameter) for parameter in study.parameters}


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution(parameter.choices)
    if parameter.kind == "int":
        return _quietly(
            IntDistribution,
            {
                "low": int(parameter.low),
                "high": int(parameter.high),
                "log": parameter.log,
                "step": int(parameter.step or 1),
            },
        )
    return _quietly(
        FloatDistribution,
        {"low": parameter.low, "high": parameter.high, "log": parameter.log, "step": parameter.step},
    )


def _quietly(make: Any, arguments: dict[str, Any]) -> Any:
    """Call a constructor of Optuna without its notes to developers (experimental classes, rounded ranges)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(**arguments)
