"""MLflow projects: a directory with an MLproject file, run by `mlflow run`.

Left to itself MLflow builds a project's environment with pyenv or conda, which most machines have not. Where the
arguments name no environment manager, `environment_manager` chooses one from what the project asks for.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trackbed.engines import Command, Context, Program
from trackbed.errors import UserError

NAME = "MLflow project"
LOOKED_FOR = "a directory with a file MLproject, or that file"

PROJECT_FILE = "mlproject"  # compared in lower case: MLflow takes any spelling
INSTALLERS = frozenset({"pip", "setuptools", "wheel"})  # in nearly every conda file, needed by no program

_NESTED = re.compile(r"(?:-r|--requirement)[ =]?\s*(\S+)")
_CONDA_VERSION = re.compile(r"([\w.-]+)\s*([=<>!~]+)\s*(.+)")


def recognises(program: Program) -> bool:
    """Whether the path is a project's directory or its MLproject file."""
    return _project_file(program.path) is not None


def command(program: Program, context: Context) -> Command:
    """Return `mlflow run DIRECTORY ARGUMENTS`, with an environment manager where the arguments name none.

    Inside a run that somebody else opened (MLFLOW_RUN_ID, as a tuning trial has it) the project logs to that run.

    Raises:
        UserError: MLflow is not installed beside trackbed, or the project's files cannot be read.
    """
    file = _project_file(program.path)
    assert file is not None, "command() is asked only for what recognises() took"
    if find_spec("mlflow") is None:
        raise UserError(
            f"{file} is an MLflow project, and {sys.executable} has no mlflow",
            hint=f"{sys.executable} -m pip install mlflow",
        )
    arguments = list(program.arguments)
    if not _given(arguments, "--env-manager", "--backend", "-b") and (manager := environment_manager(file)):
        arguments += ["--env-manager", manager]
    if (run := os.environ.get("MLFLOW_RUN_ID")) and not _given(arguments, "--run-id"):
        arguments += ["--run-id", run]
    # -P: `python -m` would let files of the current directory shadow MLflow's own imports, `mlflow run` does not.
    return Command([sys.executable, "-P", "-m", "mlflow", "run", str(file.parent), *arguments], {"PATH": _path()})


def environment_manager(file: Path) -> str | None:
    """Choose how the project gets its environment.

    Args:
        file: the MLproject file.

    Returns:
        `local` when this interpreter has all that the project asks for, which takes no time; otherwise `uv`. None for
        MLflow's own choice: the project wants a container, or packages that only conda can install.

    Raises:
        UserError: one of the project's files cannot be read.
    """
    project = _read(file)
    if "docker_env" in project:
        return None
    from_pip, from_conda = _wanted(file.parent, project)
    if all(_has(requirement) for requirement in [*from_conda, *from_pip]):
        return "local"
    return "uv" if all(_name(requirement) == "python" for requirement in from_conda) else None


def _project_file(path: Path) -> Path | None:
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    return next((file for file in candidates if file.name.lower() == PROJECT_FILE and file.is_file()), None)


def _given(arguments: Iterable[str], *options: str) -> bool:
    """Whether one of the options is among the arguments, also as `--option=value`, or `-ovalue` for a short one."""
    return any(
        argument == option or argument.startswith(f"{option}=" if option.startswith("--") else option)
        for argument in arguments
        for option in options
    )


def _path() -> str:
    """Return a PATH on which `python` is this interpreter and `uv` the one that trackbed depends on."""
    from uv import find_uv_bin

    directories = [str(Path(sys.executable).parent), str(Path(find_uv_bin()).parent)]
    return os.pathsep.join([*dict.fromkeys(directories), os.environ.get("PATH", os.defpath)])


def _wanted(directory: Path, project: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what the project asks of pip and of conda, both in pip's notation."""
    # As in MLflow: what MLproject names counts before files of the usual names, and a python_env before a conda file.
    if "python_env" in project:
        return _from_python_env(directory / str(project["python_env"])), []
    if "conda_env" in project:
        return _from_conda(directory / str(project["conda_env"]))
    if (directory / "python_env.yaml").is_file():
        return _from_python_env(directory / "python_env.yaml"), []
    if (directory / "conda.yaml").is_file():
        return _from_conda(directory / "conda.yaml")
    return [], []


def _from_python_env(file: Path) -> list[str]:
    document = _read(file)
    python = [_python(str(document["python"]))] if document.get("python") else []
    return [*python, *_requirements(document.get("dependencies") or [], file.parent)]


def _from_conda(file: Path) -> tuple[list[str], list[str]]:
    dependencies = _read(file).get("dependencies") or []
    pip = [line for item in dependencies if isinstance(item, Mapping) for line in item.get("pip") or []]
    packages = [item for item in dependencies if isinstance(item, str) and _name(item) not in INSTALLERS]
    return list(_requirements(pip, file.parent)), [_in_pip_notation(package) for package in packages]


def _requirements(lines: Iterable[str], directory: Path) -> Iterator[str]:
    """Yield requirements without comments, those of the files they name (`-r FILE`) included."""
    for line in lines:
        requirement = re.sub(r"(^|\s)#.*", "", line).strip()
        if nested := _NESTED.fullmatch(requirement):
            yield from _requirements(_text(directory / nested[1]).splitlines(), directory)
        elif requirement:
            yield requirement


def _in_pip_notation(package: str) -> str:
    if (parts := _CONDA_VERSION.fullmatch(package)) is None:
        return package
    name, sign, version = parts.groups()
    if name == "python" and sign in ("=", "=="):
        return _python(version)
    return f"{name}=={version}.*" if sign == "=" else package


def _python(version: str) -> str:
    # A patch release is close enough: projects record the one that happened to write the file.
    return f"python=={'.'.join(version.split('.')[:2])}.*"


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def _has(requirement: str) -> bool:
    """Whether this interpreter meets a requirement; in doubt not (extras, URLs, options of pip)."""
    from importlib.metadata import PackageNotFoundError, version

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(requirement)
        if wanted.marker and not wanted.marker.evaluate():
            return True
        if wanted.extras or wanted.url:
            return False
        installed = ".".join(map(str, sys.version_info[:3])) if wanted.name == "python" else version(wanted.name)
    except (InvalidRequirement, PackageNotFoundError):
        return False
    return wanted.specifier.contains(installed, prereleases=True)


def _read(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(_text(file))
    except yaml.YAMLError as error:
        raise UserError(f"{file} is not valid YAML: {error}") from error
    if not isinstance(document, Mapping):
        raise UserError(f"{file} holds no YAML mapping")
    return document


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"the MLflow project needs {file}, which cannot be read: {error.strerror}") from error
