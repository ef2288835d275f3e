"""What every program of an environment is configured with; what only one tool needs is in its engine's module."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from trackbed.contract import Contract
from trackbed.launchers import Launcher


def mlflow_variables(contract: Contract, launcher: Launcher) -> dict[str, str]:
    """Return the MLFLOW_* variables that every program of the environment gets.

    Args:
        contract: the environment.
        launcher: resolves addresses and secrets from where this process runs.

    Returns:
        MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI and, where the server wants it, MLFLOW_TRACKING_USERNAME and
        MLFLOW_TRACKING_PASSWORD.
    """
    url = launcher.address(contract.tracking.address)
    variables = {"MLFLOW_TRACKING_URI": url, "MLFLOW_REGISTRY_URI": url}
    authentication = contract.tracking.authentication
    if authentication is not None:
        variables["MLFLOW_TRACKING_USERNAME"] = authentication.username or "admin"
        variables["MLFLOW_TRACKING_PASSWORD"] = launcher.secret(authentication.secret)
    return variables


def common_variables(contract: Contract, uri: str, launcher: Launcher) -> dict[str, str]:
    """Return what every program of the environment gets, whichever tool runs it.

    Args:
        contract: the environment.
        uri: where its contract lies.
        launcher: resolves addresses and secrets from where this process runs.

    Returns:
        The variables of MLflow, TRACKBED_ENVIRONMENT (so that a program's own calls of `trackbed` work on the same
        environment) and for each endpoint TRACKBED_ENDPOINT_<NAME>_URL and, where it asks for one,
        TRACKBED_ENDPOINT_<NAME>_TOKEN.
    """
    endpoints: dict[str, str] = {}
    for name, endpoint in contract.endpoints.items():
        prefix = f"TRACKBED_ENDPOINT_{name.upper().replace('-', '_')}"
        endpoints[f"{prefix}_URL"] = launcher.address(endpoint.address)
        if endpoint.authentication is not None:
            endpoints[f"{prefix}_TOKEN"] = launcher.secret(endpoint.authentication.secret)
    return {"TRACKBED_ENVIRONMENT": uri, **endpoints, **mlflow_variables(contract, launcher)}


def artifact_path(contract: Contract) -> str:
    """Return the path of an artifact store that is a directory of this machine."""
    return unquote(urlsplit(contract.artifacts.uri).path)
