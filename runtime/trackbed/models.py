"""Registered models: which version an alias names, the version before it, and the canary weights of endpoints.

All of it lives in the model registry, as aliases and tags, so that every tool that speaks MLflow sees it:

- alias `champion`: the version that is served;
- tag `trackbed.previous.champion` of the registered model: the version before, one step back. A rollback swaps the two,
  so that rolling back twice returns to where it began;
- tag `trackbed.traffic.<endpoint>`: a JSON object of alias to weight in percent. Until it is set, the weights of the
  endpoint's specification hold; afterwards this tag does.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

from trackbed.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

    from trackbed.contract import Contract
    from trackbed.launchers import Launcher

DEFAULT_ALIAS = "champion"
PREVIOUS_TAG = "trackbed.previous."
TRAFFIC_TAG = "trackbed.traffic."
LISTED_NAMES = 20  # how many models or versions an error lists


@dataclass(frozen=True, kw_only=True)
class Move:
    """An alias that names another version than before.

    Args:
        model: name of the registered model.
        alias: the alias.
        version: the version it names now.
        previous: the version it named before; None when it named none.
    """

    model: str
    alias: str
    version: str
    previous: str | None


def promote(client: MlflowClient, model: str, version: str, alias: str = DEFAULT_ALIAS) -> Move:
    """Point an alias at a version, and keep the version before for `rollback`.

    May be repeated: when the alias names the version already, nothing changes.

    Args:
        client: the model registry.
        model: name of the registered model.
        version: the version, a whole number as text.
        alias: the alias, `champion` by default.

    Raises:
        UserError: there is no such model or version, or the alias cannot be a name.
    """
    from mlflow.exceptions import MlflowException

    registered = find_model(client, model)
    _check_version(client, model, version)
    before = registered.aliases.get(alias)
    before = None if before is None else str(before)
    if before == version:
        previous = registered.tags.get(PREVIOUS_TAG + alias)
        return Move(model=model, alias=alias, version=version, previous=previous)
    tag = PREVIOUS_TAG + alias
    # The tag first: if this stops halfway, the alias still names a version that can be rolled back to.
    try:
        if before is not None:
            client.set_registered_model_tag(model, tag, before)
        elif tag in registered.tags:
            client.delete_registered_model_tag(model, tag)
        client.set_registered_model_alias(model, alias, version)
    except MlflowException as error:
        if error.error_code != "INVALID_PARAMETER_VALUE":
            raise
        raise UserError(
            f"the alias {alias!r} cannot be set: {error.message}",
            hint="use letters, digits, '-' and '_', for example champion",
        ) from error
    return Move(model=model, alias=alias, version=version, previous=before)


def rollback(client: MlflowClient, model: str, alias: str = DEFAULT_ALIAS) -> Move:
    """Point an alias back at the version before; a second rollback returns to where it began.

    Args:
        client: the model registry.
        model: name of the registered model.
        alias: the alias, `champion` by default.

    Raises:
        UserError: there is no such model or alias, no version before is known, or it was deleted since.
    """
    registered = find_model(client, model)
    current = registered.aliases.get(alias)
    if current is None:
        raise _unknown_alias(registered, alias)
    before = registered.tags.get(PREVIOUS_TAG + alias)
    if before is None:
        raise UserError(
            f"the alias {alias!r} of model {model!r} names version {current}, and no version before it is known",
            hint=f"choose one: trackbed promote {model} VERSION --alias {alias}",
        )
    return promote(client, model, before, alias)


def traffic(client: MlflowClient, model: str, endpoint: str) -> dict[str, int] | None:
    """Return the weights that were set for an endpoint; None when those of its specification hold.

    Args:
        client: the model registry.
        model: name of the registered model.
        endpoint: name of the endpoint.

    Raises:
        UserError: there is no such model, or the tag holds no weights.
    """
    text = find_model(client, model).tags.get(TRAFFIC_TAG + endpoint)
    return None if text is None else read_weights(text)


def set_traffic(client: MlflowClient, model: str, endpoint: str, weights: Mapping[str, int]) -> None:
    """Set the weights of an endpoint.

    Args:
        client: the model registry.
        model: name of the registered model.
        endpoint: name of the endpoint.
        weights: alias to share in percent; they sum to 100.

    Raises:
        UserError: there is no such model or alias, or the weights are not a division of 100.
    """
    registered = find_model(client, model)
    check_weights(weights)
    for alias in weights:
        if alias not in registered.aliases:
            raise _unknown_alias(registered, alias)
    client.set_registered_model_tag(model, TRAFFIC_TAG + endpoint, json.dumps(dict(weights)))


def check_weights(weights: Mapping[str, int]) -> None:
    """Check that weights divide 100 percent.

    Raises:
        UserError: a weight is negative, or they do not sum to 100.
    """
    for alias, weight in weights.items():
        if weight < 0:
            raise UserError(f"the weight of {alias!r} is {weight}; allowed are whole numbers from 0 to 100")
    total = sum(weights.values())
    if total != 100:
        given = " ".join(f"{alias}={weight}" for alias, weight in weights.items()) or "none"
        raise UserError(
            f"the weights sum to {total}, not to 100: {given}", hint="for example: champion=90 challenger=10"
        )


def parse_weights(given: Iterable[str]) -> dict[str, int]:
    """Parse and check weights as a command line gives them, `champion=90 challenger=10`.

    Raises:
        UserError: one is not of that form or an alias is there twice, or they do not sum to 100.
    """
    weights: dict[str, int] = {}
    for item in given:
        alias, _, percent = item.partition("=")
        if not alias or not percent.isdecimal():
            raise UserError(f"{item!r} is no weight; allowed is ALIAS=PERCENT with a whole number from 0 to 100")
        if alias in weights:
            raise UserError(f"the alias {alias!r} has two weights, {weights[alias]} and {percent}")
        weights[alias] = int(percent)
    check_weights(weights)
    return weights


def read_weights(text: str) -> dict[str, int]:
    """Parse and check the JSON text of a traffic tag.

    Raises:
        UserError: it is not an object of alias to whole number, or the weights do not sum to 100.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not all(type(weight) is int for weight in document.values()):  # pyright: ignore
        raise UserError(f'{text!r} holds no weights; allowed is an object such as {{"champion": 100}}')
    weights: dict[str, int] = document
    check_weights(weights)
    return weights


def find_model(client: MlflowClient, model: str) -> RegisteredModel:
    """Return a registered model.

    Raises:
        UserError: there is none of that name; names close to it are listed.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    known = [found.name for found in client.search_registered_models(max_results=1000)]
    near = get_close_matches(model, known, n=3, cutoff=0.5)
    listed = ", ".join(sorted(known)[:LISTED_NAMES]) or "none"
    raise UserError(
        f"there is no registered model {model!r}; registered are: {listed}",
        hint=f"did you mean {' or '.join(near)}?" if near else "register one: mlflow.register_model(uri, name)",
    )


@contextmanager
def open_registry(contract: Contract, launcher: Launcher) -> Generator[MlflowClient]:
    """Give a client of an environment's model registry; that it is down becomes an error for the reader.

    Sets MLflow's variables of this process, which is how its client takes credentials.

    Args:
        contract: the environment.
        launcher: resolves the tracking server's address and password.

    Raises:
        UserError: the server cannot be reached or refuses the credentials.
    """
    import os

    from trackbed.configuration import mlflow_variables

    launcher.require_tracking()
    variables = mlflow_variables(contract, launcher)
    os.environ.update(variables)
    # A person waits at the keyboard: MLflow's own seven retries take minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    url = variables["MLFLOW_TRACKING_URI"]
    import requests
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        yield MlflowClient(tracking_uri=url, registry_uri=url)
    except MlflowException as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, requests.RequestException) or "API request to" in error.message:
            raise UserError(
                f"the tracking server {url} does not answer as it should: {_first_line(error.message)}",
                hint="trackbed status shows what is down",
            ) from error
        raise


def _check_version(client: MlflowClient, model: str, version: str) -> None:
    from mlflow.exceptions import MlflowException

    if version.isdecimal():
        try:
            client.get_model_version(model, version)
            return
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    quoted = model.replace("'", "''")
    found = client.search_model_versions(f"name='{quoted}'", order_by=["version_number DESC"], max_results=LISTED_NAMES)
    listed = ", ".join(str(each.version) for each in found) or "none"
    raise UserError(f"model {model!r} has no version {version!r}; it has: {listed}")


def _unknown_alias(registered: RegisteredModel, alias: str) -> UserError:
    listed = ", ".join(sorted(registered.aliases)) or "none"
    return UserError(
        f"model {registered.name!r} has no alias {alias!r}; it has: {listed}",
        hint=f"set it: trackbed promote {registered.name} VERSION --alias {alias}",
    )


def _first_line(message: str) -> str:
    return message.strip().splitlines()[0][:300]
