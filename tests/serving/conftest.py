"""A tracking server, registered models and endpoints that the tests share."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator

import mlflow
import pytest
import requests
from mlflow import MlflowClient
from serving_ground import (
    WEBHOOK_SECRET,
    Platform,
    Relay,
    RunningEndpoint,
    eventually,
    free_port,
    process,
    register_iris,
    register_mixed,
)
from sklearn.linear_model import LogisticRegression


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Generator[Platform]:
    directory = tmp_path_factory.mktemp("serving")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{directory}/mlflow.db",
        "--artifacts-destination",
        f"{directory}/artifacts",
    ]
    variables = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }
    with process(command, variables, directory / "mlflow.log"):
        eventually(lambda: requests.get(f"{url}/health", timeout=2).ok, f"the tracking server: {directory}/mlflow.log")
        before = mlflow.get_tracking_uri()
        mlflow.set_tracking_uri(url)
        yield Platform(url, directory, MlflowClient(url, url))
        mlflow.set_tracking_uri(before)


@pytest.fixture(scope="session")
def iris(platform: Platform) -> list[LogisticRegression]:
    """The registered model `iris`: versions 1 and 2 of two regularisations, whose predictions differ."""
    return [register_iris("iris", strength) for strength in (1.0, 0.001)]


@pytest.fixture(scope="session")
def plain(platform: Platform) -> LogisticRegression:
    """The registered model `plain`: its signature is one tensor without a name."""
    return register_iris("plain", 1.0, tensors=True)


@pytest.fixture(scope="session")
def mixed(platform: Platform) -> str:
    """The registered model `mixed`: a column of every type, and does as its rows say."""
    return register_mixed("mixed")


@pytest.fixture(scope="session")
def iris_endpoint(platform: Platform, iris: list[LogisticRegression]) -> Generator[RunningEndpoint]:
    """An endpoint that serves version 1 of `iris` and never changes."""
    platform.client.set_registered_model_alias("iris", "steady", "1")
    with platform.endpoint("iris", "--traffic", "steady=100") as running:
        yield running


@pytest.fixture(scope="session")
def plain_endpoint(platform: Platform, plain: LogisticRegression) -> Generator[RunningEndpoint]:
    """An endpoint of `plain` that does not poll: it follows by webhook."""
    platform.client.set_registered_model_alias("plain", "champion", "1")
    secret = {"TRACKBED_WEBHOOK_SECRET": WEBHOOK_SECRET}
    with platform.endpoint("plain", "--poll", "3600", name="plain", variables=secret) as running:
        yield running


@pytest.fixture(scope="session")
def mixed_endpoint(platform: Platform, mixed: str) -> Generator[RunningEndpoint]:
    platform.client.set_registered_model_alias("mixed", "champion", mixed)
    with platform.endpoint("mixed", "--traffic", "champion=100") as running:
        yield running


@pytest.fixture
def relay(platform: Platform) -> Generator[Relay]:
    line = Relay(platform.url)
    yield line
    line.cut()
