"""Trains a model and logs it to MLflow, as a DAG."""
from datetime import datetime

import mlflow
from airflow.sdk import dag, task
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


@dag(schedule="@weekly", start_date=datetime(2024, 1, 1), catchup=False)
def training():
    @task
    def split():
        features, labels = load_iris(return_X_y=True, as_frame=True)
        return {"rows": len(features)}

    @task
    def train(strength: float, data: dict, run_id=None):
        features, labels = load_iris(return_X_y=True, as_frame=True)
        mlflow.set_experiment("airflow_training")
        # Left open: the end of the task's process closes it.
        mlflow.start_run(run_name=f"strength_{strength}", tags={"airflow_run": run_id})
        model = LogisticRegression(C=strength, max_iter=500).fit(features, labels)
        score = model.score(features, labels)
        mlflow.log_param("C", strength)
        mlflow.log_metric("accuracy", score)
        return {"run": mlflow.active_run().info.run_id, "score": score}

    @task
    def best(results):
        winner = max(results, key=lambda each: each["score"])
        with mlflow.start_run(run_id=winner["run"]):
            model = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
            mlflow.sklearn.log_model(
                model, name="model", registered_model_name="airflow_iris", pip_requirements=["scikit-learn"]
            )
        print("best run", winner["run"])

    best(train.partial(data=split()).expand(strength=[0.01, 1.0]))


training()
