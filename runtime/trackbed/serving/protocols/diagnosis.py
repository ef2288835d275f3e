"""Names the part of a request to `/invocations` that is at fault, after MLflow has refused it.

Only ever runs on requests that were refused, and only words the refusal: what is accepted is MLflow's decision.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

from trackbed.serving.refusals import Refusal

if TYPE_CHECKING:
    from mlflow.types import ParamSchema, Schema

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")
SPLIT_KEYS = ("columns", "data", "index")
INTEGER_BITS = {"integer": 32, "long": 64}
FLOATS = ("float", "double")


@dataclass(frozen=True)
class Cell:
    """One value of a request.

    Args:
        path: where it stands.
        column: the input it belongs to; its position where it has no name.
        value: the value.
    """

    path: str
    column: str | int
    value: Any


def diagnose_json(document: dict[str, Any], schema: Schema | None, params: ParamSchema | None) -> Refusal | None:
    """Find what is wrong with a JSON body.

    Args:
        document: the body.
        schema: the model's inputs; None when it has no signature.
        params: the model's parameters; None when it has none.

    Returns:
        The refusal that names the field; None when nothing is found.
    """
    found = diagnose_form(document)
    if found is None and schema is not None:
        [name] = [key for key in document if key in FORMATS]
        value = document[name]
        found = (
            _diagnose_tensor(name, value, schema) if schema.is_tensor_spec() else _diagnose_columns(name, value, schema)
        )
    return found or _diagnose_params(document.get("params"), params)


def diagnose_csv(text: str, schema: Schema | None) -> Refusal | None:
    """Find what is wrong with a CSV body; see `diagnose_json`."""
    try:
        header, *rows = [row for row in csv.reader(StringIO(text)) if row]
    except (ValueError, csv.Error):
        return Refusal("there must be a line of column names and a line for each row", field="(body)", value=text)
    for number, row in enumerate(rows, start=2):
        if len(row) > len(header):
            return Refusal(f"{len(row)} values for {len(header)} columns", field=f"line {number}", value=row)
    if schema is None or schema.is_tensor_spec():
        return None
    cells = (
        Cell(f"line {number}, column {name!r}", name, _csv_value(value))
        for number, row in enumerate(rows, start=2)
        for name, value in zip(header, row, strict=False)
    )
    return _missing("line 1", header, schema) or _misfit(cells, schema)


def diagnose_form(document: dict[str, Any]) -> Refusal | None:
    """Find what is wrong with the form of a JSON body, whatever the model; see `diagnose_json`."""
    formats = [key for key in document if key in FORMATS]
    if len(formats) != 1:
        problem = "exactly one of the input formats must be there"
        return Refusal(problem, field="(body)", value=list(document), allowed=list(FORMATS))
    [name] = formats
    value = document[name]
    if name == "dataframe_split":
        return _diagnose_split(value)
    if name == "dataframe_records":
        if not isinstance(value, list):
            return Refusal("must be a list of objects", field=name, value=value, allowed="a list of objects")
        for number, record in enumerate(value):
            if not isinstance(record, dict):
                problem = "must be an object of column to value"
                return Refusal(problem, field=f"{name}[{number}]", value=record, allowed="an object")
    if name == "instances" and isinstance(value, list) and value and isinstance(value[0], dict):
        for number, record in enumerate(value):
            if not isinstance(record, dict) or record.keys() != value[0].keys():
                problem = "must have the same names as the first"
                return Refusal(problem, field=f"{name}[{number}]", value=record, allowed=list(value[0]))
    return None


def _diagnose_split(value: Any) -> Refusal | None:
    name = "dataframe_split"
    if not isinstance(value, dict):
        return Refusal("must be an object", field=name, value=value, allowed=list(SPLIT_KEYS))
    for key in value:
        if key not in SPLIT_KEYS:
            return Refusal("unknown key", field=f"{name}.{key}", value=value[key], allowed=list(SPLIT_KEYS))
    if "data" not in value:
        return Refusal("is missing", field=f"{name}.data", allowed="a list of rows")
    columns, data, index = value.get("columns"), value["data"], value.get("index")
    if columns is not None and not (isinstance(columns, list) and all(isinstance(each, str | int) for each in columns)):
        return Refusal("must be a list of names", field=f"{name}.columns", value=columns, allowed="a list of names")
    if columns is not None and len(set(columns)) != len(columns):
        return Refusal("names a column twice", field=f"{name}.columns", value=columns, allowed="each name once")
    if not isinstance(data, list):
        return Refusal("must be a list of rows", field=f"{name}.data", value=data, allowed="a list of rows")
    for number, row in enumerate(data):
        if not isinstance(row, list):
            return Refusal("must be a list of values", field=f"{name}.data[{number}]", value=row, allowed="a list")
        if columns is not None and len(row) != len(columns):
            problem = f"has {len(row)} values for {len(columns)} columns"
            return Refusal(problem, field=f"{name}.data[{number}]", value=row, allowed=f"{len(columns)} values")
    if index is not None and not (isinstance(index, list) and len(index) == len(data)):
        problem = "must be a list with one label for each row"
        return Refusal(problem, field=f"{name}.index", value=index, allowed=f"{len(data)} labels")
    return None


def _diagnose_columns(name: str, value: Any, schema: Schema) -> Refusal | None:
    field = f"{name}.columns" if name == "dataframe_split" else name
    if name == "dataframe_split":
        names, cells = _split_cells(name, value)
    elif isinstance(value, dict):
        names, cells = list[Any](value), _column_cells(name, value)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list) and value and all(isinstance(record, dict) for record in value):
        names = list[Any]({key: None for record in value for key in record})
        cells = _record_cells(name, value)  # pyright: ignore[reportUnknownArgumentType]
    else:
        return _diagnose_bare(name, value, schema)
    return _missing(field, names, schema) or _misfit(cells, schema)


def _split_cells(name: str, value: dict[str, Any]) -> tuple[list[Any], Iterator[Cell]]:
    names: list[Any] = value.get("columns") or list(range(max(map(len, value["data"]), default=0)))
    cells = (
        Cell(f"{name}.data[{row}][{place}]", column, cell)
        for row, cells_of_row in enumerate(value["data"])
        for place, (column, cell) in enumerate(zip(names, cells_of_row, strict=False))
    )
    return names, cells


def _column_cells(name: str, value: dict[str, Any]) -> Iterator[Cell]:
    for column, given in value.items():
        for path, cell in _items(f"{name}.{column}", given):
            yield Cell(path, column, cell)


def _record_cells(name: str, value: list[dict[str, Any]]) -> Iterator[Cell]:
    for number, record in enumerate(value):
        for column, cell in record.items():
            yield Cell(f"{name}[{number}].{column}", column, cell)


def _diagnose_bare(name: str, value: Any, schema: Schema) -> Refusal | None:
    """Values without names: fine for one column, or for a signature without names."""
    if schema.has_input_names() and len(schema.inputs) > 1:
        problem = "the model's inputs have names; each value must say which it is"
        return Refusal(problem, field=name, value=value, allowed=_allowed(schema))
    if not isinstance(value, list):
        return None
    single = len(schema.inputs) == 1
    rows = enumerate(value)
    cells = (
        Cell(path, schema.input_names()[0] if schema.has_input_names() else place, cell)
        for number, row in rows
        for place, (path, cell) in enumerate(
            [(f"{name}[{number}]", row)] if single and not isinstance(row, list) else _items(f"{name}[{number}]", row)
        )
    )
    return _misfit(cells, schema)


def _diagnose_tensor(name: str, value: Any, schema: Schema) -> Refusal | None:
    specs: dict[str | None, Any] = {spec.name: spec for spec in schema.inputs}
    if name.startswith("dataframe"):
        return None
    if not schema.has_input_names():
        return _diagnose_array(name, value, schema.inputs[0])
    if isinstance(value, dict):
        found = _missing(name, list(value), schema)
        for key, given in value.items():
            if found is None and key in specs:
                found = _diagnose_array(f"{name}.{key}", given, specs[key])
        return found
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _missing(name, list(value[0]), schema)
    problem = "the model's inputs have names; each tensor must say which it is"
    return Refusal(problem, field=name, value=value, allowed=_allowed(schema))


def _diagnose_array(field: str, value: Any, spec: Any) -> Refusal | None:
    import numpy as np

    allowed = f"{spec.type} of shape {list(spec.shape)}"
    if isinstance(value, dict):
        return Refusal("must be a list, since the model's input has no name", field=field, value=value, allowed=allowed)
    for path, leaf in _leaves(field, value):
        if isinstance(leaf, dict) or (spec.type.kind in "biuf" and not isinstance(leaf, bool | int | float)):
            return Refusal("has the wrong type", field=path, value=leaf, allowed=allowed)
    try:
        shape = np.array(value, dtype=spec.type).shape
    except (ValueError, TypeError, OverflowError) as error:
        return Refusal(f"is no tensor: {error}", field=field, value=value, allowed=allowed)
    fits = len(shape) == len(spec.shape) and all(
        wanted in (-1, given) for wanted, given in zip(spec.shape, shape, strict=True)
    )
    if fits:
        return None
    return Refusal(f"has the shape {list(shape)}", field=field, value=value, allowed=allowed)


def _diagnose_params(given: Any, schema: ParamSchema | None) -> Refusal | None:
    from mlflow.exceptions import MlflowException
    from mlflow.types.schema import ParamSpec

    if given is None or schema is None:
        return None
    if not isinstance(given, dict):
        return Refusal("must be an object", field="params", value=given, allowed=[spec.name for spec in schema.params])
    for spec in schema.params:
        if spec.name in given:
            try:
                ParamSpec.validate_param_spec(given[spec.name], spec)
            except MlflowException:
                name = _type_name(spec.dtype)
                allowed = name if spec.shape is None else f"a list of {name}"
                problem = "has the wrong type"
                return Refusal(problem, field=f"params.{spec.name}", value=given[spec.name], allowed=allowed)
    return None


def _missing(field: str, names: list[Any], schema: Schema) -> Refusal | None:
    if schema.has_input_names():
        missing = [name for name in schema.required_input_names() if name not in names]
        if missing:
            problem = f"lacks {', '.join(repr(name) for name in missing)}"
            return Refusal(problem, field=field, value=names, allowed=_allowed(schema))
    elif len(names) < len(schema.inputs):
        problem = f"has {len(names)} columns"
        return Refusal(problem, field=field, value=names, allowed=f"{len(schema.inputs)} columns")
    return None


def _misfit(cells: Iterator[Cell], schema: Schema) -> Refusal | None:
    named = schema.has_input_names()
    specs: dict[Any, Any] = dict(schema.input_dict()) if named else dict(enumerate(schema.inputs))
    for cell in cells:
        spec = specs.get(cell.column)
        if spec is not None and not _fits(cell.value, spec):
            allowed = _type_name(spec.type)
            return Refusal(f"is not of type {allowed}", field=cell.path, value=cell.value, allowed=allowed)
    return None


def _fits(value: Any, spec: Any) -> bool:
    kind = getattr(spec.type, "name", None)
    if kind is None:  # arrays, objects and maps
        return isinstance(value, list | dict) or (value is None and not spec.required)
    if value is None:
        return kind in (*FLOATS, "string", "datetime") or not spec.required
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in INTEGER_BITS:
        limit = 2 ** (INTEGER_BITS[kind] - 1)
        return isinstance(value, int) and -limit <= value < limit
    if kind in FLOATS:
        return isinstance(value, bool | int | float)
    return isinstance(value, str)


def _type_name(kind: Any) -> str:
    return getattr(kind, "name", None) or str(kind)


def _allowed(schema: Schema) -> list[str]:
    return [f"{spec.name}: {_type_name(spec.type)}" for spec in schema.inputs]


def _items(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield f"{path}[{number}]", item
    else:
        yield path, value


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    waiting = [(path, value)]
    while waiting:
        place, item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(list(_items(place, item))))
        else:
            yield place, item


def _csv_value(text: str) -> Any:
    if text == "":
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text
