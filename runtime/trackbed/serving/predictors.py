"""Models that are loaded and answer: the seam behind which the predicting server stands.

The rest of the server knows `Predictor` only. One that coalesces requests, runs in another process or speaks to a GPU
replaces `load_predictor` and nothing else.
"""

from __future__ import annotations

import logging
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel
    from mlflow.types import Schema

    from trackbed.serving.direct import Direct

log = logging.getLogger(__name__)

# What a model raises when it does not like its input. Without a signature nothing was checked before it, so that more
# of what it raises is about the request.
REFUSING_ERRORS = (ValueError,)
REFUSING_ERRORS_WITHOUT_SIGNATURE = (ValueError, TypeError, LookupError)


class InputRefusal(Exception):
    """The input is refused.

    Args:
        words: why, in MLflow's or the model's words.
        by_model: the model itself refuses it, after its signature took it.
    """

    def __init__(self, words: str, *, by_model: bool) -> None:
        super().__init__(words)
        self.by_model = by_model


class Predictor(Protocol):
    """A loaded model."""

    @property
    def metadata(self) -> Model:
        """The model's description: flavours and signature."""
        ...

    @property
    def direct(self) -> Direct | None:
        """A shorter way for the requests that it can read; None when there is none."""
        ...

    def predict(self, data: Any, params: dict[str, Any] | None) -> Any:
        """Return the predictions. Blocks; may be called from several threads at once.

        Raises:
            InputRefusal: the signature or the model itself refuses the data.
        """
        ...

    def close(self) -> None:
        """Give back what the model holds; called once, when no request uses it any more."""
        ...


class PyfuncPredictor:
    """A model of any flavour, through MLflow's python function interface.

    Args:
        model: the loaded model.
        files: the directory it was loaded from, which it may still read.
    """

    def __init__(self, model: PyFuncModel, files: TemporaryDirectory[str]) -> None:
        self._model = model
        self._files = files
        self.direct: Direct | None = None
        self._refusing = REFUSING_ERRORS_WITHOUT_SIGNATURE if self.input_schema is None else REFUSING_ERRORS

    @property
    def metadata(self) -> Model:
        """The model's description: flavours and signature."""
        return self._model.metadata

    @property
    def input_schema(self) -> Schema | None:
        """The signature's inputs; None when the model has no signature."""
        return self._model.metadata.get_input_schema()

    def predict(self, data: Any, params: dict[str, Any] | None) -> Any:
        """Enforce the signature and return the model's predictions."""
        from mlflow.exceptions import MlflowException

        try:
            return self._model.predict(data, params=params)
        except MlflowException as error:
            if error.error_class == "SCHEMA_ENFORCEMENT_FAILED" or error.message.startswith("Invalid parameters"):
                raise InputRefusal(error.message, by_model=False) from error
            if error.get_http_status_code() < 500:
                raise InputRefusal(error.message, by_model=True) from error
            raise
        except self._refusing as error:
            raise InputRefusal(str(error), by_model=True) from error

    def warm(self) -> None:
        """Predict once with the model's own input example, and compile the shorter way.

        The first request then pays for neither.

        Raises:
            Exception: whatever the model raises; a model that fails on its own example will fail its callers.
        """
        from trackbed.serving.direct import compile_direct

        example = self._model.input_example
        if example is not None:
            self._model.predict(example, params=self._example_params())
        self.direct = compile_direct(self._model)

    def close(self) -> None:
        """Remove the model's files."""
        self._files.cleanup()

    def _example_params(self) -> dict[str, Any] | None:
        return self._model.metadata.load_input_example_params(self._files.name)


def load_predictor(model: str, version: str) -> Predictor:
    """Download, load and warm one version of a registered model. Blocks for seconds to minutes.

    MLflow warns in the log when the model was logged with other package versions than those here.

    Args:
        model: name of the registered model.
        version: its version.

    Raises:
        Exception: whatever stands in the way of downloading, loading or predicting.
    """
    import mlflow.pyfunc

    files = TemporaryDirectory(prefix="trackbed-model-")
    try:
        loaded = mlflow.pyfunc.load_model(f"models:/{model}/{version}", dst_path=files.name)
        predictor = PyfuncPredictor(loaded, files)
        predictor.warm()
    except BaseException:
        files.cleanup()
        raise
    return predictor
