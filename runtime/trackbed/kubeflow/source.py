"""Reads a Python file that defines Kubeflow pipelines, from its syntax tree alone: nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PIPELINE_DECORATORS = frozenset({"kfp.dsl.pipeline", "kfp.v2.dsl.pipeline"})
LOCAL_EXECUTION = frozenset({"kfp.local.init"})

# The public names of kfp 1.8.22 that kfp 2.17 no longer has, by module.
_V1_NAMES = {
    "kfp": "LocalClient auth containers run_pipeline_func_locally run_pipeline_func_on_cluster aws azure gcp onprem",
    "kfp.dsl": "BaseOp ContainerOp EXECUTION_ID_PLACEHOLDER InputArgumentPath OpsGroup Pipeline PipelineConf"
    " PipelineExecutionMode PipelineParam PipelineVolume ROOT_PARAMETER_NAME RUN_ID_PLACEHOLDER ResourceOp Sidecar"
    " SubGraph UserContainer VOLUME_MODE_ROM VOLUME_MODE_RWM VOLUME_MODE_RWO VolumeOp VolumeSnapshotOp"
    " get_pipeline_conf graph_component python_component types",
    "kfp.components": "ComponentStore InputArtifact InputBinaryFile InputPath InputTextFile OutputArtifact"
    " OutputBinaryFile OutputPath OutputTextFile create_component_from_airflow_op create_component_from_func"
    " create_graph_component_from_pipeline_func default_base_image_or_builder func_to_component_text"
    " func_to_container_op load_component",
    "kfp.compiler": "build_docker_image build_python_component",
}
V1_ONLY = frozenset(f"{module}.{name}" for module, names in _V1_NAMES.items() for name in names.split())


@dataclass(frozen=True)
class Source:
    """The pipelines of a Python file.

    Args:
        pipelines: names of the functions that define pipelines, in the file's order.
        inner: those of them that another pipeline of the file calls.
        v1: whether only version 1 of the KFP SDK can run them.
        runs_itself: whether the file starts kfp's local execution by its own means.
    """

    pipelines: tuple[str, ...]
    inner: frozenset[str]
    v1: bool
    runs_itself: bool

    @property
    def outermost(self) -> tuple[str, ...]:
        """The pipelines that no other one calls: those a person would run."""
        return tuple(name for name in self.pipelines if name not in self.inner)


def read_source(tree: ast.Module) -> Source:
    """Find the pipelines of a file and the version of the SDK they are written for.

    Args:
        tree: the file's syntax tree.
    """
    names = dict(_imported_names(tree))
    used = frozenset(_used_names(tree, names))
    functions = {node.name: node for node in _functions(tree.body)}
    undecorated = frozenset(_given_to_the_compiler(tree)) if any(n.startswith("kfp") for n in used) else frozenset()
    pipelines = {
        name: node
        for name, node in functions.items()
        if _decorated(node, names) or (name in undecorated and not node.decorator_list)
    }
    called = {name: _called_names(node) for name, node in pipelines.items()}
    inner = frozenset(name for name in pipelines for other, calls in called.items() if other != name and name in calls)
    return Source(
        pipelines=tuple(pipelines),
        inner=inner,
        v1=bool(used & V1_ONLY) or any(_only_v1(node, names) for node in pipelines.values()),
        runs_itself=bool(used & LOCAL_EXECUTION),
    )


def _imported_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield each local name that an import binds, with the dotted name it stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield (alias.asname, alias.name) if alias.asname else (top, top)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _used_names(tree: ast.Module, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the dotted name of everything imported, and of every attribute taken from it."""
    yield from names.values()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node, names)):
            yield dotted


def _dotted(node: ast.expr, names: Mapping[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        parent = _dotted(node.value, names)
        return f"{parent}.{node.attr}" if parent else None
    return None


def _functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef]:
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.If | ast.Try):
            yield from _functions(node.body)


def _decorated(node: ast.FunctionDef, names: Mapping[str, str]) -> bool:
    targets = (item.func if isinstance(item, ast.Call) else item for item in node.decorator_list)
    return any(_dotted(target, names) in PIPELINE_DECORATORS for target in targets)


def _only_v1(node: ast.FunctionDef, names: Mapping[str, str]) -> bool:
    """Whether a pipeline lacks its decorator or the type of a parameter, which version 2 refuses."""
    return not _decorated(node, names) or any(
        argument.annotation is None for argument in (*node.args.args, *node.args.kwonlyargs)
    )


def _given_to_the_compiler(tree: ast.Module) -> Iterator[str]:
    """Yield the names of functions that are handed to a compiler or client: version 1 needed no decorator."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in ("compile", "create_run_from_pipeline_func"):
            continue
        keywords = [item.value for item in node.keywords if item.arg == "pipeline_func"]
        yield from (item.id for item in [*node.args[:1], *keywords] if isinstance(item, ast.Name))


def _called_names(node: ast.FunctionDef) -> frozenset[str]:
    calls = (item.func for item in ast.walk(node) if isinstance(item, ast.Call))
    return frozenset(call.id for call in calls if isinstance(call, ast.Name))
