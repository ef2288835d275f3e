"""`trackbed tune`: tune the parameters of any program that `trackbed run` takes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trackbed.commands.options import environment_option, json_option
from trackbed.errors import UserError

if TYPE_CHECKING:
    from trackbed.tuning.study import Study
    from trackbed.tuning.tuner import Result

INTERRUPTED_STATUS = 130


@click.command(epilog="Example: trackbed tune digits.yaml")
@environment_option
@json_option
@click.argument("study", type=click.Path(path_type=Path))
def command(environment: str | None, as_json: bool, study: Path) -> None:
    """Tune the parameters of a program, as the file STUDY says.

    STUDY has the fields of Katib's Experiment spec (objective, algorithm, parameters, parallelTrialCount,
    maxTrialCount, earlyStopping, ...) and names the program, which is anything that `trackbed run` takes. Every trial
    runs the program with its parameters as arguments; the objective is read from the MLflow run that it logs to.

    A study that was interrupted, even by a kill, goes on when the same command is run again.
    """
    from rich.console import Console

    from trackbed.environments import resolve_environment
    from trackbed.launchers import launcher_for
    from trackbed.tuning.display import Display
    from trackbed.tuning.study import read_study

    described = read_study(study)
    found = resolve_environment(environment)
    _require_packages()
    from trackbed.tuning.tuner import tune

    # With --json the standard output is the result alone.
    display = Display(described, Console(stderr=as_json, highlight=False))
    for key in described.ignored:
        display.say(f"note: {key} has a meaning for Katib only", style="dim")
    launcher = launcher_for(found.contract)
    launcher.require_tracking()
    result = tune(described, found, launcher, display)
    if as_json:
        click.echo(json.dumps(_document(described, result), indent=2))
    else:
        _tell(described, result, display.say)
    if result.outcome == "failed":
        raise UserError(
            f"the study {described.name!r} failed: {result.reason}",
            hint="mend the program and run the same command again: the study goes on",
        )
    if result.outcome == "interrupted":
        raise UserError(
            f"the study {described.name!r} was interrupted",
            hint=f"to go on, run the same command again: trackbed tune {study}",
            exit_code=INTERRUPTED_STATUS,
        )


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("cmaes", "matplotlib", "optuna", "psutil") if find_spec(name) is None]
    if missing:
        raise UserError(f"tuning needs {', '.join(missing)}", hint="pip install 'trackbed[tuning]'")


def _document(study: Study, result: Result) -> dict[str, Any]:
    counts = {**asdict(result.counts), "finished": result.counts.finished}
    return {
        "study": study.name,
        "outcome": result.outcome,
        "reason": result.reason,
        "objective": study.objective.metric,
        "trials": counts,
        "best": None if result.best is None else asdict(result.best),
        "parent": {"run": result.run, "url": result.url},
        "plot": None if result.plot is None else str(result.plot),
        "logs": str(result.logs),
    }


def _tell(study: Study, result: Result, say: Any) -> None:
    from trackbed.tuning.display import counts_text

    say("")
    say(f"{result.reason} ({counts_text(result.counts)})", style="bold")
    best = result.best
    if best is not None:
        say(f"best trial: {best.trial}", style="green")
        for name, value in {study.objective.metric: best.value, **best.metrics}.items():
            say(f"  {name} = {value:.6g}")
        for name, value in best.parameters.items():
            say(f"  {name}: {value}")
        say(f"  run: {best.url}")
    say(f"all trials: {result.url}")
    if result.plot is not None:
        say(f"plot: {result.plot}")
