"""The endpoint's routes.

`/health` and `/v2/health/live` answer as soon as the process listens; `/ping`, `/v2/health/ready` and
`/v2/models/{model}/ready` once a version is loaded. Those need no token; everything else does when the endpoint has
one.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from trackbed.serving.coalescing import Coalescer, Failed
from trackbed.serving.direct import Direct
from trackbed.serving.follow import Follower, in_thread
from trackbed.serving.metrics import Metrics
from trackbed.serving.predictors import InputRefusal, Predictor
from trackbed.serving.protocols import Call, invocations, open_inference
from trackbed.serving.refusals import Refusal
from trackbed.serving.registry import Registry, signature_matches
from trackbed.serving.revisions import Revision, Revisions

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 2**20
MAX_WAITING = 1024  # requests for one version
WAITING_RETRY_SECONDS = 1  # what a caller beyond them is told to wait
READ_INLINE_BYTES = 32 * 2**10  # larger bodies take too long to read on the event loop
ALIAS_HEADER = "X-Trackbed-Alias"
VERSION_HEADER = "X-Trackbed-Model-Version"
JSON = "application/json"

Handler = Callable[[Request], Awaitable[Response]]
Decode = Callable[[bytes, Revision], Call]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Everything the routes need.

    Args:
        name: name of the endpoint.
        model: name of the registered model.
        registry: the model registry.
        revisions: what is served.
        follower: what follows the registry.
        metrics: what is counted.
        token: bearer token of callers; None leaves the endpoint open.
        webhook_secret: signs the registry's webhooks; None leaves the endpoint to its poll.
        webhook_url: where the registry reaches this process.
        max_body_bytes: larger bodies are refused.
        max_waiting: requests that one version may be answering or keep waiting; more are refused.
    """

    name: str
    model: str
    registry: Registry
    revisions: Revisions
    follower: Follower
    metrics: Metrics
    token: str | None
    webhook_secret: str | None
    webhook_url: str
    max_body_bytes: int = MAX_BODY_BYTES
    max_waiting: int = MAX_WAITING


def make_app(endpoint: Endpoint) -> ASGIApp:
    """Return the ASGI application of an endpoint."""
    routes = _Routes(endpoint)
    closed = routes.behind_token
    model = "/v2/models/{model}"
    version = model + "/versions/{version}"

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None]:
        following = asyncio.create_task(endpoint.follower.run())
        registering = asyncio.create_task(_register_webhook(endpoint))
        yield
        for task in (following, registering):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app = Starlette(
        routes=[
            Route("/health", routes.live),
            Route("/ping", routes.ready),
            Route("/version", closed(routes.version)),
            Route("/metrics", closed(routes.metrics)),
            Route("/invocations", closed(routes.invocations), methods=["POST"]),
            Route("/trackbed/webhook", routes.webhook, methods=["POST"]),
            Route("/v1/models", closed(routes.models)),
            Route("/v1/models/{model}", routes.model_ready),
            Route("/v1/models/{model}:predict", closed(routes.predict), methods=["POST"]),
            Route("/v2", closed(routes.server)),
            Route("/v2/health/live", routes.live),
            Route("/v2/health/ready", routes.ready),
            Route(model, closed(routes.model)),
            Route(model + "/ready", routes.model_ready),
            Route(model + "/infer", closed(routes.infer), methods=["POST"]),
            Route(version, closed(routes.model)),
            Route(version + "/ready", routes.model_ready),
            Route(version + "/infer", closed(routes.infer), methods=["POST"]),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _refused_by_router, ClientDisconnect: _gone},
        lifespan=lifespan,
    )
    invoke = closed(routes.invocations)

    async def with_shortcut(scope: Scope, receive: Receive, send: Send) -> None:
        """Spare the busiest route the router and its middleware, a third of what a small model's request takes."""
        if scope["type"] != "http" or scope["path"] != "/invocations" or scope["method"] != "POST":
            await app(scope, receive, send)
            return
        try:
            response = await invoke(Request(scope, receive))
        except Refusal as refusal:
            response = _refusal_response(refusal)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    return with_shortcut


class _Routes:
    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._threads = ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 4), thread_name_prefix="predict")
        self._lines: WeakKeyDictionary[Revision, Coalescer] = WeakKeyDictionary()

    def behind_token(self, handler: Handler) -> Handler:
        """Return the handler, for callers who know the endpoint's token."""
        token = self._endpoint.token
        if token is None:
            return handler
        expected = f"Bearer {token}".encode()

        async def checked(request: Request) -> Response:
            given = request.headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, expected):
                raise Refusal(
                    "the endpoint needs its token",
                    field="Authorization",
                    allowed="Bearer TOKEN",
                    status=401,
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return await handler(request)

        return checked

    async def live(self, _request: Request) -> Response:
        return _json({"live": True})

    async def ready(self, _request: Request) -> Response:
        endpoint, table = self._endpoint, self._endpoint.revisions.table
        aliases: dict[str, Any] = {}
        for alias, weight in table.weights.items():
            revision = table.serving.get(alias)
            aliases[alias] = {
                "weight": weight,
                "version": revision.version if revision else None,
                "wanted": table.wanted.get(alias),
                "problem": table.problems.get(alias),
            }
        document = {
            "ready": table.ready,
            "name": endpoint.name,
            "model": endpoint.model,
            "aliases": aliases,
            "registry_problem": endpoint.follower.registry_problem,
        }
        return _json(document, 200 if table.ready else 503)

    async def version(self, _request: Request) -> Response:
        from importlib.metadata import version

        # As MLflow's server: its version, bare.
        return Response(version("mlflow"), media_type=JSON)

    async def metrics(self, _request: Request) -> Response:
        return Response(self._endpoint.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    async def server(self, _request: Request) -> Response:
        from importlib.metadata import version

        return _json({"name": "trackbed", "version": version("trackbed"), "extensions": []})

    async def model(self, request: Request) -> Response:
        self._check_model(request)
        endpoint = self._endpoint
        with endpoint.revisions.hold(version=request.path_params.get("version")) as (_, revision):
            versions = sorted({each.version for each in endpoint.revisions.table.serving.values()}, key=int)
            return _json(open_inference.metadata(endpoint.model, versions, revision.predictor))

    async def model_ready(self, request: Request) -> Response:
        self._check_model(request)
        with self._endpoint.revisions.hold(version=request.path_params.get("version")):
            return _json({"name": self._endpoint.model, "ready": True})

    async def webhook(self, request: Request) -> Response:
        secret = self._endpoint.webhook_secret
        if secret is None:
            raise Refusal("this endpoint takes no webhooks", status=404)
        body = await self._read_body(request)
        if not signature_matches(secret, request.headers, body):
            raise Refusal(
                "the signature is not that of this endpoint's webhook", field="X-MLflow-Signature", status=401
            )
        self._endpoint.follower.wake()
        return _json({"accepted": True}, 202)

    async def invocations(self, request: Request) -> Response:
        content_type = ""

        def decode(body: bytes, revision: Revision) -> Call:
            return invocations.decode(body, content_type, revision.predictor)

        def check() -> None:
            nonlocal content_type
            content_type = invocations.check_content_type(request.headers.get("content-type"))

        def direct(revision: Revision) -> Direct | None:
            return revision.predictor.direct if content_type == JSON else None

        return await self._predict(request, "invocations", check, decode, direct)

    async def models(self, _request: Request) -> Response:
        return _json({"models": [self._endpoint.model]})

    async def predict(self, request: Request) -> Response:
        """KServe's V1 protocol: `instances` or `inputs`, read and answered as `/invocations` does."""

        def check() -> None:
            self._check_model(request)
            _check_json(request)

        def decode(body: bytes, revision: Revision) -> Call:
            return invocations.decode(body, JSON, revision.predictor)

        return await self._predict(request, "v1", check, decode, lambda revision: revision.predictor.direct)

    async def infer(self, request: Request) -> Response:
        def check() -> None:
            self._check_model(request)
            _check_json(request)
            if (binary := request.headers.get("inference-header-content-length")) is not None:
                problem = "binary tensor data is not read here; send the tensors' data as JSON"
                raise Refusal(problem, field="Inference-Header-Content-Length", value=binary, status=415)

        def decode(body: bytes, revision: Revision) -> Call:
            return open_inference.decode(
                body, model=self._endpoint.model, version=revision.version, predictor=revision.predictor
            )

        return await self._predict(request, "v2", check, decode)

    async def _predict(
        self,
        request: Request,
        protocol: str,
        check: Callable[[], None],
        decode: Decode,
        direct: Callable[[Revision], Direct | None] = lambda _: None,
    ) -> Response:
        endpoint = self._endpoint
        started, alias, version = time.perf_counter(), "", ""
        try:
            check()
            body = await self._read_body(request)
            started = time.perf_counter()
            hold = endpoint.revisions.hold(
                alias=request.headers.get(ALIAS_HEADER), version=request.path_params.get("version")
            )
            with hold as (alias, revision):
                version = revision.version
                self._check_waiting(revision)
                answer = await self._answer_directly(body, revision, direct(revision))
                if answer is None:
                    loop = asyncio.get_running_loop()
                    answer = await loop.run_in_executor(self._threads, _answer, body, revision, decode)
            response = Response(answer, media_type=JSON)
        except Refusal as refusal:
            response = _refusal_response(refusal)
        if version:
            response.headers[ALIAS_HEADER] = alias
            response.headers[VERSION_HEADER] = version
        endpoint.metrics.answered(
            protocol=protocol,
            alias=alias,
            version=version,
            status=response.status_code,
            seconds=time.perf_counter() - started,
        )
        return response

    async def _answer_directly(self, body: bytes, revision: Revision, direct: Direct | None) -> bytes | None:
        """Return the answer of the short way; None when the request must go the long one."""
        if direct is None:
            return None
        if len(body) > READ_INLINE_BYTES:
            return await asyncio.get_running_loop().run_in_executor(self._threads, _answer_alone, body, direct)
        rows = direct.reader.read(body)
        if rows is None:
            return None
        line = self._lines.get(revision)
        if line is None:
            line = self._lines[revision] = Coalescer(direct, self._threads)
        try:
            return invocations.encode_rows(await line.predict(rows))
        except Failed as error:
            log.debug("a request goes the long way: %s", error)
            return None

    def _check_waiting(self, revision: Revision) -> None:
        if revision.in_flight > self._endpoint.max_waiting:
            raise Refusal(
                f"version {revision.version} has {self._endpoint.max_waiting} requests to answer already",
                status=429,
                headers={"Retry-After": str(WAITING_RETRY_SECONDS)},
            )

    async def _read_body(self, request: Request) -> bytes:
        limit = self._endpoint.max_body_bytes
        declared = request.headers.get("content-length", "0")
        size = int(declared) if declared.isdecimal() else 0
        parts: list[bytes] = []
        if size <= limit:
            size = 0
            async for part in request.stream():
                parts.append(part)
                size += len(part)
                if size > limit:
                    break
        if size > limit:
            raise Refusal("the body is too large", field="(body)", value=size, allowed=f"{limit} bytes", status=413)
        return b"".join(parts)

    def _check_model(self, request: Request) -> None:
        given, model = request.path_params["model"], self._endpoint.model
        if given != model:
            raise Refusal("no such model", field="model", value=given, allowed=[model], status=404)


def _check_json(request: Request) -> None:
    given = request.headers.get("content-type", JSON)
    if given.partition(";")[0].strip().lower() != JSON:
        raise Refusal("cannot be read here", field="Content-Type", value=given, allowed=[JSON], status=415)


def _answer(body: bytes, revision: Revision, decode: Decode) -> bytes:
    """Answer a request; runs in a thread, since parsing, the model and printing all take the processor."""
    try:
        call = decode(body, revision)
        return _call(call, revision.predictor)
    except Refusal:
        raise
    except Exception as error:
        identity = uuid.uuid4().hex
        log.exception("error %s: version %s cannot answer a request", identity, revision.version)
        problem = f"the model failed; the endpoint's log has the reason under the id {identity}"
        raise Refusal(problem, field="id", value=identity, status=500) from error


def _answer_alone(body: bytes, direct: Direct) -> bytes | None:
    rows = direct.reader.read(body)
    if rows is None:
        return None
    try:
        [predictions] = direct.predict([rows])
    except Exception as error:  # any model's code may raise anything; the long way tells what it is
        log.debug("a request goes the long way: %s", error)
        return None
    return invocations.encode_rows(predictions)


def _call(call: Call, predictor: Predictor) -> bytes:
    try:
        predictions = predictor.predict(call.data, call.params)
    except InputRefusal as error:
        raise call.explain(str(error), error.by_model) from error
    return call.encode(predictions)


async def _register_webhook(endpoint: Endpoint) -> None:
    if endpoint.webhook_secret is None:
        return
    try:
        await in_thread(endpoint.registry.register_webhook, endpoint.webhook_url, endpoint.webhook_secret)
    except Exception as error:  # the poll does without it
        log.warning("no webhook could be registered, aliases are followed by poll: %s", error)
    else:
        log.info("the registry tells %s of aliases that move", endpoint.webhook_url)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _refusal_response(error)


async def _refused_by_router(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    field = "method" if error.status_code == 405 else "path"
    value = request.method if error.status_code == 405 else request.url.path
    return _refusal_response(
        Refusal(error.detail, field=field, value=value, status=error.status_code, headers=error.headers)
    )


async def _gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


def _refusal_response(refusal: Refusal) -> Response:
    return Response(refusal.body(), refusal.status, headers=refusal.headers, media_type=JSON)


def _json(document: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(document), status, media_type=JSON)
