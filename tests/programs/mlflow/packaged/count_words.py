import mlflow
import toolz

with mlflow.start_run():
    mlflow.log_metrics({word: count for word, count in toolz.frequencies(["a", "b", "a"]).items()})
    mlflow.set_tag("toolz", toolz.__version__)
