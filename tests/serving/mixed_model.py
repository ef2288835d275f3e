"""A model with a column of every type, logged by its code, that does as its rows say.

`seconds` is how long it takes; the texts `fail` and `refuse` raise; `unloadable` in its configuration breaks it.
"""

import time

import mlflow
import pandas as pd


class Mixed(mlflow.pyfunc.PythonModel):
    """Answers with the sum of the numbers, the text with the date and the parameter, and the flag of each row."""

    def load_context(self, context) -> None:
        if (context.model_config or {}).get("unloadable"):
            raise OSError("the weights of this model are lost")

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        time.sleep(model_input["seconds"].clip(0, 5).max())
        text = model_input["text"].astype(str)
        if (text == "fail").any():
            raise RuntimeError("the secret path /srv/weights is gone")
        if (text == "refuse").any():
            raise ValueError("this text is not for me")
        answer = pd.DataFrame({"words": text + (params or {}).get("suffix", "")})
        if "when" in model_input:
            answer["words"] += model_input["when"].dt.strftime("%Y-%m-%d %H:%M").astype(str)
        numbers = model_input[[name for name in ("long", "integer", "float") if name in model_input]]
        answer["total"] = numbers.astype(float).sum(axis=1)
        if "flag" in model_input:
            answer["flag"] = model_input["flag"]
        return answer


mlflow.models.set_model(Mixed())
