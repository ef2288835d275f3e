import sys

import mlflow

with mlflow.start_run():
    mlflow.set_tag("step", sys.argv[1])
    mlflow.log_metric("given", float(sys.argv[2]))

print("step", sys.argv[1], sys.argv[2])
