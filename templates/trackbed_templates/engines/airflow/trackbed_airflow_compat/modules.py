# pyright: reportMissingImports=false
"""Modules and functions that are gone, found where they are now."""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from airflow.utils import dates, decorators, helpers

from trackbed_airflow_compat.names import (
    IMPOSSIBLE_MODULES,
    MOVED_MODULES,
    MOVED_TO_PROVIDERS,
    PACKAGE_CLASSES,
    REMOVED_PACKAGES,
    RENAMED_CLASSES,
)
from trackbed_airflow_compat.telling import warn


def restore_modules() -> None:
    """Make every module importable again that is gone, and put back functions of those that are not."""
    sys.meta_path.append(RemovedModules())
    for package, classes in PACKAGE_CLASSES.items():
        importlib.import_module(package).__dict__["__getattr__"] = functools.partial(_package_class, package, classes)
    dates.days_ago = days_ago
    decorators.apply_defaults = apply_defaults
    helpers.chain = _chain
    helpers.cross_downstream = _cross_downstream


class RemovedModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that are gone; asked after every other finder."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module that is gone, None for any other."""
        if fullname in IMPOSSIBLE_MODULES:
            raise ImportError(f"`{fullname}`: {IMPOSSIBLE_MODULES[fullname]}", name=fullname)
        if fullname in REMOVED_PACKAGES:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname in MOVED_MODULES or fullname in MOVED_TO_PROVIDERS:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Let Python make the empty module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module in with a lookup of its names where they are now."""
        if module.__name__ not in REMOVED_PACKAGES:
            new_module, package = MOVED_TO_PROVIDERS.get(module.__name__) or (MOVED_MODULES[module.__name__], "")
            module.__dict__["__getattr__"] = functools.partial(_moved_name, module.__name__, new_module, package)


def _moved_name(old_module: str, new_module: str, package: str, name: str) -> Any:
    """Return what `old_module.name` is now, with a warning."""
    if name.startswith("__"):
        raise AttributeError(f"module {old_module!r} has no attribute {name!r}")
    try:
        target = importlib.import_module(new_module)
    except ModuleNotFoundError as error:
        if not package:
            raise
        raise ImportError(
            f"`{old_module}.{name}` moved to {new_module}, in a package of its own: write "
            f"`apache-airflow-providers-{package}` in requirements.txt beside the DAG"
        ) from error
    present = name if hasattr(target, name) else RENAMED_CLASSES.get(name, name)
    value = getattr(target, present)
    warn(f"{old_module}.{name}", f"write `from {new_module} import {present}`")
    return value


def _package_class(package: str, classes: Mapping[str, str], name: str) -> Any:
    if name not in classes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return _moved_name(package, classes[name], "", name)


def days_ago(n: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0) -> datetime:
    """Return the time `n` days before today, at midnight UTC unless told otherwise; was in airflow.utils.dates."""
    warn("airflow.utils.dates.days_ago", "write a fixed `datetime(2026, 1, 1)`: a start date that moves is an error")
    today = datetime.now(UTC).replace(hour=hour, minute=minute, second=second, microsecond=microsecond)
    return today - timedelta(days=n)


def apply_defaults(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as it is: operators apply their defaults by themselves; was in airflow.utils.decorators."""
    warn("airflow.utils.decorators.apply_defaults", "leave the decorator out: every operator applies its defaults")
    return function


def _chain(*tasks: Any) -> None:
    from airflow.sdk import chain

    warn("airflow.utils.helpers.chain", "write `from airflow.sdk import chain`")
    chain(*tasks)


def _cross_downstream(from_tasks: Any, to_tasks: Any) -> None:
    from airflow.sdk import cross_downstream

    warn("airflow.utils.helpers.cross_downstream", "write `from airflow.sdk import cross_downstream`")
    cross_downstream(from_tasks, to_tasks)
