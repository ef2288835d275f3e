"""Runs the tasks of a pipeline that version 1 of the KFP SDK has built.

Its own LocalClient starts tasks, but leaves values that one task hands to another as placeholders, runs both sides of
every condition and gives up after the first group. So what happens within a pipeline is decided here, by the rules of
the Argo workflow that the SDK compiles; the pipeline, its tasks and their commands are the SDK's.
"""

from __future__ import annotations

import json
import operator
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from trackbed.kubeflow.container_task import engine_command
from trackbed.kubeflow.installs import split_prelude
from trackbed.kubeflow.summary import FAILED, SKIPPED, SUCCEEDED, Task, shown
from trackbed.kubeflow.task_environments import task_environment

_PARAMETER = re.compile(r"\{\{pipelineparam:op=([^;]*);name=([^}]*)\}\}")
_LIGHTWEIGHT = "program_path=$(mktemp)"  # how the SDK's shell prelude stores a component's source
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_PUBLIC = 0o777  # of directories that a container writes to, whichever user it runs as


class NotRunError(Exception):
    """A task needs the output of one that did not run."""


class Execution:
    """One run of a pipeline.

    Args:
        directory: where the run keeps outputs; made when it is not there.
        environment: the virtual environment that Python components use.
        engine: podman or docker, for the others; None when there is neither.
    """

    def __init__(self, directory: Path, environment: Path, engine: str | None) -> None:
        self.tasks: list[Task] = []
        self._directory = directory
        self._environment = environment
        self._engine = engine
        self._values: dict[str, str] = {
            "{{workflow.name}}": directory.name,
            "{{workflow.uid}}": directory.name,
            "{{workflow.status}}": "Running",
        }
        self._outputs: dict[tuple[str, str], Path] = {}

    def run(self, group: Any, where: Path = Path()) -> bool:
        """Run a group of the pipeline, with the groups inside it, and return whether it succeeded.

        Args:
            group: an OpsGroup of the SDK; a pipeline is the outermost one.
            where: the path of its outputs below the run's directory.
        """
        if group.type == "condition" and not self._holds(group.condition):
            self.tasks += [Task(op.name, SKIPPED, detail="condition is false") for op in ops_of(group)]
            return True
        if group.type == "for_loop":
            return all(self._iteration(group, item, where / str(i)) for i, item in enumerate(self._items(group)))
        succeeded = self._body(group, where)
        if group.type == "exit_handler":
            self._values["{{workflow.status}}"] = "Succeeded" if succeeded else "Failed"
            return self._op(group.exit_op, where) and succeeded
        return succeeded

    def _body(self, group: Any, where: Path) -> bool:
        nodes = {node.name: node for node in (*group.ops, *group.groups)}
        for name in _order(nodes):
            node = nodes[name]
            if not (self.run(node, where) if hasattr(node, "groups") else self._op(node, where)):
                return False
        return True

    def _iteration(self, group: Any, item: Any, where: Path) -> bool:
        pattern = str(group.loop_args)
        self._values[pattern] = _text(item)
        if isinstance(item, dict):
            for key, value in item.items():
                self._values[pattern.replace("}}", f"-subvar-{key}}}}}")] = _text(value)
        return self._body(group, where)

    def _items(self, group: Any) -> list[Any]:
        if not group.items_is_pipeline_param:
            return list(group.loop_args.items_or_pipeline_param)
        return json.loads(self._resolved(str(group.loop_args.items_or_pipeline_param)))

    def _holds(self, condition: Any) -> bool:
        if isinstance(condition, bool):  # of the pipeline's arguments alone: decided when the pipeline was built
            return condition
        left, right = (self._resolved(_text(x)) for x in (condition.operand1, condition.operand2))
        compare = _OPERATORS[condition.operator]
        try:
            return compare(float(left), float(right))
        except ValueError:
            return compare(left, right)

    def _op(self, op: Any, where: Path) -> bool:
        task = Task(op.name)
        self.tasks.append(task)
        started = time.monotonic()
        print(f"start task: {op.name}", flush=True)
        try:
            for attempt in range(int(op.num_retries or 0) + 1):
                directory = self._directory / where / op.name / (f"retry-{attempt}" if attempt else "")
                if self._start(op, directory) == 0 and self._collect(op, task):
                    task.state = SUCCEEDED
                    break
            else:
                task.state = FAILED
        except NotRunError as error:
            task.state, task.detail = SKIPPED, str(error)
        task.seconds = time.monotonic() - started
        print(f"task {op.name} {task.state}", flush=True)
        return task.state != FAILED

    def _start(self, op: Any, directory: Path) -> int:
        inputs = {path: self._input(op, name, directory) for name, path in op.input_artifact_paths.items()}
        command = [self._resolved(_text(word)) for word in op.command or []]
        arguments = [self._resolved(_text(word)) for word in op.arguments or []]
        own = {item.name: self._resolved(item.value or "") for item in op.container.env or []}
        if is_lightweight(op):
            return self._local(op, directory, [*command, *arguments], inputs, own)
        return self._contained(op, directory, command, arguments, inputs, own)

    def _local(
        self, op: Any, directory: Path, words: Sequence[str], inputs: dict[str, Path], own: dict[str, str]
    ) -> int:
        outputs = {path: directory / name / "data" for name, path in op.file_outputs.items()}
        self._outputs.update({(op.name, name): outputs[path] for name, path in op.file_outputs.items()})
        for file in outputs.values():
            file.parent.mkdir(parents=True, exist_ok=True)
        wanted, command = split_prelude(words) or ((), words)
        binaries = task_environment(wanted, self._environment) / "bin"
        here = {path: str(file) for path, file in (*inputs.items(), *outputs.items())}
        variables = {**os.environ, **own, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run([here.get(word, word) for word in command], env=variables).returncode

    def _contained(
        self,
        op: Any,
        directory: Path,
        command: Sequence[str],
        arguments: Sequence[str],
        inputs: dict[str, Path],
        own: dict[str, str],
    ) -> int:
        assert self._engine is not None
        mounts = {str(file): path for path, file in inputs.items()}
        for name, path in op.file_outputs.items():
            # The directory is mounted, not the file: a task may replace the file by another.
            folder = directory / "outputs" / Path(path).parent.as_posix().strip("/").replace("/", "-")
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(_PUBLIC)
            mounts[str(folder)] = str(Path(path).parent)
            self._outputs[op.name, name] = folder / Path(path).name
        argv = engine_command(self._engine, op.image, command, arguments, mounts=mounts, variables=sorted(own))
        return subprocess.run(argv, env={**os.environ, **own}).returncode

    def _input(self, op: Any, name: str, directory: Path) -> Path:
        """Return the file of an input artifact: another task's output, or a constant that is written to one."""
        argument = _text(op.artifact_arguments[name])
        match = _PARAMETER.fullmatch(argument)
        if match and argument not in self._values:
            return self._output(match[1], match[2])
        file = directory / "inputs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._resolved(argument), encoding="utf-8")
        return file

    def _collect(self, op: Any, task: Task) -> bool:
        """Note the outputs of a task that has ended; False when it did not write one."""
        names = dict.fromkeys(op.file_outputs)
        missing = [name for name in names if not self._outputs[op.name, name].exists()]
        if missing:
            print(f"task {op.name} wrote no output {', '.join(missing)}", flush=True)
        else:
            task.detail = "\n".join(f"{name}: {_preview(self._outputs[op.name, name])}" for name in names)
        return not missing

    def _resolved(self, text: str) -> str:
        """Return the text with values in the place of every placeholder."""
        for pattern, value in self._values.items():
            text = text.replace(pattern, value)
        return _PARAMETER.sub(lambda match: self._output(match[1], match[2]).read_text(encoding="utf-8"), text)

    def _output(self, op: str, name: str) -> Path:
        file = self._outputs.get((op, name))
        if file is None or not file.exists():
            raise NotRunError(f"{op} gave no output {name}")
        return file


def ops_of(group: Any) -> Iterator[Any]:
    """Yield every task of a group and of the groups inside it, exit handlers too."""
    yield from group.ops
    if group.type == "exit_handler":
        yield group.exit_op
    for inner in group.groups:
        yield from ops_of(inner)


def is_lightweight(op: Any) -> bool:
    """Whether a task is a Python function, which runs without its image."""
    command = [_text(word) for word in getattr(op, "command", None) or []]
    return command[:3] == ["python3", "-u", "-c"] or any(word.startswith(_LIGHTWEIGHT) for word in command)


def _order(nodes: dict[str, Any]) -> list[str]:
    """Return the names of tasks and groups so that what another one needs comes first."""
    holder = {op.name: name for name, node in nodes.items() for op in (ops_of(node) if _is_group(node) else [node])}
    graph: dict[str, set[str]] = {name: set() for name in nodes}
    for name, node in nodes.items():
        needed = {holder.get(other, other) for other in _needs(node)}
        graph[name] = {other for other in needed if other in nodes and other != name}
    return list(TopologicalSorter(graph).static_order())


def _is_group(node: Any) -> bool:
    return hasattr(node, "groups")


def _needs(node: Any) -> Iterator[str]:
    """Yield the names of the tasks that a task or group waits for."""
    if not _is_group(node):
        yield from (str(parameter.op_name) for parameter in node.inputs)
        yield from node.dependent_names
        return
    condition = getattr(node, "condition", None)
    operands = [getattr(condition, "operand1", None), getattr(condition, "operand2", None)]
    yield from (str(getattr(operand, "op_name", None)) for operand in (*operands, node.loop_args))
    yield from (dependency.name for dependency in node.dependencies)
    for inner in (*node.ops, *node.groups):
        yield from _needs(inner)


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)


def _preview(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as opened:
        return shown(opened.read(1000))
