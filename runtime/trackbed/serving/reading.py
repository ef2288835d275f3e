"""Reads the common bodies of `/invocations` straight into arrays of the signature's types.

A reader is compiled from a signature and only ever says yes: what it does not know for certain to be accepted, and to
what values, it leaves to MLflow's own parser (`read` returns None). That holds for finite numbers, booleans and text
in the types of the signature, with all of its columns and no others; anything missing, null, cast from text, out of
range or without its name goes the long way, and is accepted or refused there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import Model
    from mlflow.types import Schema

NUMBERS = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32"}
EXACT_INTEGERS = 2**53  # beyond it a whole number may be rounded twice on its way to float32

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a request, typed as the signature says.

    Args:
        parts: one array for each column, or a single array with all of them.
        count: how many rows.
    """

    parts: tuple[Array, ...]
    count: int


def merge(given: Sequence[Rows]) -> Rows:
    """Return the rows of several requests to one model, one after the other."""
    if len(given) == 1:
        return given[0]
    parts = tuple(np.concatenate(each) for each in zip(*(rows.parts for rows in given), strict=True))
    return Rows(parts, sum(rows.count for rows in given))


class TensorReader:
    """For a signature that is one tensor of numbers without a name.

    Args:
        dtype: its type, float64, float32 or int64.
        shape: its shape, of any size where it is -1, as the first dimension must be.
    """

    def __init__(self, dtype: np.dtype[Any], shape: Sequence[int]) -> None:
        self.dtype = dtype
        self.shape = tuple(shape[1:])

    def read(self, body: bytes) -> Rows | None:
        """Return the rows of a body; None to leave it to MLflow."""
        document = _parse(body)
        values = document.get("inputs", document.get("instances")) if document is not None else None
        array = _numbers(values, self.dtype) if isinstance(values, list) and values else None
        if array is None or array.ndim != 1 + len(self.shape):
            return None
        fits = all(wanted in (-1, size) for wanted, size in zip(self.shape, array.shape[1:], strict=True))
        return Rows((array,), len(array)) if fits else None

    def to_model(self, rows: Rows) -> Array:
        """Return the rows as MLflow would hand them to the model."""
        return rows.parts[0]


class ColumnReader:
    """For a signature of named columns of numbers, booleans and text.

    Args:
        columns: type of each column, as MLflow calls it.
    """

    def __init__(self, columns: dict[str, str]) -> None:
        self.names: tuple[str, ...] = tuple(columns)
        self._types = tuple(columns.values())
        [dtype, *others] = {NUMBERS.get(kind) for kind in self._types}
        whole = not others and dtype in ("float64", "int64")
        self.dtype = np.dtype(dtype) if whole and dtype else None
        self._known = set(self.names)
        self._pick = _picker(self.names)

    def read(self, body: bytes) -> Rows | None:
        """Return the rows of a body; None to leave it to MLflow."""
        document = _parse(body)
        if document is None:
            return None
        [(form, value)] = document.items()
        if form == "dataframe_split":
            return self._read_split(value)
        if form == "dataframe_records":
            return self._read_records(value)
        if "string" in self._types:  # numpy's texts, which MLflow reads these two into, are another matter
            return None
        if form == "instances":
            return self._read_records(value)
        return self._read_columns(value) if form == "inputs" else None

    def to_model(self, rows: Rows) -> pd.DataFrame:
        """Return the rows as MLflow would hand them to the model."""
        import pandas as pd

        if self.dtype is not None:
            return pd.DataFrame(rows.parts[0], columns=list(self.names))
        return pd.DataFrame(
            {
                name: pd.array(part, dtype="str") if part.dtype == object else part
                for name, part in zip(self.names, rows.parts, strict=True)
            }
        )

    def _read_split(self, value: Any) -> Rows | None:
        if not isinstance(value, dict) or len(value) != 2:
            return None
        columns, data = value.get("columns"), value.get("data")
        if not isinstance(columns, list) or not isinstance(data, list) or len(columns) != len(self.names):
            return None
        if set(map(type, data)) != {list} or set(map(len, data)) != {len(columns)}:
            return None
        if tuple(columns) == self.names:
            return self._type(data)
        if set(map(type, columns)) != {str} or set(columns) != self._known:
            return None
        order = [columns.index(name) for name in self.names]
        return self._type([[row[place] for place in order] for row in data])

    def _read_records(self, value: Any) -> Rows | None:
        if not isinstance(value, list) or set(map(type, value)) != {dict}:
            return None
        if set(map(len, value)) != {len(self.names)}:
            return None
        try:
            return self._type(list(map(self._pick, value)))
        except KeyError:
            return None

    def _read_columns(self, value: Any) -> Rows | None:
        if not isinstance(value, dict) or value.keys() != self._known:
            return None
        columns = self._pick(value)
        if set(map(type, columns)) != {list} or len(set(map(len, columns))) != 1:
            return None
        return self._type(list(zip(*columns, strict=True)))

    def _type(self, data: list[Any]) -> Rows | None:
        if not data:
            return None
        if self.dtype is not None:
            array = _numbers(data, self.dtype)
            return Rows((array,), len(data)) if array is not None and array.ndim == 2 else None
        parts: list[Array] = []
        for kind, values in zip(self._types, zip(*data, strict=True), strict=True):
            part = _column(kind, values)
            if part is None or part.ndim != 1:
                return None
            parts.append(part)
        return Rows(tuple(parts), len(data))


Reader = TensorReader | ColumnReader


def compile_reader(model: Model) -> Reader | None:
    """Return a reader for a model's signature; None when MLflow must read all of its requests.

    Args:
        model: the model's description.
    """
    from mlflow.types.schema import DataType

    schema: Schema | None = model.get_input_schema()
    # Such models are handed what was sent, and read it by themselves.
    if schema is None or not schema.inputs or model._is_signature_from_type_hint():  # pyright: ignore[reportPrivateUsage]
        return None
    if model._is_type_hint_from_example():  # pyright: ignore[reportPrivateUsage]
        return None
    if schema.is_tensor_spec():
        [spec, *others] = schema.inputs
        simple = not others and not schema.has_input_names() and str(spec.type) in ("float64", "float32", "int64")
        return TensorReader(spec.type, spec.shape) if simple and tuple(spec.shape[:1]) == (-1,) else None
    if not schema.has_input_names():
        return None
    types = {spec.name: spec.type.name for spec in schema.inputs if isinstance(spec.type, DataType)}
    if len(types) != len(schema.inputs) or not set(types.values()) <= {*NUMBERS, "boolean", "string"}:
        return None
    return ColumnReader(types)


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:  # also for NaN, which Python's parser takes
        return None
    return document if isinstance(document, dict) and len(document) == 1 else None  # pyright: ignore


def _numbers(values: Sequence[Any], dtype: np.dtype[Any]) -> Array | None:
    """Return finite numbers as an array; None for anything else, and where a cast would change a value."""
    try:
        array = np.array(values)
    except (ValueError, OverflowError):  # ragged, or too large
        return None
    if array.dtype == dtype:
        return array
    if array.dtype.kind == "i" and dtype.kind == "i":
        limits = np.iinfo(dtype)
        return array.astype(dtype) if array.size and _within(array, limits.min, limits.max) else None
    if array.dtype.kind == "i" and dtype == np.float64:
        return array.astype(dtype)
    if array.dtype.kind in "fi" and dtype == np.float32:
        return array.astype(dtype) if array.size and _within(array, -EXACT_INTEGERS, EXACT_INTEGERS) else None
    return None


def _within(array: Array, low: int, high: int) -> bool:
    return bool(array.min() >= low) and bool(array.max() <= high)


def _column(kind: str, values: Sequence[Any]) -> Array | None:
    if kind == "string":
        return np.array(values, dtype=object) if set(map(type, values)) == {str} else None
    if kind == "boolean":
        return np.array(values) if set(map(type, values)) == {bool} else None
    return _numbers(values, np.dtype(NUMBERS[kind]))


def _picker(names: tuple[str, ...]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    first, *others = names
    return itemgetter(first, *others) if others else lambda record: (record[first],)
