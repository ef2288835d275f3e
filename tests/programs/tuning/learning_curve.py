"""Logs a loss for each of many epochs: it falls for a small rate and stays high for a large one."""

import argparse
import os
import time

import requests

parser = argparse.ArgumentParser()
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--poor-epochs", type=int, default=4)
parser.add_argument("--library", choices=["rest", "mlflow"], default="rest")
arguments = parser.parse_args()


def log(epoch, loss):
    if arguments.library == "mlflow":
        import mlflow

        mlflow.log_metric("loss", loss, step=epoch)
        return
    requests.post(
        os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric",
        json={
            "run_id": os.environ["MLFLOW_RUN_ID"],
            "key": "loss",
            "value": loss,
            "timestamp": round(time.time() * 1000),
            "step": epoch,
        },
        timeout=10,
    ).raise_for_status()


poor = arguments.rate > 0.5
for epoch in range(1, (arguments.poor_epochs if poor else arguments.epochs) + 1):
    log(epoch, 10 + arguments.rate if poor else arguments.rate + 1 / epoch)
    if poor:
        time.sleep(0.5)
print("all epochs done")
