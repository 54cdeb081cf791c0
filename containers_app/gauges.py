"""CPU and memory of the containers somebody looks at, measured once however many look.

Owns the last minutes of each container that is on a page. Measures only when asked: without a looker, nothing
is asked of the engine.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from containers_app.rates import rates, running
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError

PERIOD_S = 2.0  # between two measurements
FRESH_S = 0.75 * PERIOD_S  # younger than this, a measurement serves the next looker too
KEPT_POINTS = 60  # of one container: two minutes
KEPT_CONTAINERS = 1000
AT_ONCE = 8  # requests to the engine side by side
TIMEOUT_S = 5.0

Point = list[float]  # [percent of one CPU, bytes, limit in bytes]


@dataclass
class Gauge:
    """The recent past of one container."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=KEPT_POINTS))
    sample: dict[str, Any] | None = None  # the engine's newest, for the next difference
    measured: float = 0.0  # monotonic seconds


class Gauges:
    """All of them, newest use last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Gauge] = OrderedDict()
        self._lock = asyncio.Lock()  # the second looker waits for what the first one measures

    async def measure(self, client: EngineClient, ids: list[str]) -> dict[str, list[Point]]:
        """The kept points of each of these that runs, newest last; what cannot be measured is left out."""
        async with self._lock:
            now = time.monotonic()
            slots = asyncio.Semaphore(AT_ONCE)
            async with asyncio.TaskGroup() as tasks:
                for id in ids:
                    gauge = self._kept.setdefault(id, Gauge())
                    self._kept.move_to_end(id)
                    if now - gauge.measured >= FRESH_S:
                        tasks.create_task(self._look(client, id, gauge, slots))
            while len(self._kept) > KEPT_CONTAINERS:
                self._kept.popitem(last=False)
            return {id: list(kept.points) for id in ids if (kept := self._kept.get(id)) and kept.points}

    async def _look(self, client: EngineClient, id: str, gauge: Gauge, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    sample = await client.container_stats_once(id, one_shot=True)
            except (EngineError, TimeoutError):
                sample = {}
        gauge.measured = time.monotonic()
        if not running(sample):
            gauge.points.clear()
            gauge.sample = None
            return
        before, gauge.sample = gauge.sample, sample
        if before is None:
            return  # one sample says nothing of a rate
        found = rates(before, sample)
        gauge.points.append([found["cpu"], found["memory"], found["memory_limit"]])


gauges = Gauges()
