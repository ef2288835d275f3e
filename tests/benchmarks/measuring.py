"""Measuring side by side: the contenders in turn, medians and their ratio, so that a machine's moods cancel out."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

RESULTS_VARIABLE = "TRACKBED_BENCHMARK_RESULTS"


def side_by_side(contenders: Mapping[str, Callable[[], float]], *, rounds: int) -> dict[str, float]:
    """Let each contender run once a round, in turn.

    Args:
        contenders: name to a function that does the work and returns the seconds that count.
        rounds: counted rounds; one more comes before them, to warm up.

    Returns:
        The median seconds of each contender.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_number in range(rounds + 1):
        for name, work in contenders.items():
            taken = work()
            if round_number:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds a piece of work took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def report(title: str, lines: Mapping[str, str]) -> None:
    """Print figures, and keep them where TRACKBED_BENCHMARK_RESULTS names a file (one JSON document a line)."""
    print(f"\n{title}")
    for name, figure in lines.items():
        print(f"  {name:<60} {figure}")
    if results := os.environ.get(RESULTS_VARIABLE):
        with Path(results).open("a", encoding="utf-8") as opened:
            opened.write(json.dumps({"title": title, **lines}) + "\n")
