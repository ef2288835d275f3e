"""A caller of endpoints: predictions, and waiting until an endpoint serves what the registry says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from trackbed.contract import Contract
from trackbed.errors import UserError
from trackbed.launchers import Launcher

WAIT_SECONDS = 600  # a large model may take minutes to download and load
POLL_SECONDS = 0.2
TIMEOUT_SECONDS = 300  # of one prediction


@dataclass(frozen=True)
class EndpointClient:
    """One endpoint of an environment, as its callers see it.

    Args:
        name: name of the endpoint.
        model: name of the registered model it serves.
        url: where it listens.
        token: bearer token; None when it is open.
    """

    name: str
    model: str
    url: str
    token: str | None

    def predict(self, body: bytes, content_type: str) -> Any:
        """Ask `/invocations` and return the parsed answer.

        Args:
            body: the request as MLflow defines it.
            content_type: `application/json`, `text/csv` or `application/vnd.apache.parquet`.

        Raises:
            UserError: the endpoint does not answer, or refuses.
        """
        headers = {"Content-Type": content_type}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            answer = requests.post(f"{self.url}/invocations", body, headers=headers, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise self._silent(error) from error
        document = _document(answer)
        if not answer.ok:
            message = document.get("message", answer.text) if isinstance(document, dict) else answer.text  # pyright: ignore
            allowed = document.get("allowed") if isinstance(document, dict) else None  # pyright: ignore
            raise UserError(
                f"the endpoint {self.name!r} answers {answer.status_code}: {message}",
                hint=f"allowed: {_words(allowed)}" if allowed else "",
            )
        return document  # pyright: ignore[reportUnknownVariableType]

    def readiness(self) -> dict[str, Any]:
        """Return what the endpoint says of itself: `ready`, and `aliases` with weight, version and problem of each.

        Raises:
            UserError: the endpoint does not answer.
        """
        try:
            answer = requests.get(f"{self.url}/v2/health/ready", timeout=10)
        except requests.RequestException as error:
            raise self._silent(error) from error
        document = _document(answer)
        if not isinstance(document, dict) or "aliases" not in document:
            raise UserError(
                f"what listens at {self.url} is not the endpoint {self.name!r}: it answers {answer.text[:200]}"
            )
        return document  # pyright: ignore[reportUnknownVariableType]

    def _silent(self, error: requests.RequestException) -> UserError:
        return UserError(
            f"the endpoint {self.name!r} does not answer at {self.url} ({type(error).__name__})",
            hint=f"trackbed status; trackbed logs {self.name}",
        )


def find_endpoint(contract: Contract, launcher: Launcher, name: str) -> EndpointClient:
    """Return an endpoint of an environment.

    Args:
        contract: the environment.
        launcher: resolves its address and token.
        name: name of the endpoint.

    Raises:
        UserError: the environment has no such endpoint.
    """
    found = contract.endpoints.get(name)
    if found is None:
        listed = ", ".join(sorted(contract.endpoints)) or "none"
        raise UserError(f"the environment {contract.name!r} has no endpoint {name!r}; it has: {listed}")
    token = launcher.secret(found.authentication.secret) if found.authentication else None
    return EndpointClient(name, found.model, launcher.address(found.address).rstrip("/"), token)


def wait_for_version(contract: Contract, launcher: Launcher, *, model: str, alias: str, version: str) -> list[str]:
    """Wait until every endpoint that serves the model by the alias answers with the version.

    Args:
        contract: the environment.
        launcher: resolves addresses.
        model: name of the registered model.
        alias: the alias that moved.
        version: the version it names now.

    Returns:
        The names of those endpoints.

    Raises:
        UserError: an endpoint does not answer, cannot load the version, or takes longer than WAIT_SECONDS.
    """

    def served(aliases: Mapping[str, Any]) -> bool:
        state = aliases[alias]
        if state["wanted"] == version and "cannot be loaded" in (state["problem"] or ""):
            kept = f"version {state['version']} keeps serving" if state["version"] else "no version serves it"
            raise UserError(
                f"the alias {alias!r} is set, but {state['problem']}; {kept}",
                hint=f"trackbed rollback {model} --alias {alias}, or mend the model and promote its next version",
            )
        return state["version"] == version

    waited: list[str] = []
    for name in (name for name, endpoint in contract.endpoints.items() if endpoint.model == model):
        client = find_endpoint(contract, launcher, name)
        if alias in client.readiness()["aliases"]:
            _wait(client, served)
            waited.append(name)
    return waited


def wait_for_traffic(client: EndpointClient, weights: Mapping[str, int]) -> None:
    """Wait until an endpoint divides its requests by these weights, each among the version it should.

    Raises:
        UserError: the endpoint does not answer, or takes longer than WAIT_SECONDS.
    """

    def divided(aliases: Mapping[str, Any]) -> bool:
        states = [aliases.get(alias, {}) for alias in weights]
        return all(
            state.get("weight") == weights[alias] and not _is_loading(state)
            for alias, state in zip(weights, states, strict=True)
        )

    _wait(client, divided)


def _is_loading(state: Mapping[str, Any]) -> bool:
    return state["wanted"] != state["version"] and "is being loaded" in (state["problem"] or "")


def _wait(client: EndpointClient, reached: Callable[[Mapping[str, Any]], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not reached(client.readiness()["aliases"]):
        if time.monotonic() > deadline:
            raise UserError(
                f"the registry is changed, but the endpoint {client.name!r} did not follow in {WAIT_SECONDS} s",
                hint=f"trackbed logs {client.name}",
            )
        time.sleep(POLL_SECONDS)


def _document(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None


def _words(allowed: Any) -> str:
    return ", ".join(map(str, allowed)) if isinstance(allowed, list) else str(allowed)  # pyright: ignore
