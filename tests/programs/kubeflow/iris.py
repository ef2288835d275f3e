from typing import NamedTuple

from kfp import dsl
from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output

PACKAGES = ["pandas", "scikit-learn"]


@dsl.component(base_image="python:3.11", packages_to_install=PACKAGES)
def load_data(test_share: float, train: Output[Dataset], test: Output[Dataset]):
    from sklearn.datasets import load_iris
    from sklearn.model_selection import train_test_split

    frame = load_iris(as_frame=True).frame
    first, second = train_test_split(frame, test_size=test_share, random_state=0, stratify=frame["target"])
    first.to_csv(train.path, index=False)
    second.to_csv(test.path, index=False)
    train.metadata["rows"] = len(first)


@dsl.component(base_image="python:3.11", packages_to_install=PACKAGES)
def train_model(dataset: Input[Dataset], model: Output[Model], neighbors: int = 3):
    import pickle

    import pandas as pd
    from sklearn.neighbors import KNeighborsClassifier

    frame = pd.read_csv(dataset.path)
    classifier = KNeighborsClassifier(n_neighbors=neighbors)
    classifier.fit(frame.drop(columns="target"), frame["target"])
    model.metadata["framework"] = "scikit-learn"
    with open(model.path, "wb") as file:
        pickle.dump(classifier, file)


@dsl.component(base_image="python:3.11", packages_to_install=PACKAGES)
def evaluate(
    model: Input[Model],
    dataset: Input[Dataset],
    metrics: Output[Metrics],
    confusion: Output[ClassificationMetrics],
) -> NamedTuple("Outputs", [("accuracy", float), ("deploy", bool)]):
    import pickle
    from collections import namedtuple

    import pandas as pd
    from sklearn.metrics import confusion_matrix

    with open(model.path, "rb") as file:
        classifier = pickle.load(file)
    frame = pd.read_csv(dataset.path)
    predicted = classifier.predict(frame.drop(columns="target"))
    accuracy = float((predicted == frame["target"]).mean())
    metrics.log_metric("accuracy", accuracy)
    confusion.log_confusion_matrix(
        ["setosa", "versicolor", "virginica"], confusion_matrix(frame["target"], predicted).tolist()
    )
    return namedtuple("Outputs", ["accuracy", "deploy"])(accuracy, accuracy > 0.9)


@dsl.pipeline(name="iris-training")
def iris_pipeline(test_share: float = 0.3, neighbors: int = 3) -> float:
    data = load_data(test_share=test_share)
    training = train_model(dataset=data.outputs["train"], neighbors=neighbors).set_cpu_limit("1").set_retry(1)
    evaluation = evaluate(model=training.outputs["model"], dataset=data.outputs["test"])
    return evaluation.outputs["accuracy"]
