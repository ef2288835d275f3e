"""Runs a pipeline with KFP SDK 2's own local execution: `python run.py --output DIRECTORY PROGRAM [ARGUMENTS]`.

Runs inside the `kubeflow` engine environment. PROGRAM is a Python file or a compiled pipeline in YAML or JSON.
"""

from __future__ import annotations

import ast
import importlib.util
import logging
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if importlib.util.find_spec("trackbed") is None:  # the environment is KFP's; trackbed is the directory above
    root = Path(__file__).resolve().parents[1]
    found = importlib.util.spec_from_file_location(
        "trackbed", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert found is not None
    sys.modules["trackbed"] = importlib.util.module_from_spec(found)

import yaml
from kfp import components, local  # pyright: ignore[reportMissingImports]: only in the engine's environment
from kfp.local import executor_input_utils  # pyright: ignore[reportMissingImports]

from trackbed.kubeflow import ir
from trackbed.kubeflow.arguments import UsageError, parse_arguments, take_option, usage
from trackbed.kubeflow.choosing import choose
from trackbed.kubeflow.container_engines import container_engine
from trackbed.kubeflow.installs import Install
from trackbed.kubeflow.loading import load
from trackbed.kubeflow.source import read_source
from trackbed.kubeflow.summary import TaskLog, shown, summary, whole_numbers
from trackbed.kubeflow.task_environments import InstallError, task_environment

LOG_FORMAT = "%(asctime)s.%(msecs)03d - %(levelname)s - %(message)s"  # as kfp.local writes its own


def main(words: Sequence[str]) -> int:
    """Run the pipeline and return the exit code: 0, 1 when it failed, 2 when the arguments do not fit."""
    try:
        output, words = take_option("--output", words)
        wanted, words = take_option("--pipeline", words)
        assert output is not None
        program, *given = words
        spec = _compiled(Path(program).absolute(), wanted)
        name = spec["pipelineInfo"]["name"]
        parameters = ir.parameters(spec)
        if "--help" in given or "-h" in given:
            print(usage(name, parameters))
            return 0
        try:
            values = parse_arguments(parameters, given)
        except UsageError as error:
            raise UsageError(f"{error}\n{usage(name, parameters)}") from None
        return _run(spec, values, Path(output))
    except (UsageError, InstallError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1


def _compiled(program: Path, wanted: str | None) -> dict[str, Any]:
    """Return the pipeline in compiled form, read from the file or compiled by the SDK."""
    if program.suffix == ".py":
        source = read_source(ast.parse(program.read_bytes(), str(program)))
        name = choose(source, wanted)
        pipeline = vars(load(program))[name]
        with tempfile.TemporaryDirectory() as directory:
            from kfp import compiler  # pyright: ignore[reportMissingImports]

            target = Path(directory, "pipeline.yaml")
            compiler.Compiler().compile(pipeline, str(target))
            return _documents(target)
    return _documents(program)


def _documents(file: Path) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = [document for document in yaml.load_all(file.read_text(encoding="utf-8"), loader) if document]
    spec = documents[0].get("pipelineSpec", documents[0])
    _mention_platform_settings(documents[1:])
    return spec


def _mention_platform_settings(documents: Sequence[Mapping[str, Any]]) -> None:
    """Say which components have settings that only a cluster follows."""
    named = sorted(
        {
            label.removeprefix("exec-")
            for document in documents
            for platform in document.get("platforms", {}).values()
            for label in platform.get("deploymentSpec", {}).get("executors", {})
        }
    )
    if named:
        print(f"trackbed: Kubernetes settings of {', '.join(named)} have no effect on this machine", file=sys.stderr)


def _run(spec: dict[str, Any], values: Mapping[str, Any], output: Path) -> int:
    engine = _container_engine(spec)
    if artifacts := ir.required_artifacts(spec):
        raise UsageError(
            f"the pipeline takes artifacts ({', '.join(artifacts)}), which cannot be given on a command line; "
            "import them in the pipeline with dsl.importer"
        )
    output.mkdir(parents=True, exist_ok=True)
    name = spec["pipelineInfo"]["name"]
    # KFP's own prefix, kfp-workspace, would be taken for the workspace's path in a task and be written over.
    with tempfile.TemporaryDirectory(prefix="trackbed-", ignore_cleanup_errors=True) as workspace:
        mounts = [word for path in (output, workspace) for word in ("--mount", str(path))]
        adapted = ir.adapted(spec, _interpreter_with, ["--engine", engine or "", *mounts])
        component = components.load_component_from_text(yaml.safe_dump(adapted))
        tasks = TaskLog()
        _follow(tasks)
        before = {path.name for path in output.iterdir()}
        with warnings.catch_warnings():
            # Adapted components keep the name of an image that this runner never starts.
            warnings.filterwarnings("ignore", message="You may be attemping to run a task that uses custom")
            local.init(
                local.SubprocessRunner(use_venv=ir.needs_own_environments(spec)),
                pipeline_root=str(output),
                workspace_root=workspace,
            )
            outputs, problem = _execute(component, values, tasks)
    started = [path for path in output.glob(f"{name}-*") if path.name not in before]
    text = summary(name, tasks.tasks, outputs, problem, str(max(started, default=output)))
    sys.stdout.write(f"\n{text}\n")
    return 1 if problem else 0


def _execute(component: Any, values: Mapping[str, Any], tasks: TaskLog) -> tuple[dict[str, str], str | None]:
    """Return the pipeline's outputs, and why it failed when it did."""
    try:
        task = component(**values)
        outputs = {name: _output(value) for name, value in task.outputs.items()}
        return outputs, _undecided(tasks)
    except (RuntimeError, ValueError) as error:
        if tasks.undecided:
            return {}, _undecided(tasks)
        # KFP tells a failed task by this exception; every other error is shown in full.
        if "finished with status" not in str(error):
            raise
        return {}, str(error)


def _undecided(tasks: TaskLog) -> str | None:
    return f"KFP's local execution cannot tell how to go on: {tasks.undecided[0]}" if tasks.undecided else None


def _output(value: Any) -> str:
    uri = getattr(value, "uri", None)
    return f"{type(value).__name__} {uri}" if uri else shown(value)


def _container_engine(spec: dict[str, Any]) -> str | None:
    """Return the container engine if the pipeline needs one.

    Raises:
        UsageError: it needs one and there is none, or it has components that no machine but a cluster runs.
    """
    if impossible := ir.unsupported(spec):
        raise UsageError(f"only a cluster can run these components: {', '.join(impossible)}")
    wanted = ir.containers(spec)
    if not wanted:
        return None
    engine = container_engine()
    if engine is None:
        listed = "\n".join(f"  - {item.component} (image {item.image})" for item in wanted)
        raise UsageError(
            f"these components run in containers, and neither podman nor docker works on this machine:\n{listed}\n"
            "install podman, or start docker, and run it again"
        )
    return engine


def _interpreter_with(wanted: Sequence[Install]) -> str:
    return str(task_environment(wanted, Path(sys.prefix)) / "bin" / "python")


def _follow(tasks: TaskLog) -> None:
    """Let `tasks` see KFP's log records, also those between tasks, which are not shown by default."""
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format=LOG_FORMAT, datefmt="%H:%M:%S")
    logging.getLogger().addFilter(tasks)


def _keep_whole_numbers() -> None:
    """Give tasks whole numbers as such, as a cluster does.

    Protobuf has one type for all numbers, and KFP's local execution leaves the 3 of a list, a dict or a formatted
    string as 3.0 (kubeflow/pipelines#11004), so that a component typed `List[int] -> int` fails.
    """
    original = executor_input_utils.executor_input_to_dict

    def with_whole_numbers(executor_input: Any, component_spec: Any) -> dict[str, Any]:
        result: dict[str, Any] = original(executor_input, component_spec)
        values = result.get("inputs", {}).get("parameterValues", {})
        declared = component_spec.input_definitions.parameters
        for name, value in values.items():
            if not (name in declared and isinstance(value, float)):  # a declared number has its type already
                values[name] = whole_numbers(value)
        return result

    executor_input_utils.executor_input_to_dict = with_whole_numbers


if __name__ == "__main__":
    _keep_whole_numbers()
    sys.exit(main(sys.argv[1:]))
