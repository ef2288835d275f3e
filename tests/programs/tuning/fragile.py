"""Fails for every depth above the one it can take, as a program that runs out of memory does."""

import argparse
import os
import sys
import time

import requests

parser = argparse.ArgumentParser()
parser.add_argument("--depth", type=int, required=True)
parser.add_argument("--deepest", type=int, default=2)
parser.add_argument("--metric", default="loss")
arguments = parser.parse_args()

if arguments.depth > arguments.deepest:
    print(f"cannot allocate a tree of depth {arguments.depth}")
    sys.exit(3)
if arguments.metric == "none":
    import mlflow  # noqa: F401  (a program that forgot to log)

    sys.exit(0)
requests.post(
    os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/runs/log-metric",
    json={
        "run_id": os.environ["MLFLOW_RUN_ID"],
        "key": arguments.metric,
        "value": arguments.depth,
        "timestamp": round(time.time() * 1000),
        "step": 0,
    },
    timeout=10,
).raise_for_status()
