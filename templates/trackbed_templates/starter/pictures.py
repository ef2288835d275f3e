"""The pictures of the evaluation card."""

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import Pipeline

SIDE = 8  # pixels of an image, across and down
MOST_MISTAKES = 8  # pictures in a row


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray) -> Figure:
    """Draw how often each digit was taken for which."""
    figure = Figure(figsize=(6, 6), layout="constrained")
    ConfusionMatrixDisplay.from_predictions(labels, predictions, ax=figure.subplots(), colorbar=False, cmap="Blues")
    return figure


def worst_mistakes(model: Pipeline, images: np.ndarray, labels: np.ndarray) -> Figure:
    """Draw the images that the model got wrong, the ones it was surest about first."""
    scores = model.decision_function(images) if hasattr(model, "decision_function") else model.predict_proba(images)
    predictions = model.predict(images)
    rows = np.arange(len(images))
    confidence = scores[rows, predictions] - scores[rows, labels]
    wrong = np.flatnonzero(predictions != labels)
    worst = wrong[np.argsort(-confidence[wrong])][:MOST_MISTAKES]

    columns = max(1, len(worst))
    figure = Figure(figsize=(1.5 * columns, 2), layout="constrained")
    for axes, row in zip(figure.subplots(1, columns, squeeze=False)[0], worst, strict=False):
        axes.imshow(images[row].reshape(SIDE, SIDE), cmap="gray_r")
        axes.set_title(f"{labels[row]} read as {predictions[row]}")
    for axes in figure.axes:
        axes.axis("off")
    return figure
