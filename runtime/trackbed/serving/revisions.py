"""Which versions of the model are loaded, and which one answers a request.

Everything here runs on the event loop's thread. What is served is one immutable table that is replaced in a single
assignment: a request holds the revision that it was given until it is answered, whatever becomes of the table.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from trackbed.serving.predictors import Predictor
from trackbed.serving.refusals import Refusal

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 2  # what a caller of an endpoint without a version is told to wait


@dataclass(eq=False)
class Revision:
    """A version of the model that is loaded.

    Args:
        version: its version in the registry.
        predictor: what answers.
        in_flight: requests that it is answering.
        retired: no new request gets it; it is closed with the last one.
    """

    version: str
    predictor: Predictor
    in_flight: int = 0
    retired: bool = False


@dataclass(frozen=True)
class Table:
    """What is served at one moment.

    Args:
        weights: share of the requests of each alias, in percent.
        wanted: the version that each alias names in the registry.
        serving: the revision that answers for each alias; an alias without one is not in it.
        problems: why an alias is not served by the version that it names, in words.
        known: whether the registry was read, so that an alias that is not in `wanted` has no version.
    """

    weights: Mapping[str, int]
    wanted: Mapping[str, str] = field(default_factory=dict[str, str])
    serving: Mapping[str, Revision] = field(default_factory=dict[str, Revision])
    problems: Mapping[str, str] = field(default_factory=dict[str, str])
    known: bool = False

    @property
    def ready(self) -> bool:
        """Whether a request that names no alias would be answered."""
        return any(weight > 0 and alias in self.serving for alias, weight in self.weights.items())


class Revisions:
    """The served table, and the requests that are on their way.

    Args:
        model: name of the registered model, for errors.
        weights: the first weights.
        close: what to do with a revision that nobody uses any more.
    """

    def __init__(self, model: str, weights: Mapping[str, int], close: Callable[[Revision], None]) -> None:
        self._model = model
        self._close = close
        self.table = Table(weights, problems=dict.fromkeys(weights, "the endpoint is starting"))

    def swap(self, table: Table) -> None:
        """Serve by another table from the next request on."""
        before, self.table = self.table, table
        for alias, revision in table.serving.items():
            if before.serving.get(alias) is not revision:
                log.info("alias %s is now served by version %s", alias, revision.version)

    def retire(self, revision: Revision) -> None:
        """Close a revision that the table no longer names, after the requests that it is answering."""
        revision.retired = True
        self._close_if_drained(revision)

    @contextmanager
    def hold(self, *, alias: str | None = None, version: str | None = None) -> Generator[tuple[str, Revision]]:
        """Choose the revision that answers a request, and keep it for the length of a `with` block.

        Args:
            alias: only this alias; by weight when None.
            version: only this version; any when None.

        Raises:
            Refusal: 400 for an unknown alias, 404 for a version that is not loaded, 503 when nothing can answer.
        """
        chosen, revision = self._choose(alias, version)
        revision.in_flight += 1
        try:
            yield chosen, revision
        finally:
            revision.in_flight -= 1
            self._close_if_drained(revision)

    def _choose(self, alias: str | None, version: str | None) -> tuple[str, Revision]:
        table = self.table
        if alias is not None and alias not in table.weights:
            raise Refusal("no such alias", field="X-Trackbed-Alias", value=alias, allowed=list(table.weights))
        if version is not None:
            for name, revision in table.serving.items():
                if revision.version == version and alias in (None, name):
                    return name, revision
            loaded = sorted({revision.version for revision in table.serving.values()}, key=int)
            raise Refusal("this version is not loaded", field="version", value=version, allowed=loaded, status=404)
        if alias is not None:
            if alias not in table.serving:
                raise self._unavailable([alias])
            return alias, table.serving[alias]
        served = [name for name, weight in table.weights.items() if weight > 0 and name in table.serving]
        if not served:
            raise self._unavailable([name for name, weight in table.weights.items() if weight > 0])
        [name] = served if len(served) == 1 else random.choices(served, [table.weights[name] for name in served])
        return name, table.serving[name]

    def _unavailable(self, aliases: list[str]) -> Refusal:
        problems = [f"alias {alias!r}: {self.table.problems.get(alias, 'not served')}" for alias in aliases]
        problems += [
            f"set it with: trackbed promote {self._model} VERSION --alias {alias}"
            for alias in aliases
            if alias not in self.table.wanted and self.table.known
        ]
        return Refusal(
            f"no version of model {self._model!r} can answer; {'; '.join(problems)}",
            status=503,
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )

    def _close_if_drained(self, revision: Revision) -> None:
        if revision.retired and revision.in_flight == 0:
            log.info("version %s is drained", revision.version)
            self._close(revision)
