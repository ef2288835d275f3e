"""Answers requests that wait at the same time by one call of the model.

Everything here runs on the event loop's thread, but for the predictions of models that are not quick.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any

from trackbed.serving.direct import INLINE_ROWS, Direct
from trackbed.serving.reading import Rows

MAX_ROWS = 1024  # in one call; a request of more rows is predicted by itself
WAIT_SECONDS = 0.0005  # at most, for those who came together last time


class Failed(Exception):
    """The model failed for these rows, or for those of another request beside them."""


class Coalescer:
    """The line of requests in front of one model.

    A call takes all who wait; while it runs, others gather for the next. Where the last call was shared, the next
    one waits up to WAIT_SECONDS for as many to come again; a lone request never waits.

    Args:
        direct: the model.
        threads: where a model that is not quick predicts, one call at a time.
    """

    def __init__(self, direct: Direct, threads: Executor) -> None:
        self._direct = direct
        self._threads = threads
        self._waiting: list[tuple[Rows, asyncio.Future[Any]]] = []
        self._expected = 1
        self._scheduled: asyncio.Handle | None = None
        self._running = False

    async def predict(self, rows: Rows) -> Any:
        """Return the predictions for the rows of one request.

        Raises:
            Failed: there are none; the request may be innocent, and should be tried alone.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((rows, future))
        if self._running:
            return await future
        if self._scheduled is None:
            # Those whose bodies have come are read before this is called.
            self._scheduled = loop.call_soon(self._begin) if self._expected == 1 else loop.call_later(
                WAIT_SECONDS, self._begin
            )  # fmt: skip
        elif len(self._waiting) == self._expected:
            self._scheduled.cancel()
            self._scheduled = loop.call_soon(self._begin)
        return await future

    def _begin(self) -> None:
        self._scheduled = None
        batch = self._take()
        given = [rows for rows, _ in batch]
        self._expected = len(batch)
        if self._direct.quick and sum(rows.count for rows in given) <= INLINE_ROWS:
            self._finish(batch, *_attempt(self._direct, given))
            return
        self._running = True
        running = asyncio.get_running_loop().run_in_executor(self._threads, _attempt, self._direct, given)
        running.add_done_callback(lambda done: self._end(batch, done))

    def _end(
        self, batch: list[tuple[Rows, asyncio.Future[Any]]], done: asyncio.Future[tuple[list[Any] | None, str]]
    ) -> None:
        self._running = False
        self._finish(batch, *(done.result() if not done.cancelled() else (None, "cancelled")))

    def _finish(self, batch: list[tuple[Rows, asyncio.Future[Any]]], shares: list[Any] | None, problem: str) -> None:
        for number, (_, future) in enumerate(batch):
            if future.done():  # its caller went away
                continue
            if shares is None:
                future.set_exception(Failed(problem))
            else:
                future.set_result(shares[number])
        if self._waiting and self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_soon(self._begin)

    def _take(self) -> list[tuple[Rows, asyncio.Future[Any]]]:
        """Take who waits, as far as they fit one call."""
        count, end = 0, 0
        while end < len(self._waiting):
            count += self._waiting[end][0].count
            if end and (count > MAX_ROWS or not self._direct.mergeable):
                break
            end += 1
        batch, self._waiting = self._waiting[:end], self._waiting[end:]
        return batch


def _attempt(direct: Direct, given: list[Rows]) -> tuple[list[Any] | None, str]:
    try:
        return direct.predict(given), ""
    except Exception as error:  # any model's code may raise anything; each request is then tried alone
        return None, f"{type(error).__name__}: {error}"
