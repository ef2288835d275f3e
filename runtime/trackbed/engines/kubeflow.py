"""Kubeflow pipelines: run with the KFP SDK's own local execution, version 2 or, for code written for it, version 1."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from trackbed.configuration import artifact_path
from trackbed.contract import Contract
from trackbed.engines import Command, Context, Program
from trackbed.errors import UserError

if TYPE_CHECKING:
    from trackbed.kubeflow.source import Source

NAME = "Kubeflow pipeline"
LOOKED_FOR = (
    "a Python file with a function that kfp's @dsl.pipeline decorates, or the YAML or JSON that its compiler makes"
)

DRIVERS = Path(__file__).parents[1] / "kubeflow"
DOCUMENT_SUFFIXES = (".yaml", ".yml", ".json")

_MARKS = re.compile(r"schemaVersion|argoproj\.io")


def recognises(program: Program) -> bool:
    """Whether the file defines a Kubeflow pipeline or is a compiled one."""
    if program.path.suffix == ".py":
        return program.uses("kfp") and bool(_read(program).pipelines)
    document = _document(program)
    return _is_compiled(document) or _is_workflow(document)


def command(program: Program, context: Context) -> Command:
    """Return the command that runs the pipeline in the engine's own environment.

    Raises:
        UserError: only a cluster can run the program, or the environment's artifact store is no directory.
    """
    if program.path.suffix == ".py":
        return _source_command(program, context, _read(program))
    document = _document(program)
    if _is_workflow(document):
        raise UserError(
            f"{program.path} is an Argo workflow, which version 1 of the KFP SDK compiles and only a cluster runs",
            hint="run the Python file that it was compiled from",
        )
    spec = document.get("pipelineSpec", document)
    if not str(spec["schemaVersion"]).startswith("2.1"):
        raise UserError(
            f"{program.path} has schema version {spec['schemaVersion']}, "
            f"compiled by {spec.get('sdkVersion', 'kfp 1.8')}; allowed is 2.1, which kfp 2 compiles",
            hint="run the Python file that it was compiled from, or compile that with kfp 2",
        )
    return _driver(program, context, "run.py", _environment("kubeflow", program))


def _read(program: Program) -> Source:
    # Imported here: every run of any program asks this module whether it is a pipeline.
    from trackbed.kubeflow.source import read_source

    return read_source(program.tree)


def _source_command(program: Program, context: Context, source: Source) -> Command:
    if source.runs_itself:
        environment = _environment("kubeflow", program)
        argv = [str(environment / "bin" / "python"), str(program.path), *program.arguments]
        return Command(argv, _path(environment))
    tasks = _environment("kubeflow", program)
    if not source.v1:
        return _driver(program, context, "run.py", tasks)
    # The tasks of version 1 need no SDK: they run where tasks of version 2 do, with what the project asks for, and
    # only the pipeline itself is built by the old SDK, whose dependencies little else can live beside.
    from trackbed.engine_environments import environment_for

    sdk = environment_for("kubeflow-v1", None)
    return _driver(program, context, "run_v1.py", sdk, "--tasks", str(tasks))


def _driver(program: Program, context: Context, script: str, environment: Path, *options: str) -> Command:
    argv = [
        *(str(environment / "bin" / "python"), str(DRIVERS / script)),
        *("--output", _output(context.contract), *options),
        *(str(program.path), *program.arguments),
    ]
    return Command(argv, _path(environment))


def _environment(engine: str, program: Program) -> Path:
    from trackbed.engine_environments import environment_for

    return environment_for(engine, program.path.parent)


def _path(environment: Path) -> dict[str, str]:
    return {"PATH": os.pathsep.join([str(environment / "bin"), os.environ.get("PATH", os.defpath)])}


def _output(contract: Contract) -> str:
    scheme = urlsplit(contract.artifacts.uri).scheme
    if scheme not in ("", "file"):
        raise UserError(
            f"the artifact store of {contract.name!r} is {contract.artifacts.uri}; KFP's local execution keeps "
            "outputs in a directory",
            hint="run the pipeline on a local environment",
        )
    return f"{artifact_path(contract)}/kubeflow"


def _document(program: Program) -> Mapping[str, Any]:
    """Return the first document of a YAML or JSON file that may be a pipeline; an empty one for anything else."""
    if program.path.suffix not in DOCUMENT_SUFFIXES or not _MARKS.search(program.text):
        return {}
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = next(iter(yaml.load_all(program.text, loader)), None)
    except yaml.YAMLError:
        return {}
    return cast(Mapping[str, Any], document) if isinstance(document, dict) else {}


def _is_compiled(document: Mapping[str, Any]) -> bool:
    spec = document.get("pipelineSpec", document)
    return isinstance(spec, dict) and {"schemaVersion", "root", "pipelineInfo"} <= cast(dict[str, Any], spec).keys()


def _is_workflow(document: Mapping[str, Any]) -> bool:
    return document.get("kind") == "Workflow" and str(document.get("apiVersion", "")).startswith("argoproj.io/")
