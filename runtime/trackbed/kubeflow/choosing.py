"""Which of a file's pipelines to run."""

from __future__ import annotations

from trackbed.kubeflow.arguments import UsageError
from trackbed.kubeflow.source import Source


def choose(source: Source, wanted: str | None) -> str:
    """Return the function name of the pipeline to run.

    Args:
        source: what the file defines.
        wanted: the value of `--pipeline`; None when it was not given.

    Raises:
        UsageError: there is no such pipeline, or several and none was chosen.
    """
    listed = ", ".join(source.pipelines)
    if wanted is not None:
        name = wanted.replace("-", "_")
        if name not in source.pipelines:
            raise UsageError(f"there is no pipeline {wanted!r} in the file; it has: {listed}")
        return name
    if len(source.outermost) == 1:
        return source.outermost[0]
    raise UsageError(f"the file defines several pipelines; choose one with --pipeline NAME: {listed}")
