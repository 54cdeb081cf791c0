"""CPU and memory of the containers somebody looks at, measured once however many look.

Owns the last minutes of each container that is on a page. Measures only when asked: without a looker, nothing
is asked of the engine.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from containers_app.rates import rates
from containers_app.samples import Sample, samples
from runtime.api.client import EngineClient

PERIOD_S = 2.0  # between two measurements
KEPT_POINTS = 60  # of one container: two minutes
KEPT_CONTAINERS = 1000

Point = list[float]  # [percent of one CPU, bytes, limit in bytes]


@dataclass
class Gauge:
    """The recent past of one container."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=KEPT_POINTS))
    sample: Sample | None = None  # the engine's newest, for the next difference

    def take(self, sample: Sample | None) -> None:
        """One point more; without a sample it does not run, and what was is forgotten."""
        before, self.sample = self.sample, sample
        if sample is None:
            self.points.clear()
        elif before is not None and before is not sample:  # one sample says nothing of a rate
            found = rates(before, sample)
            self.points.append([found["cpu"], found["memory"], found["memory_limit"]])


class Gauges:
    """All of them, newest use last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Gauge] = OrderedDict()
        self._lock = asyncio.Lock()  # the second looker waits for what the first one measures

    async def measure(self, client: EngineClient, ids: list[str]) -> dict[str, list[Point]]:
        """The kept points of each of these that runs, newest last; what cannot be measured is left out."""
        async with self._lock:
            found = await samples(client, ids)
            for id in ids:
                gauge = self._kept.setdefault(id, Gauge())
                self._kept.move_to_end(id)
                gauge.take(found.get(id))
            while len(self._kept) > KEPT_CONTAINERS:
                self._kept.popitem(last=False)
            return {id: list(kept.points) for id in ids if (kept := self._kept.get(id)) and kept.points}


gauges = Gauges()
