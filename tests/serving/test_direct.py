"""The short way gives what the model gives, alone and with others, and is not taken where that is not certain."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from trackbed.serving import coalescing
from trackbed.serving.coalescing import Coalescer, Failed
from trackbed.serving.direct import Direct, compile_direct
from trackbed.serving.reading import ColumnReader, Rows

RANDOM = np.random.default_rng(7)
NUMBERS = pd.DataFrame(RANDOM.normal(size=(120, 5)), columns=list("abcde"))
WITH_TEXT = NUMBERS.assign(kind=RANDOM.choice(["red", "green"], 120))
LABELS = np.where(NUMBERS.sum(axis=1) > 0, "yes", "no")
VALUES = NUMBERS.to_numpy() @ [1.0, -2.0, 3.0, 0.5, 1e-3]
WHOLE = pd.DataFrame(RANDOM.integers(0, 9, size=(120, 3)), columns=list("xyz"))


def saved(directory: Path, estimator: Any, inputs: Any, **options: Any) -> Any:
    mlflow.sklearn.save_model(
        estimator,
        directory / "model",
        signature=infer_signature(inputs, getattr(estimator, options.get("pyfunc_predict_fn", "predict"))(inputs)),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
        **options,
    )
    return mlflow.pyfunc.load_model(str(directory / "model"))


BY_TEXT = ColumnTransformer([("text", OneHotEncoder(), ["kind"]), ("numbers", "passthrough", list("abc"))])
MODELS: dict[str, tuple[Callable[[], Any], Any, Any, bool]] = {
    "classifier": (lambda: LogisticRegression(), NUMBERS, LABELS, True),
    "regression": (lambda: LinearRegression(), NUMBERS, VALUES, True),
    "whole numbers": (lambda: Ridge(), WHOLE, VALUES, True),
    "pipeline": (lambda: make_pipeline(StandardScaler(), PCA(3), SVC()), NUMBERS, LABELS, True),
    "forest": (lambda: RandomForestClassifier(20), NUMBERS, LABELS, True),
    "boosting": (lambda: GradientBoostingRegressor(n_estimators=10), NUMBERS, VALUES, True),
    "boosting by histogram": (lambda: HistGradientBoostingClassifier(max_iter=5), NUMBERS, LABELS, True),
    "network": (lambda: MLPRegressor(hidden_layer_sizes=(8,), max_iter=20), NUMBERS, VALUES, True),
    "array": (lambda: LinearRegression(), NUMBERS.to_numpy(), VALUES, False),
    "columns by name": (lambda: make_pipeline(BY_TEXT, LogisticRegression()), WITH_TEXT, LABELS, False),
    "names within": (
        lambda: make_pipeline(StandardScaler(), LinearRegression()).set_output(transform="pandas"),
        NUMBERS,
        VALUES,
        False,
    ),
}


def body_of(rows: Any) -> bytes:
    if isinstance(rows, np.ndarray):
        return b'{"inputs": %s}' % str(rows.tolist()).encode()
    return b'{"dataframe_split": %s}' % rows.to_json(orient="split", index=False, double_precision=15).encode()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_alone_and_together_the_answers_are_the_models(tmp_path: Path, name: str) -> None:
    make, inputs, labels, bare = MODELS[name]
    model = saved(tmp_path, make().fit(inputs, labels), inputs)
    direct = compile_direct(model)
    assert direct is not None and direct.bare == bare and direct.mergeable
    read: list[Rows] = []
    expected: list[Any] = []
    for begin, end in [(0, 1), (1, 2), (2, 10), (10, 110), (110, 111)]:
        rows = direct.reader.read(body_of(inputs[begin:end]))
        assert rows is not None
        data = direct.reader.to_model(rows)
        read.append(rows)
        expected.append(model.predict(data))
        [alone] = direct.predict([rows])
        assert alone.dtype == expected[-1].dtype and alone.tobytes() == expected[-1].tobytes()
    for given, wanted in zip(direct.predict(read), expected, strict=True):
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(given, wanted, rtol=1e-9)
        else:
            assert given.tolist() == wanted.tolist()


def test_probabilities(tmp_path: Path) -> None:
    estimator = LogisticRegression().fit(NUMBERS, LABELS)
    model = saved(tmp_path, estimator, NUMBERS, pyfunc_predict_fn="predict_proba")
    direct = compile_direct(model)
    assert direct is not None
    read = [direct.reader.read(body_of(NUMBERS[place : place + 2])) for place in (0, 2)]
    shares = direct.predict([rows for rows in read if rows is not None])
    np.testing.assert_allclose(np.vstack(shares), estimator.predict_proba(NUMBERS[:4]), rtol=1e-9)


def double(frame: pd.DataFrame) -> pd.DataFrame:
    return frame - frame.mean()


class Centred(LinearRegression):
    """Its rows depend on each other, whatever it inherits."""

    def predict(self, X: Any) -> Any:
        return super().predict(X - np.mean(X, axis=0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(FunctionTransformer(double), LinearRegression()),
        Centred(),
        KNeighborsClassifier(),
    ],
)
def test_rows_that_may_depend_on_each_other_are_left_alone(tmp_path: Path, estimator: Any) -> None:
    labels = LABELS if isinstance(estimator, KNeighborsClassifier) else VALUES
    assert compile_direct(saved(tmp_path, estimator.fit(NUMBERS, labels), NUMBERS)) is None


class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        if (model_input["a"] > 1e6).any():
            raise ValueError("too large")
        return pd.DataFrame({"sum": model_input.sum(axis=1)})


@pytest.mark.parametrize("metadata", [None, {"trackbed.independent_rows": True}])
def test_other_models_are_asked_together_when_they_say_so(tmp_path: Path, metadata: dict[str, Any] | None) -> None:
    mlflow.pyfunc.save_model(
        tmp_path / "model",
        python_model=Sum(),
        signature=infer_signature(NUMBERS),
        metadata=metadata,
        pip_requirements=["mlflow"],
    )
    direct = compile_direct(mlflow.pyfunc.load_model(str(tmp_path / "model")))
    if metadata is None:
        assert direct is None
        return
    assert direct is not None and not direct.bare
    read = [direct.reader.read(body_of(NUMBERS[place : place + 2])) for place in (0, 2)]
    one, two = direct.predict([rows for rows in read if rows is not None])
    assert [*one["sum"], *two["sum"]] == pytest.approx(NUMBERS[:4].sum(axis=1).tolist())


class Line:
    """A model that says how many rows it was asked for, in the calls it was asked in."""

    def __init__(self, *, quick: bool, mergeable: bool = True) -> None:
        self.calls: list[list[float]] = []
        self.threads: set[bool] = set()
        self.direct = Direct(ColumnReader({"a": "double"}), self._call, True, mergeable, quick)

    def _call(self, data: Any) -> Any:
        self.threads.add(threading.current_thread() is threading.main_thread())
        self.calls.append(data[:, 0].tolist())
        if (data < 0).any():
            raise ValueError("no negative numbers")
        return data[:, 0] * 2

    def ask(self, *numbers: float) -> list[Any]:
        async def all_at_once() -> list[Any]:
            with ThreadPoolExecutor(1) as threads:
                line = Coalescer(self.direct, threads)
                rows = [Rows((np.array([[number]]),), 1) for number in numbers]
                return await asyncio.gather(*(line.predict(each) for each in rows), return_exceptions=True)

        return asyncio.run(all_at_once())


@pytest.mark.parametrize("quick", [True, False])
def test_those_who_wait_are_answered_together_each_with_its_own(quick: bool) -> None:
    line = Line(quick=quick)
    answers = line.ask(*range(200))
    assert [answer.tolist() for answer in answers] == [[2.0 * number] for number in range(200)]
    assert sum(map(len, line.calls)) == 200 and len(line.calls) < 10
    assert line.threads == {False}  # more rows than the event loop may wait for
    small = Line(quick=quick)
    small.ask(1, 2, 3)
    assert small.calls == [[1, 2, 3]] and small.threads == {quick}


def test_a_call_has_a_bounded_number_of_rows() -> None:
    line = Line(quick=True)
    line.ask(*range(2 * coalescing.MAX_ROWS + 1))
    assert max(map(len, line.calls)) <= coalescing.MAX_ROWS and sum(map(len, line.calls)) > 2 * coalescing.MAX_ROWS


def test_an_error_is_told_to_all_of_a_call_and_ends_nothing() -> None:
    line = Line(quick=True)
    assert all(isinstance(answer, Failed) for answer in line.ask(1, -1, 2))
    assert [answer.tolist() for answer in line.ask(3)] == [[6.0]]


def test_unmergeable_rows_are_asked_one_by_one() -> None:
    line = Line(quick=False, mergeable=False)
    assert [answer.tolist() for answer in line.ask(1, 2, 3)] == [[2.0], [4.0], [6.0]]
    assert line.calls == [[1], [2], [3]]
