"""`pulumi-resource-trackbed`: the resource types of `trackbed_local.kinds` as a Pulumi provider plugin.

This file translates between Pulumi's property values and plain ones, and does nothing else: what a resource
type does is in its own file. Operations run in threads, so that resources are made in parallel.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from pulumi.provider.experimental import provider as api
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS  # pyright: ignore[reportPrivateUsage]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2_grpc
from trackbed.errors import UserError

from trackbed_local.kinds.base import Difference, Failure, Kind, Properties
from trackbed_local.kinds.directory import Directory
from trackbed_local.kinds.file import File
from trackbed_local.kinds.process import Process
from trackbed_local.kinds.secret import Secret
from trackbed_local.kinds.settings import Settings

PARALLEL_OPERATIONS = 64  # most of them only wait for a health check
PARENT_POLL = 1.0  # seconds between looks at whether the engine still lives

Result = TypeVar("Result")
Values = dict[str, PropertyValue]


class LocalProvider(api.Provider):
    """Hands each request to the resource type it is for.

    Args:
        engine: address of the engine, to which notices go.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(PARALLEL_OPERATIONS)
        self._cancelled = threading.Event()
        self._clients = 0  # that have attached, and were not cancelled
        self._kinds: Mapping[str, Kind] = {
            "trackbed:index:Settings": Settings(),
            "trackbed:local:Directory": Directory(),
            "trackbed:local:File": File(),
            "trackbed:local:Secret": Secret(),
            "trackbed:local:Process": Process(self._cancelled),
        }

    async def check(self, request: api.CheckRequest) -> api.CheckResponse:
        """Validate inputs; every problem becomes a failure with its property path."""
        kind = self._kind(request.type)
        olds, news = to_plain(request.old_inputs), to_plain(request.new_inputs)
        inputs, failures = await self._run(lambda: kind.check(olds, news))
        return api.CheckResponse(
            inputs=to_values(inputs, _secret_keys(kind, request.new_inputs)),
            failures=[api.CheckFailure(_shown_property(kind, failure), failure.reason) for failure in failures],
        )

    async def diff(self, request: api.DiffRequest) -> api.DiffResponse:
        """Say, property by property, what an update would change."""
        kind = self._kind(request.type)
        state, news = to_plain(request.old_state), to_plain(request.new_inputs)
        for key in request.ignore_changes:
            news[key] = state.get(key)
        difference = await self._run(lambda: kind.diff(state, news))
        if difference.reason:
            await self._tell(request.urn, difference.reason)
        return _diff_response(difference)

    async def create(self, request: api.CreateRequest) -> api.CreateResponse:
        """Make the resource, or in a preview say what its outputs would be."""
        kind = self._kind(request.type)
        news = to_plain(request.properties)
        secret = _secret_keys(kind, request.properties)
        if request.preview:
            return api.CreateResponse(None, to_values(kind.preview({}, news), secret))
        identifier, outputs = await self._run(lambda: kind.create(news))
        return api.CreateResponse(identifier, to_values(outputs, secret))

    async def read(self, request: api.ReadRequest) -> api.ReadResponse:
        """Return the resource as it is in reality; an empty answer when it is gone."""
        kind = self._kind(request.type)
        state = to_plain(request.properties)
        if not state:
            raise UserError(f"{request.resource_id} cannot be imported: `up` adopts what exists by itself.")
        outputs = await self._run(lambda: kind.read(state))
        if outputs is None:
            return api.ReadResponse(resource_id="")
        secret = _secret_keys(kind, request.properties, request.inputs)
        return api.ReadResponse(request.resource_id, to_values(outputs, secret), request.inputs)

    async def update(self, request: api.UpdateRequest) -> api.UpdateResponse:
        """Change the resource in place, or in a preview say what its outputs would be."""
        kind = self._kind(request.type)
        state, news = to_plain(request.olds), to_plain(request.news)
        secret = _secret_keys(kind, request.news)
        if request.preview:
            return api.UpdateResponse(to_values(kind.preview(state, news), secret))
        outputs = await self._run(lambda: kind.update(state, news))
        return api.UpdateResponse(to_values(outputs, secret))

    async def delete(self, request: api.DeleteRequest) -> None:
        """Take the resource away."""
        kind = self._kind(request.type)
        state = to_plain(request.properties)
        await self._run(lambda: kind.delete(state))

    async def cancel(self) -> None:
        """Let operations that wait for a health check give up; what they started goes on."""
        # An engine also cancels each client that it closes, while the others go on.
        self._clients -= 1
        if self._clients <= 0:
            self._cancelled.set()

    def attach(self, engine: str) -> None:
        """Serve one more client: an engine makes several in one operation, and another operation may follow.

        Args:
            engine: address of the engine.
        """
        self._engine = engine
        self._clients = max(self._clients, 0) + 1
        self._cancelled.clear()

    def _kind(self, type_token: str) -> Kind:
        kind = self._kinds.get(type_token.rsplit("$", 1)[-1])
        if kind is None:
            known = ", ".join(self._kinds)
            raise UserError(f"{type_token} is none of the types of this provider: {known}.")
        return kind

    async def _tell(self, urn: str, notice: str) -> None:
        """Show a notice beside a resource: the engine's own display of a diff has no room for reasons."""
        request = engine_pb2.LogRequest(severity=engine_pb2.WARNING, message=notice, urn=urn)
        with contextlib.suppress(grpc.aio.AioRpcError):
            async with grpc.aio.insecure_channel(self._engine) as channel:
                stub: Any = engine_pb2_grpc.EngineStub(channel)  # typed for the blocking kind of channel
                await stub.Log(request)

    async def _run(self, operation: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, operation)


def to_plain(values: Mapping[str, PropertyValue]) -> Properties:
    """Turn Pulumi's values into plain ones: secrets unwrapped, whole numbers as int, nulls left out."""
    return {key: _plain(value) for key, value in values.items() if value.value is not None}


def to_values(properties: Properties, secret: Iterable[str]) -> Values:
    """Turn plain values into Pulumi's, marking the given top-level ones as secret; nulls are left out."""
    marked = frozenset(secret)
    return {key: _value(item).with_secret(key in marked) for key, item in properties.items() if item is not None}


class _Servicer(ProviderServicer):
    """Tells a user's error as its message alone, where the base class adds a traceback; lets engines attach.

    Args:
        provider: what serves the requests.
        engine: address of the engine that started it; empty for a plugin that waits for engines to attach.
    """

    def __init__(self, provider: LocalProvider, engine: str) -> None:
        super().__init__(sys.argv[1:], version("trackbed"), provider, engine_address=engine)
        self._local = provider

    async def Attach(self, request: Any, context: Any) -> Any:
        self._local.attach(request.address)
        return empty_pb2.Empty()

    async def Create(self, request: Any, context: Any) -> Any:
        return await _told(super().Create(request, context), context)

    async def Update(self, request: Any, context: Any) -> Any:
        return await _told(super().Update(request, context), context)

    async def Delete(self, request: Any, context: Any) -> Any:
        return await _told(super().Delete(request, context), context)

    async def Read(self, request: Any, context: Any) -> Any:
        return await _told(super().Read(request, context), context)

    async def Check(self, request: Any, context: Any) -> Any:
        return await _told(super().Check(request, context), context)

    async def Diff(self, request: Any, context: Any) -> Any:
        return await _told(super().Diff(request, context), context)


def main() -> None:
    """Serve the provider until what started this plugin, an engine or `trackbed`, is done with it, or gone."""
    engine = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    with contextlib.suppress(KeyboardInterrupt):  # how the engine ends its plugins
        asyncio.run(_serve(engine, os.getppid()))
    os._exit(0)


async def _serve(engine: str, parent: int) -> None:
    server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Servicer(LocalProvider(engine), engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        print(port, flush=True)  # how the engine learns where to connect
    except BrokenPipeError:
        os._exit(0)
    while os.getppid() == parent:  # an engine killed with -9 tells nobody
        await asyncio.sleep(PARENT_POLL)
    # At once: threads that still wait for a health check are of no use to anyone now, and a server that goes with its
    # event loop complains at length.
    os._exit(0)


async def _told(call: Awaitable[Any], context: Any) -> Any:
    try:
        return await call
    except Exception as error:
        original = error.__context__
        if not isinstance(original, UserError):
            raise
        message = "\n".join(part for part in (str(original), original.hint) if part)
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, message)


def _secret_keys(kind: Kind, *sources: Mapping[str, PropertyValue]) -> frozenset[str]:
    given = {key for source in sources for key, value in source.items() if value.contains_secret()}
    return kind.secret_properties | given


def _shown_property(kind: Kind, failure: Failure) -> str:
    """Name the property of a failure if the engine can show its value, which it does, and only at top level."""
    nested = "." in failure.path or "[" in failure.path
    return "" if nested or failure.path in kind.secret_properties else failure.path


def _diff_response(difference: Difference) -> api.DiffResponse:
    kinds = api.PropertyDiffKind
    plain = {
        **dict.fromkeys(difference.added, kinds.ADD),
        **dict.fromkeys(difference.removed, kinds.DELETE),
        **dict.fromkeys(difference.changed | difference.drifted, kinds.UPDATE),
    }
    replacing = {
        kinds.ADD: kinds.ADD_REPLACE,
        kinds.DELETE: kinds.DELETE_REPLACE,
        kinds.UPDATE: kinds.UPDATE_REPLACE,
    }
    return api.DiffResponse(
        changes=bool(difference.paths),
        replaces=sorted(difference.replaced),
        delete_before_replace=difference.delete_first,
        diffs=sorted({path.split(".")[0].split("[")[0] for path in difference.paths}),
        detailed_diff={
            path: api.PropertyDiff(
                replacing[kind] if path in difference.replaced else kind,
                input_diff=path not in difference.drifted,
            )
            for path, kind in plain.items()
        },
    )


def _plain(value: PropertyValue) -> Any:
    inner = value.value
    if isinstance(inner, float) and inner.is_integer():
        return int(inner)
    if isinstance(inner, Mapping):
        return {key: _plain(item) for key, item in inner.items()}
    if isinstance(inner, Sequence) and not isinstance(inner, str):
        return [_plain(item) for item in inner]
    return inner


def _value(item: Any) -> PropertyValue:
    if isinstance(item, int) and not isinstance(item, bool):
        return PropertyValue(float(item))
    if isinstance(item, dict):
        return PropertyValue({key: _value(inner) for key, inner in item.items()})
    if isinstance(item, list):
        return PropertyValue([_value(inner) for inner in item])
    return PropertyValue(item)


if __name__ == "__main__":
    main()
