"""MLflow's `/invocations`: JSON in four orientations, CSV and Parquet; parsed and printed by MLflow itself.

Source: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/. What MLflow accepts is accepted and what it
refuses is refused with its status; only the wording is ours, since MLflow's errors repeat the data and name no field.
"""

from __future__ import annotations

import json
import logging
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from trackbed.serving.protocols import Call
from trackbed.serving.protocols.diagnosis import diagnose_csv, diagnose_form, diagnose_json
from trackbed.serving.refusals import Refusal

if TYPE_CHECKING:
    from trackbed.serving.predictors import Predictor

log = logging.getLogger(__name__)

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
CONTENT_TYPES = (JSON, CSV, PARQUET)
BODY = "(body)"  # the field of an error that is about the whole body


def check_content_type(header: str | None) -> str:
    """Return the media type of a Content-Type header.

    Raises:
        Refusal: 415, it is missing or none of those that can be read.
    """
    if header == JSON:
        return JSON
    mime, *parameters = [part.strip() for part in (header or "").split(";")]
    given = {name.lower(): value.strip('"') for name, _, value in (part.partition("=") for part in parameters) if name}
    charset = given.pop("charset", "utf-8")
    if mime.lower() not in CONTENT_TYPES:
        problem = "the content type cannot be read here" if header else "the header is missing"
        raise Refusal(problem, field="Content-Type", value=header, allowed=list(CONTENT_TYPES), status=415)
    if charset.lower() != "utf-8":
        raise Refusal(
            "the charset cannot be read here", field="Content-Type", value=charset, allowed="utf-8", status=415
        )
    if given:
        raise Refusal("unknown parameters", field="Content-Type", value=header, allowed="charset=utf-8", status=415)
    return mime.lower()


def decode(body: bytes, content_type: str, predictor: Predictor) -> Call:
    """Read a request.

    Args:
        body: the body as it came.
        content_type: one of CONTENT_TYPES.
        predictor: the model that is asked; its signature gives the types.

    Raises:
        Refusal: the body cannot be read, or MLflow's parser refuses it.
    """
    if content_type == JSON:
        return _decode_json(body, predictor)
    if content_type == CSV:
        return _decode_csv(body, predictor)
    return _decode_parquet(body)


def _decode_json(body: bytes, predictor: Predictor) -> Call:
    from mlflow.exceptions import MlflowException

    # The private function is the whole of MLflow's reading of a JSON body; its public parts lack the LLM formats.
    from mlflow.pyfunc.scoring_server import _parse_json_data  # pyright: ignore[reportPrivateUsage]

    document = read_json_object(body)
    metadata = predictor.metadata
    schema = metadata.get_input_schema()
    original = dict(document)  # MLflow takes `params` out of the one it is given

    def explain(words: str, by_model: bool) -> Refusal:
        if by_model:
            return _refused_by_model(words, diagnose_form(original))
        return diagnose_json(original, schema, metadata.get_params_schema()) or Refusal(_reason(words), field=BODY)

    try:
        parsed = _parse_json_data(document, metadata, schema)
    except MlflowException as error:
        raise explain(error.message, False) from error
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, AttributeError) as error:
        # MLflow's parser indexes into what it expects; what it trips over is in the body, since nothing else went in.
        raise explain(str(error), False) from error
    return Call(parsed.data, parsed.params, _encode_bare if parsed.is_unified_llm_input else _encode, explain)


def _decode_csv(body: bytes, predictor: Predictor) -> Call:
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import parse_csv_input

    schema = predictor.metadata.get_input_schema()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refusal(f"not UTF-8: {error.reason} at byte {error.start}", field=BODY) from error

    def explain(words: str, by_model: bool) -> Refusal:
        if by_model:
            return _refused_by_model(words, None)
        return diagnose_csv(text, schema) or Refusal(_reason(words), field=BODY)

    try:
        data = parse_csv_input(StringIO(text), schema=schema)  # pyright: ignore[reportArgumentType]
    except (MlflowException, ValueError, TypeError, LookupError, OverflowError) as error:
        raise explain(str(error), False) from error
    return Call(data, None, _encode, explain)


def _decode_parquet(body: bytes) -> Call:
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import parse_parquet_input

    def explain(words: str, by_model: bool) -> Refusal:
        return _refused_by_model(words, None) if by_model else Refusal(_reason(words), field=BODY)

    try:
        data = parse_parquet_input(BytesIO(body))
    except MlflowException as error:
        raise explain(error.message, False) from error
    return Call(data, None, _encode, explain)


def encode_rows(predictions: Any) -> bytes | None:
    """Return the body for predictions as arrays, which every caller of a small model waits for; None for others.

    The same text as MLflow's own printing, to the byte.
    """
    import numpy as np

    if not isinstance(predictions, np.ndarray):
        return None
    if predictions.dtype.kind not in "biufU":
        return None
    return f'{{"predictions": {json.dumps(predictions.tolist())}}}'.encode()


def read_json_object(body: bytes) -> dict[str, Any]:
    """Parse a body that must be a JSON object.

    Raises:
        Refusal: it is not JSON, or not an object.
    """
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise Refusal(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}", field=BODY) from error
    except UnicodeDecodeError as error:
        raise Refusal(f"not UTF-8: {error.reason} at byte {error.start}", field=BODY) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists a thousand deep
        raise Refusal(f"not JSON that can be read here: {error}", field=BODY) from error
    if not isinstance(document, dict):
        raise Refusal("the body must be a JSON object", field=BODY, value=document, allowed="a JSON object")
    return document  # pyright: ignore[reportUnknownVariableType]


def _encode(predictions: Any) -> bytes:
    from mlflow.pyfunc.scoring_server import predictions_to_json

    printed = StringIO()
    predictions_to_json(predictions, printed)
    return printed.getvalue().encode()


def _encode_bare(predictions: Any) -> bytes:
    from mlflow.pyfunc.scoring_server import unwrapped_predictions_to_json

    printed = StringIO()
    unwrapped_predictions_to_json(predictions, printed)
    return printed.getvalue().encode()


def _refused_by_model(words: str, form: Refusal | None) -> Refusal:
    # pandas fills what is too short with missing values, which the signature lets through and most models do not.
    if form is None:
        return Refusal(f"the model refuses the input: {words}", field=BODY)
    problem = f"{form.problem}; the model refuses the input: {words}"
    return Refusal(problem, field=form.field, value=form.value, allowed=form.allowed)


def _reason(words: str) -> str:
    # MLflow puts the whole data before its reason.
    return words.rpartition("Error: ")[2].strip()[:500] or "the body cannot be read"
