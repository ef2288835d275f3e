"""Runs components on Pulumi's mocks and records what they ask the engine for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pulumi
from google.protobuf import json_format
from pulumi.runtime import mocks, rpc
from trackbed.documents import parse_document, refuse
from trackbed.spec import EnvironmentSpec, build_spec, spec_problems
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
    TrackingServer,
    TrackingServerArgs,
    TuningService,
    TuningServiceArgs,
)

HOME = Path("/home/ada/platform/.trackbed/environments/test")
Mode = Literal["up", "preview", "unknown"]
"""`up`: outputs are known. `preview`: a preview of what exists. `unknown`: a preview whose outputs are all unknown."""


@dataclass(frozen=True)
class Registration:
    """One resource as the engine was asked for it."""

    kind: str
    name: str
    parent: str
    inputs: dict[str, Any]
    depends_on: tuple[str, ...]
    retained: bool
    protected: bool
    custom: bool


@dataclass
class Graph:
    """What one run of a program registered, and what its components gave."""

    resources: list[Registration] = field(default_factory=list[Registration])
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    result: Any = None

    def named(self, name: str, kind: str = "") -> Registration:
        """Return the resource of a logical name, and of a kind where a component shares its name."""
        [found] = [item for item in self.resources if item.name == name and item.kind.endswith(kind)]
        return found

    def of_kind(self, kind: str) -> list[Registration]:
        """Return all resources of one kind."""
        return [item for item in self.resources if item.kind.endswith(f":{kind}")]


class Answers(mocks.Mocks):
    """Answers as the local provider does."""

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[Any, Any], None]:
        raise AssertionError(f"components call no functions: {args.token}")

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        state = dict(args.inputs)
        match args.typ.rpartition(":")[2]:
            case "Secret":
                state["reference"] = f"file:{state['path']}"
            case "Process":
                state["url"] = f"http://127.0.0.1:{int(state['port'])}"
            case _:
                pass
        return f"{args.name}-id", state


class Recorder(mocks.MockMonitor):
    """An engine that records, and that may know no output yet or refuse one resource."""

    def __init__(self, graph: Graph, unknown: bool, refused: str | None) -> None:
        super().__init__(Answers())
        self._graph = graph
        self._unknown = unknown
        self._refused = refused

    def RegisterResource(self, request: Any) -> Any:
        if request.type != "pulumi:pulumi:Stack":
            if request.name == self._refused:
                raise RuntimeError(f"{request.name} is refused")
            self._graph.resources.append(
                Registration(
                    kind=request.type,
                    name=request.name,
                    parent=request.parent,
                    inputs=json_format.MessageToDict(request.object),
                    depends_on=tuple(request.dependencies),
                    retained=request.retainOnDelete,
                    protected=request.protect,
                    custom=request.custom,
                )
            )
        response = super().RegisterResource(request)
        if self._unknown and request.custom:
            for key in [*response.object, "url", "reference", "port"]:
                response.object[key] = rpc.UNKNOWN
        return response

    def RegisterResourceOutputs(self, request: Any) -> Any:
        if not request.urn.endswith("::stack"):
            self._graph.outputs[request.urn.rpartition("::")[2]] = json_format.MessageToDict(request.outputs)
        return super().RegisterResourceOutputs(request)


def run(
    build: Callable[[], Any], mode: Mode = "up", *, refused: str | None = None, graph: Graph | None = None
) -> Graph:
    """Run a Pulumi program on the recording engine.

    Args:
        build: the program; what it returns is awaited.
        mode: what the engine knows.
        refused: name of a resource that the engine refuses.
        graph: what to record into, for a run that fails; a new one by default.
    """
    graph = graph or Graph()
    monitor = Recorder(graph, mode == "unknown", refused)
    mocks.set_mocks(monitor.mocks, project="platform", stack="test", preview=mode != "up", monitor=monitor)

    @pulumi.runtime.test
    def program() -> Any:
        def keep(result: Any) -> None:
            graph.result = result

        built = build()
        outputs = pulumi.Output.all(*built) if isinstance(built, tuple) else pulumi.Output.from_input(built)
        return outputs.apply(keep)

    program()
    return graph


def spec_of(text: str) -> EnvironmentSpec:
    """Return the typed spec of a YAML text that must be valid."""
    document = parse_document(text, name="case.yaml")
    refuse(document, spec_problems(document))
    return build_spec(document.value)


def environment(text: str) -> Callable[[], Any]:
    """Return the program that makes the environment of a spec; its result is contract and URI."""

    def build() -> Any:
        made = Environment("test", EnvironmentArgs(spec=spec_of(text), target=LocalTarget(HOME)))
        return made.outputs.contract, made.outputs.uri

    return build


def _alone(component: str) -> Callable[[], Any]:
    def build() -> Any:
        target = LocalTarget(HOME)
        match component:
            case "artifact-store":
                return ArtifactStore("store", ArtifactStoreArgs(target=target)).outputs.uri
            case "tracking-server":
                args = TrackingServerArgs(target=target, artifacts="file:///srv/artifacts", auth="basic")
                return TrackingServer("tracking", args).outputs.address
            case "compute-pool":
                args = ComputePoolArgs(target=target, cpu=2, memory=2**30, gpu=1, maximum=3)
                return ComputePool("pool", args).outputs.pool
            case "tuning-service":
                return TuningService("tuning", TuningServiceArgs(target=target, parallel_trials=2)).outputs.tuning
            case _:
                server = TrackingServerArgs(target=target, artifacts="file:///srv/artifacts")
                tracking = TrackingServer("tracking", server).outputs
                args = ServingEndpointArgs(target=target, tracking=tracking, model="digits", auth="token")
                return ServingEndpoint("digits", args).outputs.endpoint

    return build


POOLS = "pools: {default: {memory: 2Gi, maximum: 2}}\n"
SPECS = {
    "minimal": f"target: local\n{POOLS}",
    "authenticated": f"target: local\n{POOLS}tracking: {{auth: basic}}\nendpoints: [{{name: digits, auth: token}}]\n",
    "disposable": f"""\
target: local
disposable: true
{POOLS}
tracking: {{auth: basic}}
endpoints: [{{name: digits, auth: token}}]
""",
    "external-database": f"""\
target: local
{POOLS}
tracking:
  database: {{url: "postgresql://mlflow@db.example.com:5432/mlflow", password: "env:DATABASE_PASSWORD"}}
  auth: basic
""",
    "postgresql": f"target: local\n{POOLS}tracking: {{database: postgresql}}\n",
    "existing-tracking": f"""\
target: local
{POOLS}
tracking: {{url: "https://mlflow.example.com", password: "file:/run/secrets/mlflow"}}
endpoints: [{{name: digits}}]
""",
    "several": """\
target: local
artifacts: {uri: file:///srv/artifacts%20and%20more}
pools:
  default: {memory: 1Gi, maximum: 4}
  big: {cpu: 4, memory: 16Gi, gpu: 1, maximum: 1}
tuning: {parallelTrials: 3}
tracking: {port: 5100, allowedHosts: [mlflow.example.com]}
endpoints:
  - {name: digits, traffic: {champion: 90, challenger: 10}}
  - {name: faces, model: Faces of people, port: 9000, auth: token}
""",
}
COMPONENTS = ("artifact-store", "tracking-server", "compute-pool", "tuning-service", "serving-endpoint")
CASES: dict[str, Callable[[], Any]] = {
    **{f"environment-{name}": environment(text) for name, text in SPECS.items()},
    **{name: _alone(name) for name in COMPONENTS},
}


def frozen(graph: Graph) -> str:
    """Return a graph as the text that is frozen: without what differs between machines and versions."""
    names = {
        str(HOME): "HOME",
        sys.executable: "PYTHON",
    }
    versions = {version("mlflow"): "MLFLOW-VERSION", version("trackbed"): "TRACKBED-VERSION"}

    def shown(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: shown(item, name) for name, item in value.items() if item is not None}
        if isinstance(value, list):
            return [shown(item) for item in value]
        if not isinstance(value, str):
            return value
        if key == "content" and value.startswith("{"):
            return shown(json.loads(value))
        for original, name in names.items():
            value = value.replace(original, name)
        return versions.get(value, value) if key in ("mlflow", "trackbed", "version") else value

    resources = {
        f"{item.name} ({item.kind})": {
            "parent": _name(item.parent),
            "depends_on": sorted(_name(urn) for urn in item.depends_on),
            "retain_on_delete": item.retained,
            "protect": item.protected,
            "inputs": shown(item.inputs),
        }
        for item in graph.resources
    }
    return json.dumps(resources, indent=2, sort_keys=True) + "\n"


def _name(urn: str) -> str:
    kinds, name = urn.split("::")[-2:]
    return f"{name} ({kinds.rpartition('$')[2]})"
