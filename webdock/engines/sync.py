"""A task per engine: watch its events, list, and give ids to the projections; again after every break.

Knows nothing about the fields of other apps: each app's ``ready()`` registers its projection here. An event
is a reason to look at one id, never data; the reader of events only notes ids and never waits for anything.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Protocol

from django.conf import settings
from django.utils import timezone

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, EngineUnreachable
from webdock.engines.clients import client as client_of
from webdock.engines.documents import storable
from webdock.engines.hints import hint
from webdock.engines.models import Engine
from webdock.engines.threads import in_thread
from webdock.engines.wording import explain

RELIST_S = 60.0  # a lost event costs at most this long
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.25, 15.0
PENDING_MAX = 10_000  # noted ids; past it everything is listed again
BATCH = 64  # ids looked at together
CONNECT_TIMEOUT_S = 10.0
LIST_TIMEOUT_S = 120.0

logger = logging.getLogger("webdock.engines")


class Projection(Protocol):
    """What an app hands to the sync: how to see its objects and write its rows."""

    kind: str  # "container": the hint's name
    types: frozenset[str]  # event types worth subscribing to
    actions: frozenset[str]  # and their actions

    def ids_in(self, event: dict[str, Any]) -> Iterable[str]:
        """The ids (or references) an event gives reason to look at; pure."""

    async def relist(self, engine: Engine, client: EngineClient, *, full: bool) -> bool:
        """List everything, look at what differs (``full``: at everything); True when rows changed."""

    async def look(self, engine: Engine, client: EngineClient, ids: list[str]) -> bool:
        """Inspect these and write their rows; one that is gone gets its tombstone. True when rows changed."""


_projections: list[Projection] = []


def register(projection: Projection) -> None:
    """Called once by each app when it is ready."""
    if all(known.kind != projection.kind for known in _projections):
        _projections.append(projection)


class Pending:
    """Ids noted by the reader and taken by the worker, each once, in order of arrival; pure."""

    def __init__(self, maximum: int = PENDING_MAX) -> None:
        self.maximum = maximum
        self.overflowed = False
        self._ids: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()

    def note(self, kind: str, id: str) -> None:
        if len(self._ids) >= self.maximum:
            self._ids.clear()
            self.overflowed = True
        self._ids[kind, id] = None
        self._wake.set()

    def take(self, limit: int = BATCH) -> dict[str, list[str]]:
        """Up to ``limit`` ids by kind."""
        taken: dict[str, list[str]] = {}
        for kind, id in list(self._ids)[:limit]:
            del self._ids[kind, id]
            taken.setdefault(kind, []).append(id)
        if not self._ids:
            self._wake.clear()
        return taken

    async def wait(self, timeout_s: float) -> bool:
        """True when there is something to take, False after the time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        return True


class EngineSync:
    """Follows one engine until cancelled."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.synced = asyncio.Event()  # set while rows are known to follow the engine

    async def run(self) -> None:
        """Follow, and after every break wait a little longer, up to a quarter of a minute."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self.follow()
                why = "the engine ended the event stream"
            except* EngineError as group:
                why = explain(_first(group))
            except* Exception as group:  # the sync of one engine must outlive whatever one answer holds
                logger.exception("sync of %s failed", self.alias, exc_info=group)
                why = "the sync failed; the log of the web process says how"
            finally:
                self.synced.clear()
            await self._lost(why)
            if asyncio.get_running_loop().time() - began > BACKOFF_MAX_S:
                backoff_s = BACKOFF_FIRST_S
            await asyncio.sleep(backoff_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads reconnects
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)

    async def follow(self) -> None:
        """One connection: subscribe, then list, then apply events as they come.

        Raises: EngineError, in a group, when the engine goes away.
        """
        client = client_of(self.alias)
        async with _within(CONNECT_TIMEOUT_S, "connecting"):
            info, version = await client.info(), await client.version()
        filters = {
            "type": sorted(set().union(*(one.types for one in _projections))),
            "event": sorted(set().union(*(one.actions for one in _projections))),
        }
        engine = await _met(self.alias, info, version)
        await hint("engine")
        pending = Pending()
        async with client.events(filters=filters) as events:
            async with asyncio.TaskGroup() as tasks:
                worker = tasks.create_task(self._work(engine, client, pending), name=f"sync {self.alias}")
                async for event in events:
                    for one in _projections:
                        for id in one.ids_in(event):
                            pending.note(one.kind, id)
                worker.cancel()

    async def _work(self, engine: Engine, client: EngineClient, pending: Pending) -> None:
        loop = asyncio.get_running_loop()
        await self._relist(engine, client, full=True)
        self.synced.set()
        relist_at = loop.time() + RELIST_S
        while True:
            if await pending.wait(max(0.0, relist_at - loop.time())):
                taken = pending.take()
                for one in _projections:
                    if ids := taken.get(one.kind):
                        async with _within(LIST_TIMEOUT_S, f"looking at {one.kind}s"):
                            if await one.look(engine, client, ids):
                                await hint(one.kind)
            if pending.overflowed or loop.time() >= relist_at:
                pending.overflowed = False
                await self._relist(engine, client, full=False)
                await _seen(engine)
                relist_at = loop.time() + RELIST_S

    async def _relist(self, engine: Engine, client: EngineClient, *, full: bool) -> None:
        for one in _projections:
            async with _within(LIST_TIMEOUT_S, f"listing {one.kind}s"):
                changed = await one.relist(engine, client, full=full)
            if changed:
                await hint(one.kind)

    async def _lost(self, why: str) -> None:
        if await _parted(self.alias, why):
            logger.warning("engine %s: %s", self.alias, why)
            await hint("engine")


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[None]:
    """Bound a wait on the engine. Raises: EngineUnreachable."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise EngineUnreachable(f"{what} took over {seconds:g} s") from None


def _first(group: BaseExceptionGroup[EngineError]) -> EngineError:
    """The first error of a group that is one, however deep."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not isinstance(error, EngineError):
        raise RuntimeError(f"expected an engine error, got {error!r}")
    return error


@in_thread
def _met(alias: str, info: dict[str, Any], version: dict[str, Any]) -> Engine:
    native = "webdock" in str(version.get("Platform", {}).get("Name", "")).lower()
    engine, _made = Engine.objects.update_or_create(
        alias=alias,
        defaults={
            "connected": True,
            "error": "",
            "last_seen": timezone.now(),
            "info": storable(info),
            "version": str(version.get("Version", ""))[:64],
            "kind": Engine.Kind.NATIVE if native else Engine.Kind.DOCKER,
        },
    )
    return engine


@in_thread
def _seen(engine: Engine) -> None:
    Engine.objects.filter(pk=engine.pk).update(last_seen=timezone.now())


@in_thread
def _parted(alias: str, why: str) -> bool:
    """Note that an engine is away; True when that is news."""
    engine, made = Engine.objects.get_or_create(alias=alias, defaults={"error": why})
    if made or engine.connected or engine.error != why:
        Engine.objects.filter(pk=engine.pk).update(connected=False, error=why)
        return True
    return False


async def supervise() -> None:
    """Follow every engine of the settings until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for alias in settings.ENGINES:
            tasks.create_task(EngineSync(alias).run(), name=f"supervise {alias}")
