"""Trains a tiny classifier of irises and registers it: what `trackbed check` runs, written as anybody would.

trackbed run train.py --experiment NAME --model NAME
"""

import argparse

import mlflow
import sklearn
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--experiment", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--alias", default="champion")
parser.add_argument("--iterations", type=int, default=200)
arguments = parser.parse_args()

measured, kinds = load_iris(return_X_y=True, as_frame=True)
train_x, test_x, train_y, test_y = train_test_split(measured, kinds, random_state=0, stratify=kinds)

mlflow.set_experiment(arguments.experiment)
with mlflow.start_run():
    mlflow.log_param("iterations", arguments.iterations)
    classifier = LogisticRegression(max_iter=arguments.iterations).fit(train_x, train_y)
    mlflow.log_metric("accuracy", classifier.score(test_x, test_y))
    logged = mlflow.sklearn.log_model(
        classifier,
        name="classifier",
        signature=infer_signature(test_x, classifier.predict(test_x)),
        registered_model_name=arguments.model,
        pip_requirements=[f"scikit-learn=={sklearn.__version__}"],
    )

mlflow.MlflowClient().set_registered_model_alias(arguments.model, arguments.alias, logged.registered_model_version)
