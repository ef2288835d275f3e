"""A support vector machine on scikit-learn's digits, as a tutorial writes it."""

import argparse

import mlflow
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

parser = argparse.ArgumentParser()
parser.add_argument("--C", type=float, default=1.0)
parser.add_argument("--gamma", type=float, default=0.001)
arguments = parser.parse_args()

mlflow.set_experiment("digits-svm")
data, target = load_digits(return_X_y=True)
train_data, test_data, train_target, test_target = train_test_split(data, target, test_size=0.5, random_state=0)

with mlflow.start_run():
    mlflow.log_param("C", arguments.C)
    mlflow.log_param("gamma", arguments.gamma)
    model = SVC(C=arguments.C, gamma=arguments.gamma).fit(train_data, train_target)
    mlflow.log_metric("accuracy", model.score(test_data, test_target))
