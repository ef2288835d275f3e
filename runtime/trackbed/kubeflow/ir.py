"""Compiled pipelines (KFP's intermediate representation, version 2): what they take, what they need, and how their
tasks are adapted to local execution.

The form is pipeline_spec.proto of kubeflow/pipelines, as the compiler writes it in YAML.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackbed.kubeflow.arguments import Kind, Parameter
from trackbed.kubeflow.installs import Install, split_prelude
from trackbed.kubeflow.summary import whole_numbers

Document = Mapping[str, Any]

EXECUTOR_MODULE = "kfp.dsl.executor_main"  # by this word in a command KFP knows its Python components
CONTAINERIZED = ["python3", "-m", EXECUTOR_MODULE]  # a Python component whose code lies in its image
CONTAINER_TASK = Path(__file__).with_name("container_task.py")
ARGUMENTS_FOLLOW = "--trackbed-arguments"

_KINDS: dict[str, Kind] = {
    "NUMBER_INTEGER": "int",
    "NUMBER_DOUBLE": "float",
    "STRING": "str",
    "BOOLEAN": "bool",
    "LIST": "list",
    "STRUCT": "dict",
}


@dataclass(frozen=True)
class Container:
    """An executor that needs a container.

    Args:
        component: the component's name.
        image: the image it runs in.
    """

    component: str
    image: str


def parameters(spec: Document) -> tuple[Parameter, ...]:
    """Return the arguments that a pipeline takes."""
    inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    return tuple(
        Parameter(
            name=name,
            kind=_KINDS.get(given.get("parameterType", ""), "str"),
            required=not given.get("isOptional", False) and "defaultValue" not in given,
            default=_default(given),
            description=" ".join(given.get("description", "").split()),
        )
        for name, given in inputs.items()
    )


def required_artifacts(spec: Document) -> tuple[str, ...]:
    """Return the names of the input artifacts without which the pipeline cannot run."""
    inputs = spec["root"].get("inputDefinitions", {}).get("artifacts", {})
    return tuple(name for name, given in inputs.items() if not given.get("isOptional", False))


def containers(spec: Document) -> tuple[Container, ...]:
    """Return the components that run in a container of their own."""
    return tuple(
        Container(label.removeprefix("exec-"), executor["container"]["image"])
        for label, executor in _executors(spec)
        if "container" in executor and not _lightweight(executor["container"])
    )


def unsupported(spec: Document) -> tuple[str, ...]:
    """Return the components of a kind that only a cluster can run."""
    return tuple(
        label.removeprefix("exec-")
        for label, executor in _executors(spec)
        if not executor.keys() & {"container", "importer"}
    )


def adapted(
    spec: Document, interpreter_with: Callable[[Sequence[Install]], str], container_arguments: Sequence[str]
) -> dict[str, Any]:
    """Return the pipeline with its tasks' commands made for this machine.

    Lightweight components run with an interpreter that has their packages, instead of installing them each time.
    Components in containers become calls of container_task.py, which hands them to podman or docker.

    Args:
        spec: the compiled pipeline.
        interpreter_with: gives the interpreter for a component that installs something.
        container_arguments: options of container_task.py that are the same for all components.
    """
    result = copy.deepcopy(dict(spec))
    for _, executor in _executors(result):
        container = executor.get("container")
        if container is None:
            continue
        if _lightweight(container):
            container["command"] = _lightweight_command(container["command"], interpreter_with)
        else:
            container["command"] = _container_command(container, container_arguments)
            container.pop("args", None)
    return result


def needs_own_environments(spec: Document) -> bool:
    """Whether a component installs packages in a way that only KFP's own environment per task can follow."""
    return any(
        split_prelude(executor["container"].get("command", [])) is None
        for _, executor in _executors(spec)
        if "container" in executor and _lightweight(executor["container"])
    )


def _executors(spec: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from spec.get("deploymentSpec", {}).get("executors", {}).items()


def _lightweight(container: Document) -> bool:
    command = list(container.get("command", []))
    return command[: len(CONTAINERIZED)] != CONTAINERIZED and any(EXECUTOR_MODULE in part for part in command)


def _lightweight_command(command: Sequence[str], interpreter_with: Callable[[Sequence[Install]], str]) -> list[str]:
    split = split_prelude(command)
    if split is None:
        return list(command)
    wanted, rest = split
    if not wanted:
        return rest
    python = interpreter_with(wanted)
    # The last part is the component's own source.
    return [*(part.replace("python3 -m", f"{python} -m") for part in rest[:-1]), rest[-1]]


def _container_command(container: Document, arguments: Sequence[str]) -> list[str]:
    variables = [word for item in container.get("env", []) for word in ("--variable", item["name"])]
    return [
        "python3",
        str(CONTAINER_TASK),
        # Never read: KFP's local execution refuses commands without this word.
        *("--executor", EXECUTOR_MODULE),
        *("--image", container["image"]),
        *("--executor-input", "{{$}}"),
        *arguments,
        *variables,
        "--",
        *container.get("command", []),
        ARGUMENTS_FOLLOW,
        *container.get("args", []),
    ]


def _default(given: Document) -> Any:
    value = given.get("defaultValue")
    return value if given.get("parameterType") == "NUMBER_DOUBLE" else whole_numbers(value)
