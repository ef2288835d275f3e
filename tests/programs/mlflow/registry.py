"""A model of its own class, registered, given an alias and loaded again."""

import mlflow
from mlflow import MlflowClient


class AddN(mlflow.pyfunc.PythonModel):
    def __init__(self, n):
        self.n = n

    def predict(self, context, model_input: list[float], params=None) -> list[float]:
        return [value + self.n for value in model_input]


with mlflow.start_run():
    logged = mlflow.pyfunc.log_model(
        name="model", python_model=AddN(n=5), registered_model_name="add-five", pip_requirements=["mlflow"]
    )
MlflowClient().set_registered_model_alias("add-five", "tested", logged.registered_model_version)

loaded = mlflow.pyfunc.load_model("models:/add-five@tested")
print("prediction", loaded.predict([1.0, 2.0]))
