"""Taking away what a check made: the registered model, the run and the experiment, and their files."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trackbed.check.steps import Ground
from trackbed.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient


def remove_traces(ground: Ground) -> list[str]:
    """Take away all that the check's name stands for, as far as it was made.

    MLflow keeps deleted runs and experiments in its trash, without files and out of sight, until `mlflow gc`.

    Returns:
        What could not be taken away, each in words with the reason.
    """
    left: list[str] = []
    for what, remove in (
        (f"registered model {ground.name}", _registered_model),
        (f"experiment {ground.name}", _experiment),
    ):
        left += _tried(ground, what, remove)
    return left


def _tried(ground: Ground, what: str, remove: Callable[[MlflowClient, str], None]) -> list[str]:
    from mlflow.exceptions import MlflowException

    try:
        with ground.client() as client:
            try:
                remove(client, ground.name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
    except (UserError, OSError) as error:
        return [f"{what} ({error})"]
    return []


def _registered_model(client: MlflowClient, name: str) -> None:
    client.delete_registered_model(name)


def _experiment(client: MlflowClient, name: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    experiment = client.get_experiment_by_name(name)
    if experiment is None or experiment.lifecycle_stage == "deleted":
        return
    for model in client.search_logged_models([experiment.experiment_id]):
        client.delete_logged_model(model.model_id)
    for run in client.search_runs([experiment.experiment_id]):
        client.delete_run(run.info.run_id)
    get_artifact_repository(experiment.artifact_location).delete_artifacts()
    client.delete_experiment(experiment.experiment_id)
