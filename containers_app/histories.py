"""The last hour of every running container: what it used, measured now and then, whoever looks.

Owns a bounded ring per container in this process; a restart of it forgets. Charts begin with it.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque

from asgiref.sync import sync_to_async

from containers_app.models import Container
from containers_app.rates import rates
from containers_app.samples import Sample, samples
from runtime.api.client import EngineClient
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine

PERIOD_S = 15.0
PER_CONTAINER_S = 0.3  # with many the period grows: each question costs the engine some milliseconds
KEPT_POINTS = 240  # an hour, or more when the period grew
CONTAINERS_MAX = 300  # measured at most
KEYS = ("at", "cpu", "memory", "memory_limit", "rx", "tx", "read", "write", "pids")


class Histories:
    """All of them, by the container's id."""

    def __init__(self) -> None:
        self._points: dict[str, deque[array[float]]] = {}
        self._samples: dict[str, Sample] = {}  # the newest of each, for the next difference

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
        found = await samples(client, ids)
        for id in ids:
            self._take(id, found.get(id))

    def _take(self, id: str, sample: Sample | None) -> None:
        before = self._samples.pop(id, None)
        if sample is None:
            return
        self._samples[id] = sample
        if before is not None:  # one sample says nothing of a rate
            rate = rates(before, sample)
            points = self._points.setdefault(id, deque(maxlen=KEPT_POINTS))
            points.append(array("d", (float(rate[key]) for key in KEYS)))


histories = Histories()
