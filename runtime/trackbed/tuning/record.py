"""Optuna's side of a running study: which trials there are, what to try next, and how each one ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from trackbed.errors import ProblemsError, UserError
from trackbed.tuning.display import Counts
from trackbed.tuning.samplers import distributions, make_pruner, make_sampler
from trackbed.tuning.study import Study

# User attributes in Optuna's storage.
SPACE = "trackbed:space"
RUN = "trackbed:run"
RETRIES = "trackbed:retries"
INTERRUPTED = "trackbed:interrupted"
ADDITIONAL = "trackbed:additional"


class Record:
    """A study in Optuna's storage, made when there is none of its name.

    Args:
        study: the study.
        storage: where it is kept.

    Raises:
        UserError: the storage has a study of this name with another objective or search space.
    """

    def __init__(self, study: Study, storage: BaseStorage) -> None:
        self._study = study
        self._storage = storage
        self._distributions = distributions(study)
        self._optuna = optuna.create_study(
            storage=storage,
            study_name=study.name,
            direction=cast(Literal["minimize", "maximize"], study.objective.type),
            load_if_exists=True,
            pruner=make_pruner(study),
        )
        self._check_space()
        self._optuna.sampler = make_sampler(study, trials=len(self.trials()))

    def trials(self) -> list[FrozenTrial]:
        """Return all trials, in the order of their numbers."""
        return self._optuna.get_trials(deepcopy=False)

    def counts(self) -> Counts:
        """Return how many trials have ended in which way."""
        trials = self.trials()
        valid = [trial for trial in trials if not trial.user_attrs.get(INTERRUPTED)]
        return Counts(
            complete=sum(trial.state == TrialState.COMPLETE for trial in valid),
            pruned=sum(trial.state == TrialState.PRUNED for trial in valid),
            failed=sum(trial.state == TrialState.FAIL for trial in valid),
            interrupted=len(trials) - len(valid),
        )

    def best(self) -> FrozenTrial | None:
        """Return the best of the complete trials, the earliest of equals; None when there is none."""
        complete = [trial for trial in self.trials() if trial.state == TrialState.COMPLETE]
        choose = min if self._study.objective.type == "minimize" else max
        return choose(complete, key=objective_value, default=None)

    def ask(self) -> optuna.Trial:
        """Return the next trial, with its parameters; those of an interrupted trial come first."""
        if self._study.algorithm.name == "grid":
            self._queue_grid_point()
        return self._optuna.ask(fixed_distributions=self._distributions)

    def complete(self, trial: optuna.Trial, value: float, additional: Mapping[str, float]) -> None:
        """Note that a trial has ended with a value of the objective.

        Args:
            trial: the trial.
            value: the objective's value.
            additional: values of the additional metrics.
        """
        trial.set_user_attr(ADDITIONAL, dict(additional))
        self._optuna.tell(trial, value)

    def prune(self, trial: optuna.Trial) -> None:
        """Note that a trial was ended early."""
        self._optuna.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: optuna.Trial) -> None:
        """Note that a trial has ended without a value."""
        self._optuna.tell(trial, state=TrialState.FAIL)

    def interrupt(self, number: int) -> None:
        """Note that a trial was ended with its tuner: it counts for nothing, and its parameters wait to be tried again.

        A kill between the steps does no harm; a trial that is still running then is interrupted again, and waits once.
        """
        trials = self.trials()
        trial = trials[number]
        waits = any(other.user_attrs.get(RETRIES) == number for other in trials)
        if not waits and trial.params.keys() == self._distributions.keys():
            self._optuna.enqueue_trial(trial.params, user_attrs={RETRIES: number})
        self._storage.set_trial_user_attr(trial._trial_id, INTERRUPTED, True)  # pyright: ignore[reportPrivateUsage]
        self._optuna.tell(number, state=TrialState.FAIL)

    def _queue_grid_point(self) -> None:
        trials = self.trials()
        if any(trial.state == TrialState.WAITING for trial in trials):
            return
        tried = {frozenset(trial.params.items()) for trial in trials if not trial.user_attrs.get(INTERRUPTED)}
        for point in self._study.grid():
            if frozenset(point.items()) not in tried:
                self._optuna.enqueue_trial(point)
                return

    def _check_space(self) -> None:
        space: dict[str, str] = self._study.space()
        known: dict[str, Any] | None = self._optuna.user_attrs.get(SPACE)
        name, trials = self._study.name, len(self.trials())
        if known is None and trials == 0:
            self._optuna.set_user_attr(SPACE, space)
        elif known is None:
            raise UserError(
                f"the storage of studies has a study {name!r} that another program made",
                hint="give this study another `name:`",
            )
        elif known != space:
            changed = [
                f"{part}: was {known.get(part, 'not there')}; is now {space.get(part, 'not there')}"
                for part in sorted(known.keys() | space.keys())
                if known.get(part) != space.get(part)
            ]
            raise ProblemsError(
                f"{self._study.file}: the study {name!r} has {trials} trials of another search space; "
                "undo the change, or give the changed study another `name:`",
                changed,
            )


def objective_value(trial: FrozenTrial) -> float:
    """Return a trial's value of the objective; NaN when it has none."""
    return math.nan if trial.value is None else trial.value
