import sys

import mlflow
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet

alpha, l1_ratio = float(sys.argv[1]), float(sys.argv[2])
data, target = load_diabetes(return_X_y=True)

with mlflow.start_run():
    model = ElasticNet(alpha=alpha, l1_ratio=l1_ratio).fit(data, target)
    mlflow.log_metric("r2", model.score(data, target))

print("trained with", alpha, l1_ratio)
