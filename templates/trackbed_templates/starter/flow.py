"""Train a classifier of handwritten digits, and make it the champion if it is the best so far.

Several families of classifiers are tuned side by side. The best one is trained, judged on images that it has never
seen, and registered in MLflow. The alias `champion`, which the serving endpoint follows, moves to it only if it does
better on those images than the champion before it.
"""

import os

from metaflow import FlowSpec, Parameter, card, current, step
from metaflow.cards import Image, Markdown, Table

# Every step is a process of its own: it imports what it needs itself, and none waits for what another one needs.

ALIAS = "champion"
HELD_OUT = 0.2  # share of the images that judge the final classifier
VALIDATION = 0.2  # share of the images that choose its hyperparameters


class DigitsFlow(FlowSpec):
    """Tune, train, judge, register."""

    n_trials = Parameter("n_trials", default=8, help="Optuna trials for each family of classifiers.")
    seed = Parameter("seed", default=0, help="Decides the split of the images and the search.")
    model_name = Parameter("model_name", default="digits", help="The registered model in MLflow.")

    @step
    def start(self):
        """Load the images, split them, and open the MLflow run that all steps log to."""
        import mlflow
        from classifiers import FAMILIES
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        rest, self.held_out_images, rest_labels, self.held_out_labels = train_test_split(
            images, labels, test_size=HELD_OUT, stratify=labels, random_state=self.seed
        )
        self.train_images, self.validation_images, self.train_labels, self.validation_labels = train_test_split(
            rest, rest_labels, test_size=VALIDATION / (1 - HELD_OUT), stratify=rest_labels, random_state=self.seed
        )
        mlflow.set_experiment(self.model_name)
        with mlflow.start_run(run_name=f"{current.flow_name}/{current.run_id}") as run:
            mlflow.log_params({"n_trials": self.n_trials, "seed": self.seed})
            self.experiment_id, self.mlflow_run_id = run.info.experiment_id, run.info.run_id
        self.families = list(FAMILIES)
        self.next(self.tune, foreach="families")

    @step
    def tune(self):
        """Search one family for the hyperparameters that do best on the validation images."""
        import mlflow
        import optuna
        from classifiers import build

        self.family = self.input

        def validation_accuracy(trial):
            classifier = build(self.family, trial).fit(self.train_images, self.train_labels)
            return classifier.score(self.validation_images, self.validation_labels)

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
        study.optimize(validation_accuracy, n_trials=self.n_trials)
        self.hyperparameters, self.validation_accuracy = study.best_params, study.best_value
        parent = {"experiment_id": self.experiment_id, "parent_run_id": self.mlflow_run_id}
        with mlflow.start_run(run_name=self.family, nested=True, **parent):
            mlflow.log_params(self.hyperparameters)
            for trial in study.trials:
                mlflow.log_metric("validation_accuracy", trial.value, step=trial.number)
            mlflow.log_metric("best_validation_accuracy", self.validation_accuracy)
        print(f"{self.family}: {self.validation_accuracy:.2%} of the validation images with {self.hyperparameters}")
        self.next(self.choose)

    @step
    def choose(self, inputs):
        """Take the family that did best."""
        best = max(inputs, key=lambda candidate: candidate.validation_accuracy)
        self.family, self.hyperparameters = best.family, best.hyperparameters
        self.ranking = sorted(((i.validation_accuracy, i.family) for i in inputs), reverse=True)
        self.merge_artifacts(inputs, exclude=["validation_accuracy"])
        self.next(self.train)

    @step
    def train(self):
        """Train the winner on all images that are not held out."""
        import numpy as np
        from classifiers import build
        from optuna.trial import FixedTrial

        self.model = build(self.family, FixedTrial(self.hyperparameters)).fit(
            np.concatenate([self.train_images, self.validation_images]),
            np.concatenate([self.train_labels, self.validation_labels]),
        )
        self.next(self.evaluate)

    @card(type="blank")
    @step
    def evaluate(self):
        """Judge the new model, and the present champion, on the held-out images."""
        import mlflow
        import pictures

        self.accuracy = self.model.score(self.held_out_images, self.held_out_labels)
        self.champion, self.champion_accuracy = self.judge_champion()
        self.promoted = self.champion is None or self.accuracy > self.champion_accuracy
        self.verdict = self.describe_verdict()

        predictions = self.model.predict(self.held_out_images)
        self.mistakes = int((predictions != self.held_out_labels).sum())
        worst = pictures.worst_mistakes(self.model, self.held_out_images, self.held_out_labels)
        confusion = pictures.confusion_matrix(self.held_out_labels, predictions)
        ranking = [[family, f"{accuracy:.2%}"] for accuracy, family in self.ranking]
        for component in (
            Markdown(f"# {self.family}: {self.accuracy:.2%} of {len(predictions)} held-out images"),
            Markdown(self.verdict),
            Markdown("## Which digit is taken for which"),
            Image.from_matplotlib(confusion),
            Markdown(f"## The worst of {self.mistakes} mistakes"),
            Image.from_matplotlib(worst),
            Markdown("## The families on the validation images"),
            Table(ranking, headers=["family", "best trial"]),
        ):
            current.card.append(component)
        with mlflow.start_run(run_id=self.mlflow_run_id):
            mlflow.log_params({"family": self.family, **self.hyperparameters})
            mlflow.log_metric("held_out_accuracy", self.accuracy)
            mlflow.log_figure(confusion, "confusion.png")
            mlflow.log_figure(worst, "worst_mistakes.png")
            mlflow.set_tag("verdict", self.verdict)
        self.next(self.register)

    @step
    def register(self):
        """Log the model, register it, and give it the alias if it beat the champion."""
        import mlflow
        import sklearn

        with mlflow.start_run(run_id=self.mlflow_run_id):
            held_out = {"images": self.held_out_images.tolist(), "labels": self.held_out_labels.tolist()}
            mlflow.log_dict(held_out, "held_out.json")
            logged = mlflow.sklearn.log_model(
                self.model,
                name="model",
                input_example=self.held_out_images[:2],  # the signature is inferred from it
                registered_model_name=self.model_name,
                pip_requirements=[f"scikit-learn=={sklearn.__version__}", "skops"],
                skops_trusted_types=["sklearn.tree._tree.Tree"],  # what random forests are made of
            )
        self.version = logged.registered_model_version
        if self.promoted:
            mlflow.MlflowClient().set_registered_model_alias(self.model_name, ALIAS, self.version)
        self.next(self.end)

    @step
    def end(self):
        """Say what happened."""
        print(f"{self.family} with {self.hyperparameters}: {self.accuracy:.2%} of the held-out images")
        print(f"registered as {self.model_name} version {self.version}. {self.verdict}")

    def judge_champion(self):
        """Return the present champion's version and its accuracy on the held-out images; None and 0 without one.

        With another seed the champion may have been trained on some of these images, which speaks for it, not against.
        """
        import mlflow

        client = mlflow.MlflowClient()
        if not client.search_registered_models(f"name = '{self.model_name}'"):
            return None, 0.0
        version = client.get_registered_model(self.model_name).aliases.get(ALIAS)
        if version is None:
            return None, 0.0
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # a log is no place for one
        champion = mlflow.pyfunc.load_model(f"models:/{self.model_name}/{version}")
        return version, float((champion.predict(self.held_out_images) == self.held_out_labels).mean())

    def describe_verdict(self):
        """Say in one sentence whether the new model becomes the champion, and why."""
        if self.champion is None:
            return f"The first {ALIAS}: there was none to beat."
        comparison = f"version {self.champion}, which has {self.champion_accuracy:.2%} on the same images"
        if self.promoted:
            return f"The new {ALIAS}: it beats {comparison}."
        return f"Not the {ALIAS}: it does not beat {comparison}."


if __name__ == "__main__":
    DigitsFlow()
