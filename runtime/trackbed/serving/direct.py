"""The short way through a model: its signature compiled, its native estimator called, requests answered together.

Taken only where the answer is known to be MLflow's own; everything else stays with `PyfuncPredictor.predict`:

- the rows of the model do not depend on each other: estimators of scikit-learn that are known for it, XGBoost and
  LightGBM, and whatever says so by the metadata `trackbed.independent_rows: true` that it was logged with;
- the signature is one that `reading` can compile.

An estimator that was fitted on a data frame of one type of number is handed a bare array, without the names that
MLflow's data frame carries. It only looks at them to compare them with those it was fitted on, which is done here once.
"""

from __future__ import annotations

import copy
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trackbed.serving.reading import ColumnReader, Reader, Rows, TensorReader, compile_reader, merge

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.pyfunc import PyFuncModel

log = logging.getLogger(__name__)

INDEPENDENT_ROWS = "trackbed.independent_rows"
INDEPENDENT_LOADERS = ("mlflow.xgboost", "mlflow.lightgbm")
SKLEARN_LOADER = "mlflow.sklearn"
# Parts of scikit-learn that compute each row by itself, and that turn their input into an array before anything else.
ROW_BY_ROW = (
    "sklearn.decomposition._pca",
    "sklearn.decomposition._truncated_svd",
    "sklearn.discriminant_analysis",
    "sklearn.ensemble._forest",
    "sklearn.ensemble._gb",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
    "sklearn.linear_model.",
    "sklearn.naive_bayes",
    "sklearn.neural_network._multilayer_perceptron",
    "sklearn.preprocessing._data",
    "sklearn.svm._classes",
    "sklearn.tree._classes",
)
# The same, but they may ask for columns by name or type.
ROW_BY_ROW_FRAMES = ("sklearn.compose._column_transformer", "sklearn.impute._base", "sklearn.preprocessing._encoders")
PREDICT_FUNCTIONS = ("predict", "predict_proba", "predict_log_proba")
INLINE_ROWS = 64  # at most in one call on the event loop
INLINE_SECONDS = 0.001  # what that call may take; slower models predict in a thread
TRIALS = 5

Native = Callable[[Any], Any]


@dataclass(frozen=True)
class Direct:
    """The compiled way.

    Args:
        reader: reads a body.
        call: predicts for what the reader's `to_model` returns.
        bare: hand `call` the array of the rows instead.
        mergeable: whether rows of several requests may be predicted in one call.
        quick: whether INLINE_ROWS rows take less than INLINE_SECONDS.
    """

    reader: Reader
    call: Native
    bare: bool
    mergeable: bool
    quick: bool = False

    def predict(self, given: Sequence[Rows]) -> list[Any]:
        """Return the predictions of each of several requests, from one call of the model.

        Raises:
            Exception: whatever the model raises, or what it returns is not one prediction a row.
        """
        rows = merge(given)
        # In the memory order of the array that an estimator makes of a data frame: sums come out equal to the last bit.
        data = np.asfortranarray(rows.parts[0]) if self.bare else self.reader.to_model(rows)
        predictions = self.call(data)
        return [predictions] if len(given) == 1 else _share(predictions, given, rows.count)


def compile_direct(model: PyFuncModel) -> Direct | None:
    """Return the short way through a model; None when there is none.

    Args:
        model: the loaded model.
    """
    metadata = model.metadata
    reader = compile_reader(metadata)
    if reader is None or not _is_independent(model):
        return None
    # Rounding depends on how many rows are computed at once: of float32 more than can be promised.
    mergeable = all(getattr(spec.type, "name", "") not in ("float", "float32") for spec in _inputs(model)) and not (
        isinstance(reader, TensorReader) and -1 in reader.shape
    )
    call, bare = _native(model, reader)
    direct = Direct(reader, call, bare, mergeable)
    sample = _sample(reader, INLINE_ROWS)
    return Direct(reader, call, bare, mergeable, quick=sample is not None and _seconds(direct, sample) < INLINE_SECONDS)


def _inputs(model: PyFuncModel) -> list[Any]:
    schema = model.metadata.get_input_schema()
    return list(schema.inputs) if schema is not None else []


def _is_independent(model: PyFuncModel) -> bool:
    metadata = model.metadata
    if (metadata.metadata or {}).get(INDEPENDENT_ROWS) is True:
        return True
    flavor = metadata.flavors["python_function"]
    loader = flavor["loader_module"]
    if loader in INDEPENDENT_LOADERS:
        return True
    if loader != SKLEARN_LOADER or flavor.get("predict_fn", "predict") not in PREDICT_FUNCTIONS:
        return False
    return all(_is_from(part, ROW_BY_ROW + ROW_BY_ROW_FRAMES) for part in _parts(model.get_raw_model()))


def _native(model: PyFuncModel, reader: Reader) -> tuple[Native, bool]:
    """Return what predicts, and whether it takes bare arrays."""
    flavor = model.metadata.flavors["python_function"]
    if flavor["loader_module"] != SKLEARN_LOADER or not all(
        _is_from(part, ROW_BY_ROW + ROW_BY_ROW_FRAMES) for part in _parts(model.get_raw_model())
    ):
        return model.predict, False
    function = flavor.get("predict_fn", "predict")
    raw = model.get_raw_model()
    call = getattr(raw, function)
    if not isinstance(reader, ColumnReader) or reader.dtype is None:
        return call, False
    nameless = _without_names(raw, reader.names)
    sample = _sample(reader, INLINE_ROWS)
    if nameless is None or sample is None or not all(_is_from(part, ROW_BY_ROW) for part in _parts(raw)):
        return call, False
    bare = getattr(nameless, function)
    if not _agree(call, bare, reader.to_model(sample), np.asfortranarray(sample.parts[0])):
        return call, False
    return bare, True


def _parts(estimator: Any) -> list[Any]:
    """Return the estimators that an estimator is made of, without itself when it only passes on."""
    if type(estimator).__module__ == "sklearn.pipeline" and type(estimator).__name__ == "Pipeline":
        return [part for _, step in estimator.steps for part in _parts(step)]
    if type(estimator).__module__ == "sklearn.compose._column_transformer":
        return [estimator, *(part for _, step, _ in estimator.transformers_ for part in _parts(step))]
    return [] if isinstance(estimator, str) else [estimator]  # "passthrough" and "drop"


def _is_from(part: Any, modules: tuple[str, ...]) -> bool:
    module = type(part).__module__
    if module == "sklearn.preprocessing._function_transformer":
        return part.func is None  # what a fitted "passthrough" is; any other function may do anything
    return any(module == each or (each.endswith(".") and module.startswith(each)) for each in modules)


def _without_names(estimator: Any, names: tuple[str, ...]) -> Any:
    """Return a copy that expects an array; None when the names of the signature are not those it was fitted on."""
    if type(estimator).__module__ == "sklearn.pipeline":
        copied = copy.copy(estimator)
        name, first = estimator.steps[0]
        bare = _without_names(first, names) if not isinstance(first, str) else None
        copied.steps = [(name, bare), *estimator.steps[1:]]
        return copied if bare is not None else None
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is None:
        return estimator
    if tuple(fitted) != names:
        return None
    copied = copy.copy(estimator)
    del copied.feature_names_in_
    return copied


def _sample(reader: Reader, count: int) -> Rows | None:
    """Return rows of arbitrary numbers; None for a signature whose values cannot be made up."""
    if not isinstance(reader, ColumnReader):
        return None if -1 in reader.shape else Rows((_numbers((count, *reader.shape), reader.dtype),), count)
    if reader.dtype is None:
        return None
    return Rows((_numbers((count, len(reader.names)), reader.dtype),), count)


def _numbers(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(0).normal(size=shape) * 3).astype(dtype)


def _agree(call: Native, bare: Native, frame: pd.DataFrame, array: np.ndarray[Any, Any]) -> bool:
    """Return whether both ways give the same to the last bit, without a warning, for all rows and for one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pairs = [(call(frame), bare(array)), (call(frame.iloc[:1]), bare(array[:1]))]
    except Exception as error:  # any model's code may raise anything; the way with names is there
        log.info("the model is asked by data frames, since it does not take arrays: %s", error)
        return False
    return all(
        isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype == other.dtype
        and one.tobytes() == other.tobytes()
        for one, other in pairs
    )  # fmt: skip


def _seconds(direct: Direct, sample: Rows) -> float:
    """Return how long a call takes at best."""
    taken: list[float] = []
    try:
        for _ in range(TRIALS):
            began = time.perf_counter()
            direct.predict([sample])
            taken.append(time.perf_counter() - began)
    except Exception as error:  # made up rows need not please a model
        log.info("the model's speed is not known, it predicts in a thread: %s", error)
        return float("inf")
    return min(taken)


def _share(predictions: Any, given: Sequence[Rows], count: int) -> list[Any]:
    if not hasattr(predictions, "__len__") or len(predictions) != count:
        raise ValueError("the model did not return one prediction for each row")
    if not (isinstance(predictions, np.ndarray | list) or hasattr(predictions, "iloc")):
        raise TypeError(f"predictions of type {type(predictions).__name__} cannot be told apart by row")
    rows: Any = getattr(predictions, "iloc", predictions)
    shares: list[Any] = []
    begin = 0
    for each in given:
        shares.append(rows[begin : begin + each.count])
        begin += each.count
    return shares
