"""Registers a model that adds up the columns `age` and `income`."""

import mlflow
import pandas as pd
from sklearn.linear_model import LinearRegression

columns = pd.DataFrame({"age": [0.0, 1.0, 0.0], "income": [0.0, 0.0, 1.0]})
model = LinearRegression(fit_intercept=False).fit(columns, [0.0, 1.0, 1.0])
mlflow.sklearn.log_model(
    model, name="sum", input_example=columns, registered_model_name="digits", pip_requirements=["scikit-learn"]
)
