"""Runs a pipeline written for version 1 of the KFP SDK: `python run_v1.py --output DIRECTORY --tasks ENVIRONMENT FILE
[ARGUMENTS]`.

Runs inside the `kubeflow-v1` engine environment, which holds the SDK; the tasks, which need no SDK, run in another one.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if importlib.util.find_spec("trackbed") is None:  # the environment is KFP's; trackbed is the directory above
    root = Path(__file__).resolve().parents[1]
    found = importlib.util.spec_from_file_location(
        "trackbed", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert found is not None
    sys.modules["trackbed"] = importlib.util.module_from_spec(found)

import kfp  # pyright: ignore[reportMissingImports]: only in the engine's environment

from trackbed.kubeflow.arguments import Kind, Parameter, UsageError, parse_arguments, take_option, usage
from trackbed.kubeflow.choosing import choose
from trackbed.kubeflow.container_engines import container_engine
from trackbed.kubeflow.loading import load
from trackbed.kubeflow.source import read_source
from trackbed.kubeflow.summary import FAILED, summary
from trackbed.kubeflow.task_environments import InstallError
from trackbed.kubeflow.v1 import Execution, is_lightweight, ops_of

_KINDS: dict[str, Kind] = {
    "int": "int",
    "integer": "int",
    "float": "float",
    "bool": "bool",
    "boolean": "bool",
    "list": "list",
    "jsonarray": "list",
    "dict": "dict",
    "jsonobject": "dict",
}


class Client(kfp.LocalClient):  # pyright: ignore[reportUntypedBaseClass]
    """The SDK's local client, which builds the pipeline; its tasks are run by `Execution`.

    Args:
        output: where runs keep their files.
        environment: the virtual environment of tasks that are Python functions.
    """

    def __init__(self, output: Path, environment: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LocalClient is an Alpha")  # not the person's choice
            super().__init__(str(output))
        self.output = output
        self.environment = environment
        self.execution: Execution | None = None
        self.directory = output

    def _run_group(self, run_name: str, pipeline: Any, _dag: Any, current_group: Any, *_: Any) -> bool:
        self.directory = self.output / run_name.replace("_", "-")
        self.execution = Execution(self.directory, self.environment, _container_engine(pipeline, current_group))
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.execution.run(current_group)


def main(words: Sequence[str]) -> int:
    """Run the pipeline and return the exit code: 0, 1 when it failed, 2 when the arguments do not fit."""
    try:
        output, words = take_option("--output", words)
        tasks, words = take_option("--tasks", words)
        wanted, words = take_option("--pipeline", words)
        assert output is not None
        assert tasks is not None
        program, *given = words
        file = Path(program).absolute()
        name = choose(read_source(ast.parse(file.read_bytes(), str(file))), wanted)
        pipeline = vars(load(file))[name]
        parameters = _parameters(pipeline)
        if "--help" in given or "-h" in given:
            print(usage(name, parameters))
            return 0
        try:
            values = parse_arguments(parameters, given)
        except UsageError as error:
            raise UsageError(f"{error}\n{usage(name, parameters)}") from None
        return _run(name, pipeline, values, Client(Path(output), Path(tasks)))
    except (UsageError, InstallError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _run(name: str, pipeline: Callable[..., Any], values: dict[str, Any], client: Client) -> int:
    mode = kfp.LocalClient.ExecutionMode("local")
    result = client.create_run_from_pipeline_func(pipeline, values, execution_mode=mode)
    assert client.execution is not None
    tasks = client.execution.tasks
    failed = [task.name for task in tasks if task.state == FAILED]
    problem = None if result.success() else f"these tasks failed: {', '.join(failed)}"
    sys.stdout.write(f"\n{summary(name, tasks, {}, problem, str(client.directory))}\n")
    return 1 if problem else 0


def _container_engine(pipeline: Any, group: Any) -> str | None:
    """Return the container engine if the pipeline needs one.

    Raises:
        UsageError: it needs one and there is none, or a task cannot run on one machine.
    """
    tasks = list(ops_of(group))
    if resources := [op.name for op in tasks if not isinstance(op, kfp.dsl.ContainerOp)]:
        raise UsageError(f"these tasks create Kubernetes resources, which only a cluster has: {', '.join(resources)}")
    wanted = [op for op in tasks if not is_lightweight(op)]
    at_root = [op.name for op in wanted for path in op.file_outputs.values() if Path(path).parent == Path("/")]
    if at_root:
        raise UsageError(f"these tasks write outputs to /, which cannot be collected: {', '.join(at_root)}")
    if not wanted:
        return None
    engine = container_engine()
    if engine is None:
        listed = "\n".join(f"  - {op.name} (image {op.image})" for op in wanted)
        raise UsageError(
            f"these tasks run in containers, and neither podman nor docker works on this machine:\n{listed}\n"
            "install podman, or start docker, and run it again"
        )
    return engine


def _parameters(pipeline: Callable[..., Any]) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(
            name=parameter.name,
            kind=_kind(parameter),
            required=parameter.default is inspect.Parameter.empty,
            default=None if parameter.default is inspect.Parameter.empty else _plain(parameter.default),
        )
        for parameter in inspect.signature(pipeline).parameters.values()
    )


def _kind(parameter: inspect.Parameter) -> Kind:
    """Return a parameter's type: what it is annotated with, else the type of its default, else text."""
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        default = _plain(parameter.default)
        return _KINDS.get(type(default).__name__, "str")
    origin = getattr(annotation, "__origin__", annotation)
    name = origin if isinstance(origin, str) else getattr(origin, "__name__", type(origin).__name__)
    return _KINDS.get(name.lower(), "str")


def _plain(default: Any) -> Any:
    """Return a default's value, out of the PipelineParam that some pipelines wrap it in."""
    return default.value if isinstance(default, kfp.dsl.PipelineParam) else default


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
