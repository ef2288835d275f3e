"""The picture of a study: the objective of each trial in the order of the trials, and the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from trackbed.tuning.study import Study

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 8, 4.5, 120


def plot_history(study: Study, trials: Sequence[FrozenTrial], path: Path) -> None:
    """Write the optimisation history as a PNG file.

    Args:
        study: the study.
        trials: its trials, at least one with a value.
        path: the file; replaced.
    """
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
    axes: Axes = figure.add_subplot()
    for state, label, marker in ((TrialState.COMPLETE, "complete", "o"), (TrialState.PRUNED, "pruned", "x")):
        chosen = [trial for trial in trials if trial.state == state and trial.value is not None]
        if chosen:
            axes.scatter(
                [trial.number for trial in chosen],
                [trial.value or 0.0 for trial in chosen],
                marker=marker,
                label=label,
            )
    numbers, best = _best_so_far(study, trials)
    axes.step(numbers, best, where="post", color="tab:red", label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel(study.objective.metric)
    axes.set_title(f"{study.name}: {study.objective.type} {study.objective.metric}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(path)


def _best_so_far(study: Study, trials: Sequence[FrozenTrial]) -> tuple[list[int], list[float]]:
    numbers: list[int] = []
    best: list[float] = []
    for trial in trials:
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            better = not best or study.objective.better(trial.value, best[-1])
            numbers.append(trial.number)
            best.append(trial.value if better else best[-1])
    return numbers, best
