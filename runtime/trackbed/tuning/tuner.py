"""The loop of a study: takes parameters from Optuna, runs trials side by side, and notes what came of them.

One process, one thread. It may be killed at any moment: what it has decided stands in Optuna's storage, its trials are
ended by the reaper, and the next tuner of the study begins by settling what is still open.
"""

from __future__ import annotations

import hashlib
import math
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
from optuna.trial import TrialState

from trackbed.configuration import common_variables
from trackbed.environments import Environment
from trackbed.errors import UserError
from trackbed.launchers import Launcher
from trackbed.tuning.display import Counts, Display, Row, counts_text, shown_values
from trackbed.tuning.experiment import experiment_name
from trackbed.tuning.record import ADDITIONAL, RUN, Record, objective_value
from trackbed.tuning.session import stop_signals, study_directories, study_lock
from trackbed.tuning.storage import open_storage
from trackbed.tuning.study import Study
from trackbed.tuning.tracking import STATE_TAG, RunData, Tracking
from trackbed.tuning.trials import (
    TrialProcess,
    dismiss_reaper,
    end_processes,
    start_reaper,
    start_trial,
    value_text,
)

TICK_SECONDS = 0.1  # between two looks at the trials' processes
POLL_SECONDS = 1.0  # between two looks at the running trials' metrics
# Failed trials that are tolerated as long as none has succeeded, where the study says nothing.
FAILURES_BEFORE_SUCCESS = 2
RUN_STATUS = {"failed": "FAILED", "interrupted": "KILLED"}  # MLflow's status of the parent run; FINISHED otherwise


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best trial of a study.

    Args:
        trial: its number.
        value: its value of the objective.
        parameters: its parameters.
        metrics: its additional metrics.
        run: id of its MLflow run.
        url: the run's page.
    """

    trial: int
    value: float
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    run: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a study.

    Args:
        outcome: `complete` (all trials are done), `goal` (the goal is reached), `failed` (too many trials failed, or
            none ended with a value) or `interrupted`.
        reason: the outcome in words.
        counts: how many trials there are of each kind.
        best: the best trial; None when none has a value.
        run: id of the study's MLflow run.
        url: the run's page.
        plot: picture of the history; None when no trial has a value.
        logs: directory of the trials' logs.
    """

    outcome: str
    reason: str
    counts: Counts
    best: Best | None
    run: str
    url: str
    plot: Path | None
    logs: Path


@dataclass
class RunningTrial:
    """A trial whose process runs.

    Args:
        trial: Optuna's trial.
        run: id of its MLflow run.
        process: its process.
        values: its parameters as text.
        latest: last value of the objective's metric; None before the first.
        reported: steps that Optuna has been told of.
    """

    trial: optuna.Trial
    run: str
    process: TrialProcess
    values: Mapping[str, str]
    latest: float | None = None
    reported: set[int] = field(default_factory=set[int])

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.trial.number


def tune(study: Study, environment: Environment, launcher: Launcher, display: Display) -> Result:
    """Run a study to its end, or go on with one that was interrupted.

    Args:
        study: the study.
        environment: where trials run and are tracked.
        launcher: resolves the environment's addresses and secrets.
        display: shows the progress.

    Returns:
        What came of it, also for a study that failed or was interrupted.

    Raises:
        UserError: the study is being tuned already, exists with another search space, or something it needs is missing.
    """
    contract = environment.contract
    if contract.tuning is None:
        raise UserError(
            f"the environment {contract.name!r} has no tuning service",
            hint="add `tuning: {}` to its file and run `trackbed up`",
        )
    directories = study_directories(study.name, contract)
    variables = common_variables(contract, environment.uri, launcher)
    with study_lock(study.name, directories.lock):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        record = Record(study, open_storage(contract.tuning, launcher))
        tuner = Tuner(
            study=study,
            record=record,
            tracking=Tracking(variables, experiment=experiment_name(study), study=study.name),
            display=display,
            logs=directories.logs,
            mark=hashlib.sha256(f"{contract.tuning.storage}\n{study.name}".encode()).hexdigest()[:16],
            variables=variables,
            parallel=study.parallel_trials or contract.tuning.parallel_trials,
        )
        return tuner.run()


class Tuner:
    """One session of a study.

    Args:
        study: the study.
        record: its trials in Optuna's storage.
        tracking: its MLflow runs.
        display: shows the progress.
        logs: directory of the trials' logs.
        mark: what the processes of this study's trials are known by, whichever tuner started them.
        variables: environment variables of every trial.
        parallel: trials at the same time.
    """

    def __init__(
        self,
        *,
        study: Study,
        record: Record,
        tracking: Tracking,
        display: Display,
        logs: Path,
        mark: str,
        variables: Mapping[str, str],
        parallel: int,
    ) -> None:
        self._study = study
        self._metric = study.objective.metric
        self._record = record
        self._tracking = tracking
        self._say = display.say
        self._display = display
        self._logs = logs
        self._mark = mark
        # Its own below the study's, so that a dead tuner's reaper leaves alone what the next one has started meanwhile.
        self._session = f"{mark}/{uuid4().hex[:8]}"
        self._variables = variables
        self._parallel = parallel
        self._running: list[RunningTrial] = []
        self._failures = 0  # of this session: whoever runs a failed study again has mended the program
        self._polled = 0.0
        self._stopped = False
        self._source = {"mlflow.source.name": str(study.program)}
        self._parent = tracking.parent_run({**self._source, "trackbed.algorithm": study.algorithm.name})

    def run(self) -> Result:
        """Run trials until the study ends; see `tune`."""
        self._say(f"study {self._study.name}: {self._tracking.url(self._parent)}")
        self._say(f"logs of the trials: {self._logs}")
        with stop_signals(self._stop):
            self._recover()
            reaper = start_reaper(self._session)
            try:
                with self._display:
                    outcome, reason = self._loop()
            finally:
                self._end_running()
                dismiss_reaper(reaper)
            return self._conclude(outcome, reason)

    def _stop(self) -> None:
        self._stopped = True

    def _loop(self) -> tuple[str, str]:
        while (ended := self._ended()) is None:
            while len(self._running) < self._parallel and self._to_start() > 0:
                self._start()
            self._collect()
            if time.monotonic() - self._polled >= POLL_SECONDS:
                self._poll()
            self._show()
            time.sleep(TICK_SECONDS)
        return ended

    def _ended(self) -> tuple[str, str] | None:
        """Return outcome and reason once the study has ended."""
        counts, best = self._record.counts(), self._record.best()
        if self._stopped:
            return "interrupted", "interrupted"
        if best is not None and self._study.objective.reached(objective_value(best)):
            return "goal", f"the goal {self._study.objective.goal:g} is reached"
        limit = self._study.max_failed_trials
        if limit is None and counts.complete + counts.pruned == 0:
            limit = FAILURES_BEFORE_SUCCESS
        if limit is not None and self._failures > limit:
            return "failed", f"{self._failures} trials failed, and at most {limit} may"
        if self._running or self._to_start() > 0:
            return None
        if best is None:
            return "failed", f"none of the {counts.finished} trials ended with a value"
        return "complete", f"all {self._study.max_trials} trials are done"

    def _to_start(self) -> int:
        return self._study.max_trials - self._record.counts().finished - len(self._running)

    def _start(self) -> None:
        """Start the next trial: Optuna knows it first, then MLflow, then it runs."""
        trial = self._record.ask()
        values = {
            parameter.name: value_text(parameter, trial.params[parameter.name]) for parameter in self._study.parameters
        }
        run = self._tracking.trial_run(self._parent, trial.number, self._source)
        trial.set_user_attr(RUN, run)
        process = start_trial(
            self._study,
            trial.params,
            mark=f"{self._session}/{trial.number}",
            log=self._logs / f"trial-{trial.number}.log",
            variables={
                **self._variables,
                "MLFLOW_RUN_ID": run,
                "MLFLOW_EXPERIMENT_ID": self._tracking.experiment_id,
            },
        )
        self._running.append(RunningTrial(trial, run, process, values))
        self._say(f"trial {trial.number} started: {shown_values(values)}", style="dim")

    def _collect(self) -> None:
        for running in list(self._running):
            status = running.process.status()
            if status is not None:
                self._finish(running, status)
                self._running.remove(running)

    def _finish(self, running: RunningTrial, status: int) -> None:
        """Settle a trial whose process has ended.

        MLflow is told before Optuna: after a kill between the two the trial counts as interrupted, and its run is so
        marked by the next tuner.
        """
        # Also of a trial that was quicker than the polls: the pruner compares later trials with it.
        self._report(running)
        data = self._tracking.data(running.run)
        why = self._failure(status, data)
        self._settle(running, data, "failed" if why else "complete", "FAILED" if why else "FINISHED")
        if why:
            self._record.fail(running.trial)
            self._failures += 1
            self._tell_failure(running, why)
            return
        value, before = data.metrics[self._metric], self._record.best()
        additional = {
            name: data.metrics[name]
            for name in self._study.objective.additional
            if math.isfinite(data.metrics.get(name, math.nan))
        }
        self._record.complete(running.trial, value, additional)
        improved = before is None or self._study.objective.better(value, objective_value(before))
        if improved:
            metrics = {f"best_{name}": number for name, number in {**additional, self._metric: value}.items()}
            # Steps in the order of completion: MLflow takes the value of the highest step for the newest.
            self._tracking.log(self._parent, metrics=metrics, step=self._record.counts().complete)
        self._say(
            f"trial {running.number} complete: {self._metric}={value:.6g}{' (best so far)' if improved else ''} "
            f"{shown_values(running.values)} in {running.process.seconds():.1f} s",
            style="green" if improved else "",
        )

    def _failure(self, status: int, data: RunData) -> str:
        """Return why a trial failed; empty when it did not."""
        if status > 0:
            return f"exited with status {status}"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        if self._metric not in data.metrics:
            logged = ", ".join(sorted(data.metrics)) or "none"
            return f"logged no metric {self._metric!r} to its MLflow run (metrics logged: {logged})"
        value = data.metrics[self._metric]
        return "" if math.isfinite(value) else f"its metric {self._metric!r} is {value}"

    def _tell_failure(self, running: RunningTrial, why: str) -> None:
        self._say(f"trial {running.number} failed: {why}; {shown_values(running.values)}", style="red")
        end = running.process.log_end()
        for line in end.splitlines():
            self._say(f"  | {line}", style="dim")
        self._say(f"  whole log: {running.process.log}")
        if "active experiment ID does not match" in end:
            self._say("  fix: set `experiment:` in the study to the name that the program gives to set_experiment()")

    def _poll(self) -> None:
        """Read the running trials' metrics, and end those that the pruner gives up."""
        self._polled = time.monotonic()
        for running in list(self._running):
            self._report(running)
            if running.reported and running.process.status() is None and running.trial.should_prune():
                self._prune(running)

    def _report(self, running: RunningTrial) -> None:
        """Tell Optuna the metric's values that it does not know yet."""
        for measured in self._tracking.history(running.run, self._metric):
            running.latest = measured.value
            if measured.step < 0 or measured.step in running.reported or math.isnan(measured.value):
                continue
            running.reported.add(measured.step)
            running.trial.report(measured.value, measured.step)

    def _prune(self, running: RunningTrial) -> None:
        running.process.end()
        self._running.remove(running)
        self._settle(running, self._tracking.data(running.run), "pruned", "KILLED")
        self._record.prune(running.trial)
        self._say(
            f"trial {running.number} pruned at step {max(running.reported)}: {self._metric}={running.latest:.6g} "
            f"{shown_values(running.values)} after {running.process.seconds():.1f} s",
            style="yellow",
        )

    def _settle(self, running: RunningTrial, data: RunData, state: str, status: str) -> None:
        # Only what the program has not logged itself: MLflow refuses a parameter that is written differently.
        missing = {name: text for name, text in running.values.items() if name not in data.parameters}
        self._tracking.log(running.run, parameters=missing, tags={STATE_TAG: state})
        self._tracking.end(running.run, status)

    def _recover(self) -> None:
        """Settle what an earlier tuner left: its processes, its open trials, its open runs."""
        end_processes(self._mark)
        trials = self._record.trials()
        left = [trial for trial in trials if trial.state == TrialState.RUNNING]
        for trial in left:
            self._record.interrupt(trial.number)
            if RUN in trial.user_attrs:
                self._interrupt_run(trial.user_attrs[RUN])
        # Runs that were made just before the kill, which no trial knows of, and those MLflow could not be told about.
        for run in list(self._tracking.running_trials(self._parent)):
            self._interrupt_run(run)
        if trials:
            self._say(f"going on after {counts_text(self._record.counts())}")

    def _end_running(self) -> None:
        """End the trials that still run; their parameters are tried again when the study goes on."""
        if not self._running:
            return
        self._say(f"ending {len(self._running)} running trials")
        end_processes(self._session)
        for running in self._running:
            running.process.process.wait()
            self._record.interrupt(running.number)
        # A server that does not answer must not hide why the study ended; the next tuner tells it.
        with suppress(UserError):
            for running in self._running:
                self._interrupt_run(running.run)
        self._running.clear()

    def _interrupt_run(self, run: str) -> None:
        self._tracking.log(run, tags={STATE_TAG: "interrupted"})
        self._tracking.end(run, "KILLED")

    def _conclude(self, outcome: str, reason: str) -> Result:
        """Write the result to the parent run and return it."""
        best, plot = self._best(), None
        tags = {STATE_TAG: outcome}
        if best is not None:
            from trackbed.tuning.plots import plot_history

            plot = self._logs / "optimization-history.png"
            plot_history(self._study, self._record.trials(), plot)
            self._tracking.log_file(self._parent, plot)
            # Tags, not parameters: those never change, and a study that goes on may find something better.
            tags |= {f"best.{name}": str(value) for name, value in best.parameters.items()}
            tags |= {"best.trial": str(best.trial), "best.run": best.run}
        self._tracking.log(self._parent, tags=tags)
        self._tracking.end(self._parent, RUN_STATUS.get(outcome, "FINISHED"))
        return Result(
            outcome=outcome,
            reason=reason,
            counts=self._record.counts(),
            best=best,
            run=self._parent,
            url=self._tracking.url(self._parent),
            plot=plot,
            logs=self._logs,
        )

    def _best(self) -> Best | None:
        trial = self._record.best()
        if trial is None:
            return None
        run = trial.user_attrs[RUN]
        return Best(
            trial=trial.number,
            value=objective_value(trial),
            parameters=dict(trial.params),
            metrics=trial.user_attrs.get(ADDITIONAL, {}),
            run=run,
            url=self._tracking.url(run),
        )

    def _show(self) -> None:
        rows = [
            Row(running.number, running.values, running.process.seconds(), running.latest) for running in self._running
        ]
        best = self._record.best()
        shown = "" if best is None else f"best: trial {best.number}, {self._metric}={objective_value(best):.6g}"
        self._display.update(rows, replace(self._record.counts(), running=len(rows)), shown)
