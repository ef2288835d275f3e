"""Autologging of scikit-learn."""

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split


def main():
    import mlflow

    mlflow.set_experiment("autologging")
    mlflow.autolog(log_models=False)
    train, test, train_labels, test_labels = train_test_split(*load_iris(return_X_y=True), random_state=0)
    model = LogisticRegression(max_iter=300).fit(train, train_labels)
    print("score", model.score(test, test_labels))


main()
