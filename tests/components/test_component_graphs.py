"""The resources of every component on the local target, against what is frozen in graphs/.

A change of a type token, a logical name or a parent makes people's resources anew: it needs an alias. To freeze a graph
again, delete its file and run the test: it writes the file anew, and fails once so that somebody looks at it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pulumi
import pytest
from component_ground import CASES, COMPONENTS, HOME, SPECS, Graph, Mode, Registration, frozen, run
from pulumi.runtime import rpc
from trackbed.errors import UserError
from trackbed.spec import EnvironmentSpec
from trackbed_components import (
    ArtifactStore,
    ArtifactStoreArgs,
    ComputePool,
    ComputePoolArgs,
    Environment,
    EnvironmentArgs,
    LocalTarget,
    ServingEndpoint,
    ServingEndpointArgs,
    Target,
    TrackingServer,
    TrackingServerArgs,
    TuningService,
    TuningServiceArgs,
    make_target,
)
from trackbed_components.targets.base import Bucket, BucketArgs, Buckets
from trackbed_components.tracking_server import TrackingServerOutputs

GRAPHS = Path(__file__).parent / "graphs"
ENVIRONMENTS = [f"environment-{name}" for name in SPECS]
REFERENCE = re.compile(r"file:/.+|env:[A-Z_]+")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY$")


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    """Every case, brought up."""
    return {name: run(build) for name, build in CASES.items()}


@pytest.mark.parametrize("case", CASES)
def test_the_graph_is_the_frozen_one(case: str, graphs: dict[str, Graph]) -> None:
    file = GRAPHS / f"{case}.json"
    found = frozen(graphs[case])
    if not file.exists():
        file.write_text(found, encoding="utf-8")
        pytest.fail(f"wrote {file.name}: look at it, and commit it", pytrace=False)
    expected = file.read_text(encoding="utf-8")
    if found != expected:
        lines = unified_diff(expected.splitlines(), found.splitlines(), "frozen", "found", lineterm="")
        pytest.fail("\n".join([f"{file.name} has another graph now", *lines]), pytrace=False)


def test_every_frozen_graph_has_a_case() -> None:
    assert {file.stem for file in GRAPHS.iterdir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_children_have_a_parent_whose_name_begins_theirs(case: str, graphs: dict[str, Graph]) -> None:
    for item in graphs[case].resources:
        kinds, parent = item.parent.split("::")[-2:]
        if kinds == "pulumi:pulumi:Stack":
            assert not item.custom, item
        else:
            assert item.name.startswith(f"{parent}-"), item


@pytest.mark.parametrize("mode", ["preview", "unknown"])
@pytest.mark.parametrize("case", CASES)
def test_a_preview_sees_the_same_resources(case: str, mode: Mode, graphs: dict[str, Graph]) -> None:
    """With outputs unknown too: so none is made inside an `apply`, where a preview could not see it."""
    previewed = run(CASES[case], mode)
    assert sorted(map(identity, previewed.resources)) == sorted(map(identity, graphs[case].resources))


@pytest.mark.parametrize("case", CASES)
def test_what_is_exported_comes_from_resources(case: str) -> None:
    graph = run(CASES[case], "unknown")
    assert graph.result is None
    for outputs in graph.outputs.values():
        constants = {"version", "slots"}  # known before any resource is
        assert {value for key, value in outputs.items() if key not in constants} <= {rpc.UNKNOWN}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_nothing_is_touched_before_the_settings_are_accepted(case: str) -> None:
    graph = Graph()

    def build() -> Any:
        return CASES[case]()

    with pytest.raises(Exception, match="test-settings is refused"):
        run(build, refused="test-settings", graph=graph)
    assert [item.name for item in graph.resources] == ["test"]


@pytest.mark.parametrize("case", CASES)
def test_data_and_the_secrets_that_open_it_are_retained(case: str, graphs: dict[str, Graph]) -> None:
    retained = {item.name for item in graphs[case].resources if item.retained}
    if case == "environment-disposable":
        assert retained == set()
        return
    data = {item.name for item in graphs[case].of_kind("Directory") if "/pools/" not in item.inputs["path"]}
    keys = {
        item.name
        for item in graphs[case].of_kind("Secret")
        if item.name.endswith(("tracking-webhook-key", "tracking-password", "database-password"))
    }
    assert retained == data | keys


@pytest.mark.parametrize("case", CASES)
def test_a_plain_destroy_works(case: str, graphs: dict[str, Graph]) -> None:
    assert not [item.name for item in graphs[case].resources if item.protected]


@pytest.mark.parametrize("case", CASES)
def test_secrets_are_referred_to_and_never_given(case: str, graphs: dict[str, Graph]) -> None:
    graph = graphs[case]
    for item in graph.of_kind("Secret"):
        assert set(item.inputs) == {"path", "format"}
    for item in graph.of_kind("Process"):
        assert "secretEnvironment" not in item.inputs
        assert not [name for name in item.inputs.get("environment", {}) if SECRET_NAME.search(name)]
        references = item.inputs.get("secretReferences", {})
        assert all(REFERENCE.fullmatch(reference) for reference in references.values()), references


def test_authentication_reaches_the_programs(graphs: dict[str, Graph]) -> None:
    graph = graphs["environment-authenticated"]
    assert "basic-auth" in graph.named("test-tracking-server").inputs["command"]
    endpoint = graph.named("test-endpoint-digits-server").inputs
    assert endpoint["environment"]["MLFLOW_TRACKING_USERNAME"] == "admin"
    contract, _ = graph.result
    password = contract["tracking"]["authentication"]["secret"]
    assert endpoint["secretReferences"]["MLFLOW_TRACKING_PASSWORD"] == password
    token = contract["endpoints"]["digits"]["authentication"]
    assert token == {"kind": "token", "secret": endpoint["secretReferences"]["TRACKBED_ENDPOINT_TOKEN"]}


def test_an_open_environment_has_no_authentication(graphs: dict[str, Graph]) -> None:
    contract, _ = graphs["environment-minimal"].result
    assert "authentication" not in contract["tracking"]
    assert "basic-auth" not in graphs["environment-minimal"].named("test-tracking-server").inputs["command"]


def test_an_existing_database_is_used_and_not_made(graphs: dict[str, Graph]) -> None:
    graph = graphs["environment-external-database"]
    server = graph.named("test-tracking-server").inputs
    url = "postgresql+psycopg://mlflow@db.example.com:5432/mlflow"
    assert server["command"][server["command"].index("--backend-store-uri") + 1] == url
    assert server["prepare"][0][-1] == url
    assert server["secretReferences"]["PGPASSWORD"] == "env:DATABASE_PASSWORD"
    assert not [item for item in graph.resources if item.name == "test-tracking-database"]


def test_an_existing_tracking_server_is_used_and_not_made(graphs: dict[str, Graph]) -> None:
    graph = graphs["environment-existing-tracking"]
    assert graph.of_kind("TrackingServer") == []
    endpoint = graph.named("test-endpoint-digits-server").inputs
    assert endpoint["environment"]["MLFLOW_TRACKING_URI"] == "https://mlflow.example.com"
    assert endpoint["environment"]["MLFLOW_TRACKING_USERNAME"] == "admin"
    assert endpoint["secretReferences"]["MLFLOW_TRACKING_PASSWORD"] == "file:/run/secrets/mlflow"
    contract, _ = graph.result
    assert contract["tracking"]["address"]["internal"] == "https://mlflow.example.com"


def test_several_endpoints_and_pools_stand_side_by_side(graphs: dict[str, Graph]) -> None:
    contract, _ = graphs["environment-several"].result
    assert {name: endpoint["model"] for name, endpoint in contract["endpoints"].items()} == {
        "digits": "digits",
        "faces": "Faces of people",
    }
    assert contract["endpoints"]["digits"]["traffic"] == {"champion": 90, "challenger": 10}
    assert {name: pool["slots"] for name, pool in contract["pools"].items()} == {"default": 4, "big": 1}
    assert contract["pools"]["big"] | {"locks": ""} == {
        "slots": 1,
        "cpu": 4,
        "memory": 16 * 2**30,
        "gpu": 1,
        "locks": "",
    }
    assert contract["tuning"]["parallel_trials"] == 3
    paths = [item.inputs.get("path", item.name) for item in graphs["environment-several"].resources if item.custom]
    assert len(paths) == len(set(paths))


def test_an_adopted_directory_is_the_one_named(graphs: dict[str, Graph]) -> None:
    graph = graphs["environment-several"]
    assert graph.named("test-artifacts-bucket").inputs["path"] == "/srv/artifacts and more"
    contract, _ = graph.result
    assert contract["artifacts"]["uri"] == "file:///srv/artifacts%20and%20more"


def test_a_pool_takes_its_size_from_the_machine() -> None:
    def build() -> Any:
        return ComputePool("pool", ComputePoolArgs(target=LocalTarget(HOME))).outputs.pool

    pool = run(build).result
    assert pool.slots == os.cpu_count()
    assert pool.memory == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_settings_that_cannot_change_are_those_of_the_spec(graphs: dict[str, Graph]) -> None:
    assert graphs["environment-several"].named("test-settings").inputs["immutable"] == {
        "name": "test",
        "target": "local",
        "tracking.url": "(made by Trackbed)",
        "tracking.database": "sqlite",
        "artifacts.uri": "file:///srv/artifacts%20and%20more",
    }


class OnlyBuckets(Target, Buckets):
    """A ground with one capability."""

    name = "cellar"

    def contract_fields(self) -> dict[str, Any]:
        return {}

    def bucket(self, name: str, args: BucketArgs, opts: pulumi.ResourceOptions) -> Bucket:
        return Bucket(uri=pulumi.Output.from_input("file:///cellar"))


class Bare(Target):
    """A ground with none."""

    name = "desert"

    def contract_fields(self) -> dict[str, Any]:
        return {}


TRACKING = TrackingServerOutputs(address=pulumi.Output.from_input(None), authentication=None, version="3")  # type: ignore[arg-type]
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "tracking": (
        lambda: TrackingServer("t", TrackingServerArgs(target=OnlyBuckets(), artifacts="file:///a")),
        "the target 'cellar' has no long-running services; it has: artifact buckets",
    ),
    "pool": (
        lambda: ComputePool("p", ComputePoolArgs(target=OnlyBuckets())),
        "the target 'cellar' has no compute pools; it has: artifact buckets",
    ),
    "tuning": (
        lambda: TuningService("t", TuningServiceArgs(target=OnlyBuckets())),
        "the target 'cellar' has no stores for tuning studies; it has: artifact buckets",
    ),
    "endpoint": (
        lambda: ServingEndpoint("e", ServingEndpointArgs(target=OnlyBuckets(), tracking=TRACKING, model="m")),
        "the target 'cellar' has no long-running services; it has: artifact buckets",
    ),
    "environment": (
        lambda: Environment("e", EnvironmentArgs(spec=EnvironmentSpec(target="local"), target=OnlyBuckets())),
        "the target 'cellar' has no long-running services; it has: artifact buckets",
    ),
    "bucket": (
        lambda: ArtifactStore("a", ArtifactStoreArgs(target=Bare())),
        "the target 'desert' has no artifact buckets; it has: nothing",
    ),
    "uri": (
        lambda: ArtifactStore("a", ArtifactStoreArgs(target=LocalTarget(HOME), uri="s3://bucket")),
        "artifacts.uri 's3://bucket' cannot be used by the local target; allowed are file:/// URIs",
    ),
    "target": (
        lambda: make_target("aws", home=HOME),
        "the target 'aws' is not in this version of Trackbed; it has: local",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_target_lacks_is_refused_with_what_it_has(case: str) -> None:
    build, message = REFUSED[case]
    with pytest.raises(UserError) as refused:
        run(build)
    assert str(refused.value) == message


def test_a_component_is_served_by_a_target_that_has_no_more_than_it_needs() -> None:
    def build() -> Any:
        return ArtifactStore("store", ArtifactStoreArgs(target=OnlyBuckets())).outputs.uri

    assert run(build).result == "file:///cellar"


def test_each_component_stands_alone(graphs: dict[str, Graph]) -> None:
    for name in COMPONENTS:
        assert graphs[name].result is not None


def identity(item: Registration) -> tuple[str, str, str]:
    """What must stay the same over time."""
    return item.kind, item.name, item.parent
