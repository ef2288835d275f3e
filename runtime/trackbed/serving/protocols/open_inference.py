"""The Open Inference Protocol, version 2, over HTTP with JSON tensors.

Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md

How a signature looks as tensors:

- a column with a name is one tensor of that name, of shape [n] or [n, 1] (an array column: [n, length]);
- columns without names are one tensor `input-0` of shape [n, columns];
- a tensor is itself; one without a name is `input-0`, and may be called anything;
- a model without a signature takes any one tensor as an array, or several by their names.

Text, dates (ISO 8601) and binary columns (base64) are of datatype BYTES. A narrower datatype than the signature's is
widened where no value can change (INT32 to FP64, say), as MLflow does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from trackbed.serving.protocols import Call
from trackbed.serving.protocols.invocations import read_json_object
from trackbed.serving.refusals import Refusal

if TYPE_CHECKING:
    import numpy as np
    from mlflow.types import Schema

    from trackbed.serving.predictors import Predictor

DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
DATATYPE_OF = {dtype: datatype for datatype, dtype in DATATYPES.items()}
ELEMENTS: dict[str, tuple[set[type], str]] = {
    "BOOL": ({bool}, "true or false"),
    "BYTES": ({str}, "text"),
    **{name: ({int, float}, "numbers") for name in ("FP16", "FP32", "FP64")},
}
INTEGERS: tuple[set[type], str] = ({int}, "whole numbers")
UNNAMED_INPUT = "input-0"
UNNAMED_OUTPUT = "output-0"
MAX_RANK = 32  # dimensions; more is a mistake, and numpy's own limit is 64


@dataclass(frozen=True)
class Tensor:
    """A tensor of a request.

    Args:
        field: where it stands in the request.
        name: its name.
        datatype: the protocol's name of its type.
        values: its values, in its shape.
    """

    field: str
    name: str
    datatype: str
    values: np.ndarray[Any, Any]


def metadata(name: str, versions: list[str], predictor: Predictor) -> dict[str, Any]:
    """Return the model's metadata: what its tensors are called and look like.

    Args:
        name: name of the model.
        versions: the versions that are loaded.
        predictor: the version that is described.
    """
    described = predictor.metadata
    return {
        "name": name,
        "versions": versions,
        "platform": "mlflow",
        "inputs": _describe(described.get_input_schema(), UNNAMED_INPUT),
        "outputs": _describe(described.get_output_schema(), UNNAMED_OUTPUT),
    }


def decode(body: bytes, *, model: str, version: str, predictor: Predictor) -> Call:
    """Read an inference request.

    Args:
        body: the body as it came, JSON.
        model: name of the model, for the answer.
        version: the version that answers, for the answer.
        predictor: the model; its signature gives names, shapes and types.

    Raises:
        Refusal: the body is not a request of this protocol, or its tensors are not those of the signature.
    """
    request = read_json_object(body)
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Refusal("must be text", field="id", value=identity, allowed="text")
    inputs = request.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise Refusal(
            "must be a list of tensors", field="inputs", value=inputs, allowed="a list of at least one tensor"
        )
    tensors = [_read_tensor(f"inputs[{number}]", given) for number, given in enumerate(inputs)]
    _check_names(tensors)
    wanted = _read_outputs(request.get("outputs"))
    schema = predictor.metadata.get_input_schema()
    data = _to_model(tensors, schema)
    outputs = predictor.metadata.get_output_schema()

    def encode(predictions: Any) -> bytes:
        answer: dict[str, Any] = {"model_name": model, "model_version": version}
        if identity is not None:
            answer["id"] = identity
        answer["outputs"] = _select(_from_model(predictions, outputs), wanted)
        return json.dumps(answer).encode()

    def explain(words: str, by_model: bool) -> Refusal:
        if by_model:
            return Refusal(f"the model refuses the input: {words}", field="inputs")
        return Refusal(
            words.rpartition("Error: ")[2].strip()[:500], field="inputs", allowed=_describe(schema, UNNAMED_INPUT)
        )

    return Call(data, _read_parameters(request.get("parameters"), predictor), encode, explain)


def _read_tensor(field: str, given: Any) -> Tensor:
    import numpy as np

    if not isinstance(given, dict):
        raise Refusal("must be an object", field=field, value=given, allowed="name, shape, datatype and data")
    name, shape, datatype = given.get("name"), given.get("shape"), given.get("datatype")
    if not isinstance(name, str) or not name:
        raise Refusal("must be a name", field=f"{field}.name", value=name, allowed="text")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise Refusal("unknown datatype", field=f"{field}.datatype", value=datatype, allowed=list(DATATYPES))
    sizes = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**63 for size in shape)
    if not isinstance(shape, list) or not sizes or not 1 <= len(shape) <= MAX_RANK:
        raise Refusal("must be a list of sizes", field=f"{field}.shape", value=shape, allowed="whole numbers from 0")
    if not isinstance(given.get("data"), list):
        problem = "must be a list of values (binary tensor data is not read here)"
        raise Refusal(problem, field=f"{field}.data", value=given.get("data"), allowed="a list, flat or nested")
    flat = _flatten(given["data"])
    if len(flat) != prod(shape):
        problem = f"has {len(flat)} values for the shape {shape}"
        raise Refusal(problem, field=f"{field}.data", value=given["data"], allowed=f"{prod(shape)} values")
    _check_elements(field, datatype, flat)
    values = np.empty(len(flat), dtype=DATATYPES[datatype])
    values[:] = flat
    return Tensor(field, name, datatype, values.reshape(shape))


def _flatten(data: list[Any]) -> list[Any]:
    while any(type(item) is list for item in data):
        data = [leaf for item in data for leaf in (item if type(item) is list else (item,))]
    return data


def _check_elements(field: str, datatype: str, flat: list[Any]) -> None:
    import numpy as np

    types, words = ELEMENTS.get(datatype, INTEGERS)
    if not set(map(type, flat)) <= types:
        place = next(place for place, value in enumerate(flat) if type(value) not in types)
        raise Refusal(f"is no {datatype}", field=f"{field}.data[{place}]", value=flat[place], allowed=words)
    if types == INTEGERS[0] and flat:
        limits = np.iinfo(DATATYPES[datatype])
        for place, value in ((flat.index(edge), edge) for edge in (min(flat), max(flat))):
            if not limits.min <= value <= limits.max:
                allowed = f"{limits.min} to {limits.max}"
                raise Refusal(f"does not fit {datatype}", field=f"{field}.data[{place}]", value=value, allowed=allowed)
    if datatype.startswith("FP"):
        for place, value in enumerate(flat):
            if type(value) is int and abs(value) > 2**1023:
                raise Refusal(f"does not fit {datatype}", field=f"{field}.data[{place}]", value=value, allowed=words)


def _check_names(tensors: list[Tensor]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise Refusal("is there twice", field=f"{tensor.field}.name", value=tensor.name, allowed="each name once")
        seen.add(tensor.name)


def _read_outputs(given: Any) -> list[str] | None:
    if given is None:
        return None
    if not isinstance(given, list):
        raise Refusal("must be a list", field="outputs", value=given, allowed="a list of objects with a name")
    names: list[str] = []
    for number, output in enumerate(given):
        name = output.get("name") if isinstance(output, dict) else None
        if not isinstance(name, str):
            raise Refusal("must have a name", field=f"outputs[{number}]", value=output, allowed="an object with a name")
        names.append(name)
    return names or None


def _read_parameters(given: Any, predictor: Predictor) -> dict[str, Any] | None:
    """Keep the parameters that the model knows; the protocol's own (priority, content_type) are not for it."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise Refusal("must be an object", field="parameters", value=given, allowed="an object")
    schema = predictor.metadata.get_params_schema()
    known = {spec.name for spec in schema.params} if schema else set[str]()
    return {name: value for name, value in given.items() if name in known} or None


def _to_model(tensors: list[Tensor], schema: Schema | None) -> Any:
    if schema is None:
        return tensors[0].values if len(tensors) == 1 else {tensor.name: tensor.values for tensor in tensors}
    if schema.is_tensor_spec():
        return _to_tensors(tensors, schema)
    return _to_columns(tensors, schema) if schema.has_input_names() else _to_matrix(tensors, schema)


def _to_tensors(tensors: list[Tensor], schema: Schema) -> Any:
    if not schema.has_input_names():
        _check_single(tensors)
        return _fit_tensor(tensors[0], schema.inputs[0])
    specs = schema.input_dict()
    _check_inputs(tensors, list(specs), schema.required_input_names())
    return {tensor.name: _fit_tensor(tensor, specs[tensor.name]) for tensor in tensors}


def _fit_tensor(tensor: Tensor, spec: Any) -> np.ndarray[Any, Any]:
    shape = list(tensor.values.shape)
    fits = len(shape) == len(spec.shape) and all(
        wanted in (-1, given) for wanted, given in zip(spec.shape, shape, strict=True)
    )
    if not fits:
        problem = "is not the shape of the model's signature"
        raise Refusal(problem, field=f"{tensor.field}.shape", value=shape, allowed=[int(size) for size in spec.shape])
    return _widen(tensor, spec.type)


def _to_matrix(tensors: list[Tensor], schema: Schema) -> Any:
    import pandas as pd

    _check_single(tensors)
    [tensor] = tensors
    width = len(schema.inputs)
    if tensor.values.ndim != 2 or tensor.values.shape[1] != width:
        problem = "is not the shape of the model's signature"
        raise Refusal(problem, field=f"{tensor.field}.shape", value=list(tensor.values.shape), allowed=[-1, width])
    return pd.DataFrame(
        {
            place: _fit_column(Tensor(tensor.field, tensor.name, tensor.datatype, tensor.values[:, place]), spec)
            for place, spec in enumerate(schema.inputs)
        }
    )


def _to_columns(tensors: list[Tensor], schema: Schema) -> Any:
    import pandas as pd

    specs = schema.input_dict()
    _check_inputs(tensors, list(specs), schema.required_input_names())
    rows = len(tensors[0].values)
    for tensor in tensors:
        if len(tensor.values) != rows:
            problem = f"must begin with the number of rows of {tensors[0].name!r}"
            raise Refusal(problem, field=f"{tensor.field}.shape", value=list(tensor.values.shape), allowed=[rows])
    return pd.DataFrame({tensor.name: _fit_column(tensor, specs[tensor.name]) for tensor in tensors})


def _fit_column(tensor: Tensor, spec: Any) -> Any:
    import numpy as np
    import pandas as pd
    from mlflow.types.schema import Array, DataType

    shape = list(tensor.values.shape)
    if isinstance(spec.type, Array) and isinstance(spec.type.dtype, DataType):
        if len(shape) != 2:
            raise Refusal(
                "is not the shape of the column", field=f"{tensor.field}.shape", value=shape, allowed=[-1, -1]
            )
        return list(_widen(tensor, spec.type.dtype.to_numpy()))
    if not isinstance(spec.type, DataType):
        problem = f"the column is of type {spec.type!r}, which no tensor holds; send it to /invocations"
        raise Refusal(problem, field=f"{tensor.field}.name", value=tensor.name)
    if len(shape) != 1 and shape[1:] != [1]:
        raise Refusal("is not the shape of the column", field=f"{tensor.field}.shape", value=shape, allowed=[-1, 1])
    column = Tensor(tensor.field, tensor.name, tensor.datatype, tensor.values.reshape(len(tensor.values)))
    if spec.type == DataType.datetime:
        texts = _widen(column, np.dtype(object))
        try:
            return pd.to_datetime(pd.Series(texts), format="ISO8601").astype("datetime64[ns]")
        except (ValueError, TypeError, OverflowError) as error:
            raise Refusal(
                f"holds no dates: {error}", field=f"{tensor.field}.data", allowed="ISO 8601, no zone"
            ) from error
    if spec.type == DataType.binary:
        return [_from_base64(column.field, text) for text in _widen(column, np.dtype(object))]
    if spec.type == DataType.string:
        return pd.Series(_widen(column, np.dtype(object)), dtype=object)
    return _widen(column, spec.type.to_numpy())


def _from_base64(field: str, text: str) -> bytes:
    from base64 import b64decode

    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise Refusal(f"is not base64: {error}", field=f"{field}.data", value=text, allowed="base64") from error


def _widen(tensor: Tensor, wanted: np.dtype[Any]) -> np.ndarray[Any, Any]:
    import numpy as np

    if wanted.kind in "OUS":
        wanted = np.dtype(object)
    given = tensor.values.dtype
    if given == wanted:
        return tensor.values
    if "O" in (wanted.kind, given.kind) or given.kind == "b" or not np.can_cast(given, wanted, "safe"):
        allowed = [
            datatype
            for datatype, dtype in DATATYPES.items()
            if wanted == dtype
            or ("object" not in (dtype, wanted) and dtype != "bool" and np.can_cast(dtype, wanted, "safe"))
        ]
        problem = "is not the datatype of the model's signature"
        raise Refusal(problem, field=f"{tensor.field}.datatype", value=tensor.datatype, allowed=allowed)
    return tensor.values.astype(wanted)


def _check_single(tensors: list[Tensor]) -> None:
    if len(tensors) != 1:
        names = [tensor.name for tensor in tensors]
        raise Refusal("the model takes one tensor", field="inputs", value=names, allowed=[UNNAMED_INPUT])


def _check_inputs(tensors: list[Tensor], known: Sequence[str | int], required: Sequence[str | int]) -> None:
    for tensor in tensors:
        if tensor.name not in known:
            raise Refusal("the model has no such input", field=f"{tensor.field}.name", value=tensor.name, allowed=known)
    given = [tensor.name for tensor in tensors]
    missing = [name for name in required if name not in given]
    if missing:
        raise Refusal(f"lacks {', '.join(map(repr, missing))}", field="inputs", value=given, allowed=known)


def _describe(schema: Schema | None, unnamed: str) -> list[dict[str, Any]]:
    from mlflow.types.schema import Array, DataType, TensorSpec

    if schema is None:
        return []
    if not schema.is_tensor_spec() and not schema.has_input_names() and len(schema.inputs) > 1:
        datatype = (
            _datatype(schema.inputs[0].type.to_numpy()) if isinstance(schema.inputs[0].type, DataType) else "BYTES"
        )
        return [{"name": unnamed, "datatype": datatype, "shape": [-1, len(schema.inputs)]}]
    described: list[dict[str, Any]] = []
    for spec in schema.inputs:
        if isinstance(spec, TensorSpec):
            dtype, shape = spec.type, [int(size) for size in spec.shape]
        elif isinstance(spec.type, Array) and isinstance(spec.type.dtype, DataType):
            dtype, shape = spec.type.dtype.to_numpy(), [-1, -1]
        else:
            dtype, shape = (spec.type.to_numpy() if isinstance(spec.type, DataType) else None), [-1]
        described.append({"name": spec.name or unnamed, "datatype": _datatype(dtype), "shape": shape})
    return described


def _datatype(dtype: Any) -> str:
    return DATATYPE_OF.get(str(dtype), "BYTES")


def _from_model(predictions: Any, schema: Schema | None) -> list[dict[str, Any]]:
    import numpy as np
    import pandas as pd

    if isinstance(predictions, pd.DataFrame):
        named = {str(name): predictions[name].to_numpy() for name in predictions.columns}
    elif isinstance(predictions, dict):
        named = {str(name): np.asarray(value) for name, value in predictions.items()}
    else:
        names = schema.input_names() if schema is not None and schema.has_input_names() else []
        values = predictions.to_numpy() if isinstance(predictions, pd.Series) else np.asarray(predictions)
        named = {str(names[0]) if len(names) == 1 else UNNAMED_OUTPUT: values}
    return [_print_tensor(name, values) for name, values in named.items()]


def _print_tensor(name: str, values: np.ndarray[Any, Any]) -> dict[str, Any]:
    shape = list(values.shape) or [1]
    datatype = _datatype(values.dtype)
    flat = values.reshape(-1).tolist()
    if datatype == "BYTES":
        flat = [value if isinstance(value, str) else str(value) for value in flat]
    return {"name": name, "shape": shape, "datatype": datatype, "data": flat}


def _select(outputs: list[dict[str, Any]], wanted: list[str] | None) -> list[dict[str, Any]]:
    if wanted is None:
        return outputs
    by_name = {output["name"]: output for output in outputs}
    for number, name in enumerate(wanted):
        if name not in by_name:
            field = f"outputs[{number}].name"
            raise Refusal("the model has no such output", field=field, value=name, allowed=list(by_name))
    return [by_name[name] for name in wanted]
