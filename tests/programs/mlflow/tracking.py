"""MLflow's quickstart: parameters, metrics, artifacts."""

import random
import sys

import mlflow

mlflow.set_experiment("quickstart")

with mlflow.start_run(run_name="quick"):
    mlflow.log_param("config_value", sys.argv[1])
    for step in range(3):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_dict({"features": ["a", "b"]}, "data/features.json")
    mlflow.log_text(str(random.random()), "test.txt")

print("config value", sys.argv[1])
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
