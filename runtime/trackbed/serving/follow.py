"""Keeps the served revisions in step with the registry: by poll, and at once when a webhook says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from trackbed.errors import UserError
from trackbed.models import read_weights
from trackbed.serving.predictors import Predictor
from trackbed.serving.registry import RegisteredState
from trackbed.serving.revisions import Revision, Revisions, Table

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
FIRST_RETRY_SECONDS = 2.0  # of a version that could not be loaded; doubles each time
LAST_RETRY_SECONDS = 60.0

Result = TypeVar("Result")
Version = tuple[int, str]  # generation of the registered model, and version


@dataclass(frozen=True)
class Failure:
    """A version that could not be loaded.

    Args:
        reason: why, in one line.
        attempts: how often it was tried.
        retry_at: when to try again, in the event loop's time.
    """

    reason: str
    attempts: int
    retry_at: float


class Follower:
    """Follows the aliases of one registered model.

    Versions are loaded in the background, one thread each, and served once they are; until then, and when it fails, the
    alias stays with the revision it had. While the registry is away, everything stays as it is.

    Args:
        read: reads the registry; blocks.
        load: loads a version; blocks.
        remember_previous: writes down the version that an alias named before it was moved; blocks.
        revisions: what is served.
        weights: the weights of the specification, which hold until the endpoint's traffic tag is set.
        poll_seconds: how often the registry is read.
    """

    def __init__(
        self,
        read: Callable[[], RegisteredState],
        load: Callable[[str], Predictor],
        remember_previous: Callable[[str, str], None],
        revisions: Revisions,
        weights: Mapping[str, int],
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._read = read
        self._load = load
        self._remember_previous = remember_previous
        self._revisions = revisions
        self._weights = weights
        self._poll_seconds = poll_seconds
        self._wake = asyncio.Event()
        self._state: RegisteredState | None = None
        self._loaded: dict[Version, Revision] = {}
        self._loading: dict[Version, asyncio.Task[None]] = {}
        self._failures: dict[Version, Failure] = {}
        self._bad_traffic: str | None = None
        self.load_failures = 0
        self.registry_problem: str | None = "not read yet"

    def wake(self) -> None:
        """Look at the registry now."""
        self._wake.set()

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._wake.clear()
            await self._look()
            self._reconcile()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._poll_seconds)

    async def _look(self) -> None:
        before = self._state
        try:
            self._state = await in_thread(self._read)
        except Exception as error:  # whatever keeps the registry from answering, what is loaded keeps serving
            problem = _one_line(error)
            if problem != self.registry_problem:
                log.warning("the registry cannot be read: %s", problem)
            self.registry_problem = problem
        else:
            if self.registry_problem is not None:
                log.info("the registry answers")
            self.registry_problem = None
            await self._note_moves(before, self._state)

    async def _note_moves(self, before: RegisteredState | None, now: RegisteredState) -> None:
        """Keep the way back open when an alias was moved by MLflow itself, and not by `trackbed promote`."""
        if before is None or before.generation != now.generation:
            return
        for alias, version in before.aliases.items():
            if now.aliases.get(alias, version) != version and now.previous.get(alias) != version:
                try:
                    await in_thread(self._remember_previous, alias, version)
                except Exception as error:  # serving matters more than the way back
                    log.warning("the version before of alias %s could not be written down: %s", alias, _one_line(error))

    def _reconcile(self) -> None:
        try:
            self._apply()
        except Exception:  # a mistake of ours must not end the following: the next poll tries again
            log.exception("the state of the registry could not be applied")

    def _apply(self) -> None:
        state = self._state
        if state is None:
            problem = f"the model registry cannot be read: {self.registry_problem}"
            self._revisions.swap(Table(self._weights, problems=dict.fromkeys(self._weights, problem)))
            return
        weights = self._current_weights(state)
        wanted = {alias: state.aliases[alias] for alias in weights if alias in state.aliases}
        serving: dict[str, Revision] = {}
        problems = {alias: "no version has this alias" for alias in weights if alias not in wanted}
        for alias, version in wanted.items():
            key = (state.generation, version)
            if key in self._loaded:
                serving[alias] = self._loaded[key]
                continue
            problems[alias] = self._request(key)
            if alias in self._revisions.table.serving:
                serving[alias] = self._revisions.table.serving[alias]
        self._revisions.swap(Table(weights, wanted, serving, problems, known=True))
        self._forget({(state.generation, version) for version in wanted.values()})

    def _current_weights(self, state: RegisteredState) -> Mapping[str, int]:
        if state.traffic is None:
            return self._weights
        try:
            return read_weights(state.traffic)
        except UserError as error:
            if state.traffic != self._bad_traffic:
                log.warning("the traffic tag of the model is ignored: %s", error)
            self._bad_traffic = state.traffic
            return self._revisions.table.weights

    def _request(self, key: Version) -> str:
        """Have a version loaded, and return why it is not loaded yet."""
        failure = self._failures.get(key)
        if key not in self._loading and (failure is None or asyncio.get_running_loop().time() >= failure.retry_at):
            self._loading[key] = asyncio.create_task(self._load_one(key))
        if failure is not None:
            return f"version {key[1]} cannot be loaded: {failure.reason}"
        return f"version {key[1]} is being loaded"

    async def _load_one(self, key: Version) -> None:
        version = key[1]
        log.info("loading version %s", version)
        try:
            predictor = await in_thread(self._load, version)
        except Exception as error:  # any model's code may raise anything; the version before keeps serving
            attempts = self._failures[key].attempts + 1 if key in self._failures else 1
            delay = min(FIRST_RETRY_SECONDS * 2 ** (attempts - 1), LAST_RETRY_SECONDS)
            self._failures[key] = Failure(_one_line(error), attempts, asyncio.get_running_loop().time() + delay)
            self.load_failures += 1
            log.exception("version %s cannot be loaded; next attempt in %.0f s", version, delay)
        else:
            self._loaded[key] = Revision(version, predictor)
            self._failures.pop(key, None)
            log.info("version %s is loaded", version)
        finally:
            del self._loading[key]
        self._reconcile()

    def _forget(self, wanted: set[Version]) -> None:
        served = {id(revision) for revision in self._revisions.table.serving.values()}
        for key, revision in list(self._loaded.items()):
            if id(revision) not in served and key not in wanted:
                del self._loaded[key]
                self._revisions.retire(revision)
        self._failures = {key: failure for key, failure in self._failures.items() if key in wanted}


async def in_thread(function: Callable[..., Result], *arguments: object) -> Result:
    """Run a blocking function in a thread of its own that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # pyright: ignore[reportArgumentType]

    def work() -> None:
        result, problem = None, None
        try:
            result = function(*arguments)
        except BaseException as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=work, daemon=True).start()
    return await future


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
