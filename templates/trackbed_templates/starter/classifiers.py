"""The families of classifiers that compete for the digits, each with the space that Optuna searches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC

if TYPE_CHECKING:
    from optuna.trial import BaseTrial


def logistic_regression(trial: BaseTrial) -> ClassifierMixin:
    """Return a linear classifier; C weighs errors against simplicity."""
    return LogisticRegression(C=trial.suggest_float("C", 0.01, 100, log=True), max_iter=1000)


def support_vector_machine(trial: BaseTrial) -> ClassifierMixin:
    """Return one with a radial kernel, whose reach is gamma."""
    return SVC(C=trial.suggest_float("C", 0.1, 100, log=True), gamma=trial.suggest_float("gamma", 0.001, 1, log=True))


def random_forest(trial: BaseTrial) -> ClassifierMixin:
    """Return a vote of many decision trees."""
    return RandomForestClassifier(
        n_estimators=trial.suggest_int("n_estimators", 50, 150),
        max_depth=trial.suggest_int("max_depth", 4, 16),
        random_state=0,
    )


def nearest_neighbours(trial: BaseTrial) -> ClassifierMixin:
    """Return a vote of the most similar images."""
    return KNeighborsClassifier(
        n_neighbors=trial.suggest_int("n_neighbors", 1, 15),
        weights=trial.suggest_categorical("weights", ["uniform", "distance"]),
    )


FAMILIES: dict[str, Callable[[BaseTrial], ClassifierMixin]] = {
    family.__name__: family
    for family in (logistic_regression, support_vector_machine, random_forest, nearest_neighbours)
}


def build(family: str, trial: BaseTrial) -> Pipeline:
    """Return an untrained classifier of a family, with the hyperparameters of a trial."""
    return make_pipeline(MinMaxScaler(), FAMILIES[family](trial))
