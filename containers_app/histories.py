"""The last hour of every running container: what it used, measured now and then, whoever looks.

Owns a bounded ring per container in this process; a restart of it forgets. Charts begin with it.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from typing import Any

from asgiref.sync import sync_to_async

from containers_app.models import Container
from containers_app.rates import rates, running
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine

PERIOD_S = 15.0
PER_CONTAINER_S = 0.3  # with many the period grows: each question costs the engine some milliseconds
KEPT_POINTS = 240  # an hour, or more when the period grew
CONTAINERS_MAX = 300  # measured at most
AT_ONCE = 4
TIMEOUT_S = 5.0
KEYS = ("at", "cpu", "memory", "memory_limit", "rx", "tx", "read", "write", "pids")


class Histories:
    """All of them, by the container's id."""

    def __init__(self) -> None:
        self._points: dict[str, deque[array[float]]] = {}
        self._samples: dict[str, dict[str, Any]] = {}  # the newest of each, for the next difference

    def of(self, id: str) -> list[dict[str, float]]:
        """The points kept of this container, oldest first, as ``rates`` gives them."""
        return [dict(zip(KEYS, point, strict=True)) for point in self._points.get(id, ())]

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            engine = await sync_to_async(current_engine)()
            ids = await self._running(engine.pk)
            await self.measure(client_of(engine.alias), ids)
            await asyncio.sleep(max(PERIOD_S, len(ids) * PER_CONTAINER_S))

    async def _running(self, engine: int) -> list[str]:
        rows = Container.everything.filter(engine=engine, removed_at=None, state="running")
        newest = rows.order_by("-started_at").values_list("container_id", flat=True)[:CONTAINERS_MAX]
        return [id async for id in newest]

    async def measure(self, client: EngineClient, ids: list[str]) -> None:
        """One point more for each of these; all others are forgotten in time."""
        known = set(ids)
        for gone in [id for id in self._samples if id not in known]:
            del self._samples[gone]
        for gone in [id for id in self._points if id not in known][CONTAINERS_MAX:]:
            del self._points[gone]
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            for id in ids:
                tasks.create_task(self._look(client, id, slots))

    async def _look(self, client: EngineClient, id: str, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    sample = await client.container_stats_once(id, one_shot=True)
            except (EngineError, TimeoutError):
                return
        if not running(sample):
            self._samples.pop(id, None)
            return
        before = self._samples.get(id)
        self._samples[id] = sample
        if before is not None:  # one sample says nothing of a rate
            found = rates(before, sample)
            points = self._points.setdefault(id, deque(maxlen=KEPT_POINTS))
            points.append(array("d", (float(found[key]) for key in KEYS)))


histories = Histories()
