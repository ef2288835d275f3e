# pyright: reportMissingImports=false, reportPrivateUsage=false
"""Airflow's execution API, by which a task's process reports and asks; built once, before the first task.

Every task's process inherits it. As Airflow builds it, that takes longer than all the rest of a small DAG's run, for
reasons that a server has and this program has not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator
from contextlib import contextmanager

import httpx
from airflow.sdk.api.datamodels._generated import API_VERSION

# Integrations with web frameworks, which svcs imports when they are installed; the API is an application of FastAPI.
UNUSED_INTEGRATIONS = ("svcs.aiohttp", "svcs.flask")


def warm_execution_api() -> None:
    """Let Airflow build its execution API, and answer once, in this process."""
    with _without(*UNUSED_INTEGRATIONS):
        from airflow.api_fastapi.execution_api import app as _app  # noqa: F401  # pyright: ignore[reportUnusedImport]
    _serve_only_this_version()
    from airflow.sdk.execution_time.supervisor import in_process_api_server

    async def ask_once() -> None:
        transport = in_process_api_server().atransport
        async with httpx.AsyncClient(transport=transport, base_url="http://in-process.invalid") as client:
            await client.get("/variables/trackbed")

    asyncio.run(ask_once())


def _serve_only_this_version() -> None:
    """Leave out the API's former versions, which only workers of former versions of Airflow ask for.

    There is one set of routes and models per version otherwise, nine at the time of writing.
    """
    from airflow.api_fastapi.execution_api import versions
    from airflow.api_fastapi.execution_api.routes import execution_api_router
    from cadwyn import HeadVersion, Version, VersionBundle
    from cadwyn.route_generation import _DELETED_ROUTE_TAG

    if str(versions.bundle.versions[0].value) != API_VERSION:  # then the tasks need one that is made from the newest
        return
    # Routes that only former versions have: cadwyn insists that some version takes them.
    execution_api_router.routes[:] = [
        route for route in execution_api_router.routes if _DELETED_ROUTE_TAG not in getattr(route, "tags", ())
    ]
    versions.bundle = VersionBundle(HeadVersion(), Version(API_VERSION))


@contextmanager
def _without(*modules: str) -> Generator[None]:
    """Let imports of some modules fail for a while, as if they were not installed."""
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # pyright: ignore[reportArgumentType, reportCallIssue]: None is import's own mark
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
