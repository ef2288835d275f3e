"""Requests over kept connections, as many at a time as there are connections: the client of the serving benchmarks."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import cast

import uvloop

ANSWER_SECONDS = 60  # for the last answers
HEADERS_END = b"\r\n\r\n"


@dataclass(frozen=True)
class Load:
    """What a server did under load.

    Args:
        rate: answers a second.
        p50: half of the answers came within this many milliseconds.
        p99: 99 of 100 did.
    """

    rate: float
    p50: float
    p99: float


def load(port: int, path: str, body: bytes, *, clients: int, seconds: float) -> Load:
    """Post one body again and again.

    Args:
        port: where the server listens on 127.0.0.1.
        path: path of the request.
        body: its JSON body.
        clients: how many connections; each has one request on its way.
        seconds: for how long.

    Raises:
        RuntimeError: an answer was not 200.
        TimeoutError: the last answers did not come.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return uvloop.run(_load(port, head.encode() + HEADERS_END + body, clients, seconds))


class _Client(asyncio.Protocol):
    def __init__(self, request: bytes, until: float, taken: list[float]) -> None:
        self._request = request
        self._until = until
        self._taken = taken
        self._received = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own are no subclass
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, answer = self._received.partition(HEADERS_END)
        if not separator or len(answer) < _content_length(head):
            return
        now = time.perf_counter()
        self._taken.append(now - self._began)
        self._received = b""
        if not head.startswith(b"HTTP/1.1 200"):
            self._end(RuntimeError((head + answer[:500]).decode("latin-1")))
        elif now < self._until:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or RuntimeError("the server closed the connection"))

    def _ask(self) -> None:
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
        self._transport.close()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise RuntimeError(f"an answer without its length: {head!r}")


async def _load(port: int, request: bytes, clients: int, seconds: float) -> Load:
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    began = time.perf_counter()
    callers: list[_Client] = []
    for _ in range(clients):
        _, caller = await loop.create_connection(lambda: _Client(request, began + seconds, taken), "127.0.0.1", port)
        callers.append(caller)
    async with asyncio.timeout(seconds + ANSWER_SECONDS):
        await asyncio.gather(*(caller.ended for caller in callers))
    passed = time.perf_counter() - began
    taken.sort()
    return Load(len(taken) / passed, 1000 * taken[len(taken) // 2], 1000 * taken[len(taken) * 99 // 100])
