"""What a study file must fulfil beyond its JSON Schema: fields that depend on each other.

The checks also run on documents that break the schema, so that all problems come at once: each looks only at what has
the right form and leaves the rest to the schema.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from trackbed.documents import Document, Problem, Step, nearest, shown_value
from trackbed.tuning.algorithms import ALGORITHMS, EARLY_STOPPING, AlgorithmKind, parse_number, parse_whole

PLACEHOLDER = re.compile(r"\$\{trialParameters\.([^}]*)\}")
LOOKS_LIKE_PLACEHOLDER = re.compile(r"\$\{([Tt]rial[^}]*)\}")
LARGEST_GRID = 100_000  # combinations; a study of more would take years of trials
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Place = tuple[Step, ...]


def study_problems(document: Document, base: Place, directory: Path) -> Iterator[Problem]:
    """Yield the problems of a study that its schema cannot see.

    Args:
        document: the file.
        base: where the study lies in it.
        directory: what the program's path is relative to.
    """
    study = document.value
    for step in base:
        study = study.get(step) if isinstance(study, dict) else None
    if not isinstance(study, dict):
        return
    study = cast(dict[str, Any], study)
    yield from _program_problems(document, base, study, directory)
    yield from _objective_problems(document, base, study)
    yield from _parameters_problems(document, base, study)
    yield from _arguments_problems(document, base, study)
    yield from _algorithm_problems(document, (*base, "algorithm"), study.get("algorithm"), ALGORITHMS)
    yield from _algorithm_problems(document, (*base, "earlyStopping"), study.get("earlyStopping"), EARLY_STOPPING)
    yield from _combination_problems(document, base, study)


def _program_problems(document: Document, base: Place, study: Mapping[str, Any], directory: Path) -> Iterator[Problem]:
    program = study.get("program")
    if isinstance(program, str) and program and not _exists(directory / program):
        yield document.problem(
            (*base, "program"),
            f"there is no file or directory {shown_value(program)}",
            "the path is relative to the study file",
        )
    named = "name" in study or base
    if not named and not NAME.fullmatch(Path(document.name).stem):
        yield document.problem(
            base, f"the file's name {Path(document.name).stem!r} cannot be the study's name", "add `name:`"
        )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        # A path that no file system takes: too long, or with a zero byte.
        return False


def _objective_problems(document: Document, base: Place, study: Mapping[str, Any]) -> Iterator[Problem]:
    objective = study.get("objective")
    if isinstance(objective, dict) and "goal" in objective:
        yield from _number_problems(document, (*base, "objective", "goal"), objective["goal"], parse_number)  # pyright: ignore[reportUnknownArgumentType]


def _parameters_problems(document: Document, base: Place, study: Mapping[str, Any]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for position, parameter in _parameters(study):
        place = (*base, "parameters", position)
        name, kind, space = (parameter.get(key) for key in ("name", "parameterType", "feasibleSpace"))
        if isinstance(name, str):
            if name in seen:
                yield document.problem(
                    (*place, "name"),
                    f"{shown_value(name)} is the name of parameters[{seen[name]}] already",
                    "names must differ",
                )
            seen.setdefault(name, position)
        if not isinstance(space, dict):
            continue
        space = cast(dict[str, Any], space)
        place = (*place, "feasibleSpace")
        if kind in ("double", "int"):
            yield from _misplaced(document, place, space, ("list",), str(kind))
            yield from _range_problems(document, place, space, kind=str(kind))
        elif kind in ("discrete", "categorical"):
            yield from _misplaced(document, place, space, ("min", "max", "step", "distribution"), str(kind))
            yield from _list_problems(document, place, space, kind=str(kind))


def _misplaced(
    document: Document, place: Place, space: Mapping[str, Any], keys: Sequence[str], kind: str
) -> Iterator[Problem]:
    other = "min and max" if "list" in keys else "a list"
    for key in keys:
        if key in space:
            yield document.problem(
                (*place, key), f"{key!r} does not go with parameterType {kind}; it takes {other}", f"remove {key}"
            )


def _range_problems(document: Document, place: Place, space: Mapping[str, Any], *, kind: str) -> Iterator[Problem]:
    parse = parse_whole if kind == "int" else parse_number
    for key in ("min", "max"):
        if key not in space:
            yield document.problem(place, f"the key {key!r} is missing; parameterType {kind} needs min and max")
    numbers: dict[str, float] = {}
    for key in ("min", "max", "step"):
        if key in space:
            found = list(_number_problems(document, (*place, key), space[key], parse))
            yield from found
            if not found:
                numbers[key] = parse(space[key])
    low, high, step = (numbers.get(key) for key in ("min", "max", "step"))
    if low is not None and high is not None and low >= high:
        yield document.problem(
            (*place, "min"),
            f"min {shown_value(space['min'])} is not below max {shown_value(space['max'])}",
            "swap them" if low > high else "a parameter with one value belongs into the program's arguments",
        )
    if low is not None and high is not None and not math.isfinite(high - low):
        yield document.problem(place, "max - min is too large for a float", "use a narrower range")
    if step is not None and step <= 0:
        yield document.problem((*place, "step"), f"{shown_value(space['step'])} is not above 0")
    elif None not in (low, high, step) and cast(float, low) < cast(float, high):
        width = cast(float, high) - cast(float, low)
        if cast(float, step) > width:
            yield document.problem(
                (*place, "step"), f"{shown_value(space['step'])} is more than max - min, which is {width:g}"
            )
    if space.get("distribution") == "logUniform":
        if low is not None and low <= 0:
            yield document.problem(
                (*place, "min"), f"{shown_value(space['min'])} is not above 0, as logUniform needs it"
            )
        if "step" in space:
            yield document.problem(
                (*place, "step"), "step does not go with distribution logUniform", "remove one of them"
            )


def _list_problems(document: Document, place: Place, space: Mapping[str, Any], *, kind: str) -> Iterator[Problem]:
    if "list" not in space:
        yield document.problem(place, f"the key 'list' is missing; parameterType {kind} needs a list of values")
    values = space.get("list")
    if not isinstance(values, list):
        return
    values = cast(list[Any], values)
    if not values:
        yield document.problem((*place, "list"), "the list is empty; it needs at least one value")
    seen: set[object] = set()
    for position, value in enumerate(values):
        if not isinstance(value, str | int | float):
            continue
        same: object = str(value).lower() if isinstance(value, bool) else str(value)
        if kind == "discrete":
            # As text, since the schema allows a truth value in a list, and it is no number.
            found = list(_number_problems(document, (*place, "list", position), str(value), parse_number))
            yield from found
            if found:
                continue
            same = parse_number(value)
        if same in seen:
            yield document.problem(
                (*place, "list", position), f"{shown_value(value)} stands in the list a second time", "keep one"
            )
        seen.add(same)


def _number_problems(
    document: Document, place: Place, value: object, parse: Callable[[object], float]
) -> Iterator[Problem]:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return
    try:
        parse(value)
    except ValueError:
        wanted = "a whole number" if parse is parse_whole else "a finite number"
        yield document.problem(place, f"{shown_value(value)} is not {wanted}")


def _arguments_problems(document: Document, base: Place, study: Mapping[str, Any]) -> Iterator[Problem]:
    arguments = study.get("arguments")
    if not isinstance(arguments, list):
        return
    names = [str(parameter.get("name")) for _, parameter in _parameters(study)]
    used: set[str] = set()
    for position, argument in enumerate(cast(list[object], arguments)):
        place = (*base, "arguments", position)
        for name in PLACEHOLDER.findall(str(argument)):
            used.add(name)
            if name not in names:
                yield document.problem(
                    place,
                    f"there is no parameter {name!r}; the study has {', '.join(names) or 'none'}",
                    nearest(name, names),
                )
        for text in LOOKS_LIKE_PLACEHOLDER.findall(PLACEHOLDER.sub("", str(argument))):
            yield document.problem(place, f"${{{text}}} is no placeholder; write ${{trialParameters.NAME}}")
    for position, parameter in _parameters(study):
        if parameter.get("name") not in used and isinstance(parameter.get("name"), str):
            name = parameter["name"]
            yield document.problem(
                (*base, "parameters", position, "name"),
                f"no argument uses the parameter {name!r}, so that every trial would be the same",
                f"put ${{trialParameters.{name}}} into arguments, or leave arguments out",
            )


def _algorithm_problems(
    document: Document, place: Place, algorithm: object, kinds: Mapping[str, AlgorithmKind]
) -> Iterator[Problem]:
    if not isinstance(algorithm, dict):
        return
    algorithm = cast(dict[str, Any], algorithm)
    name = algorithm.get("algorithmName")
    if not isinstance(name, str):
        return
    if name not in kinds:
        yield document.problem(
            (*place, "algorithmName"),
            f"{shown_value(name)} is not one of {', '.join(kinds)}",
            nearest(name, kinds),
        )
        return
    listed = algorithm.get("algorithmSettings")
    given: dict[str, object] = {}
    for position, item in enumerate(cast(list[Any], listed) if isinstance(listed, list) else []):
        if not isinstance(item, dict):
            continue
        item = cast(dict[str, Any], item)
        setting, value = item.get("name"), item.get("value")
        if not isinstance(setting, str) or not isinstance(value, str | int | float):
            continue
        here = (*place, "algorithmSettings", position)
        known = kinds[name].settings.get(setting)
        if known is None:
            allowed = ", ".join(kinds[name].settings) or "none"
            yield document.problem(
                (*here, "name"),
                f"{name} has no setting {shown_value(setting)}; it has {allowed}",
                nearest(setting, kinds[name].settings),
            )
            continue
        if known.argument in given:
            yield document.problem((*here, "name"), f"{shown_value(setting)} is set a second time", "keep one")
        try:
            given[known.argument] = known.parse(str(value))
        except ValueError:
            yield document.problem((*here, "value"), f"{shown_value(value)} is not {known.allowed}")
    low, high = given.get("min_resource", 1), given.get("max_resource")
    if isinstance(low, int) and isinstance(high, int) and high <= low:
        yield document.problem(place, f"max_resource {high} is not above min_resource {low}")
    if name == "threshold" and not {"lower", "upper"} & given.keys():
        yield document.problem(place, "threshold needs the setting lower or upper, or both")
    lower, upper = given.get("lower"), given.get("upper")
    if isinstance(lower, float) and isinstance(upper, float) and lower > upper:
        yield document.problem(place, f"lower {lower:g} is above upper {upper:g}")


def _combination_problems(document: Document, base: Place, study: Mapping[str, Any]) -> Iterator[Problem]:
    algorithm = study.get("algorithm", {})
    name = cast(dict[str, Any], algorithm).get("algorithmName") if isinstance(algorithm, dict) else None
    place = (*base, "algorithm", "algorithmName")
    if name != "grid" and "maxTrialCount" not in study:
        yield document.problem(
            base, "the key 'maxTrialCount' is missing", "trials in all; only the algorithm grid ends by itself"
        )
    if name == "hyperband" and "earlyStopping" in study:
        yield document.problem(
            (*base, "earlyStopping"), "the algorithm hyperband stops trials by itself", "remove earlyStopping"
        )
    listed = [parameter for _, parameter in _parameters(study)]
    if name == "cmaes" and sum(item.get("parameterType") in ("double", "int") for item in listed) < 2:
        yield document.problem(place, "cmaes needs at least two parameters of type double or int", "use tpe")
    if name == "grid":
        yield from _grid_problems(document, base, study)


def _grid_problems(document: Document, base: Place, study: Mapping[str, Any]) -> Iterator[Problem]:
    size = 1.0
    for position, parameter in _parameters(study):
        kind, space = parameter.get("parameterType"), parameter.get("feasibleSpace")
        if not isinstance(space, dict):
            continue
        space = cast(dict[str, Any], space)
        if kind == "double" and "step" not in space:
            yield document.problem(
                (*base, "parameters", position, "feasibleSpace"),
                "a grid needs finitely many values; a double has them with a step",
                "add step",
            )
        elif kind in ("discrete", "categorical") and isinstance(space.get("list"), list):
            size *= max(len(space["list"]), 1)
        else:
            try:
                width = parse_number(space.get("max")) - parse_number(space.get("min"))
                size *= max(width / parse_number(space.get("step", 1)) + 1, 1)
            except (ValueError, ZeroDivisionError):
                continue  # told already
    if size > LARGEST_GRID:
        count = f"{size:.3g}" if math.isfinite(size) else "too many"
        yield document.problem(
            (*base, "parameters"),
            f"the grid has {count} combinations; at most {LARGEST_GRID} are allowed",
            "use larger steps, or another algorithm",
        )


def _parameters(study: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    listed = study.get("parameters")
    for position, parameter in enumerate(cast(list[object], listed) if isinstance(listed, list) else []):
        if isinstance(parameter, dict):
            yield position, cast(dict[str, Any], parameter)
