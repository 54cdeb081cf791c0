"""CPU and memory of the containers somebody looks at, measured once a second however many look.

Owns the last minute of each container that is on a page. Measures only when asked: without a looker, nothing
is asked of the engine. All lookers wake at the same moments; the first of them measures for all.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from weakref import WeakSet

from containers_app.rates import memory_used, usage
from containers_app.samples import samples
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, NotFound
from webdock.engines.moments import moment

PERIOD_S = 1.0  # between two measurements
ONE_BY_ONE = 2  # periods between two, on an engine that has to be asked about each container by itself
TIMEOUT_S = 5.0  # of one measurement
KEPT_POINTS = 60  # of one container: a minute
KEPT_CONTAINERS = 1000
MEMORY_BITS = 11  # of a number of bytes: less than a line or three digits show

Usage = list[int]  # [nanoseconds since 1970, nanoseconds of processor time, bytes, bytes allowed]
Point = list[float]  # [percent of one CPU, bytes]


@dataclass
class Gauge:
    """The recent past of one container."""

    points: deque[Point] = field(default_factory=lambda: deque(maxlen=KEPT_POINTS))
    seen: Usage | None = None  # the engine's newest, for the next difference
    beat: int = -1  # when it was measured last
    moved: int = -1  # when it last was another than before

    def take(self, now: Usage | None, beat: int) -> None:
        """One point more; without a measurement it does not run, and what was is forgotten."""
        before, self.seen, self.beat = self.seen, now, beat
        if now is None:
            if self.points:
                self.points.clear()
                self.moved = beat
        elif before is not None and now[0] > before[0]:  # one measurement says nothing of a rate
            point = [_percent(before, now), coarse(now[2])]
            if not self.points or point != self.points[-1]:
                self.moved = beat
            self.points.append(point)


def _percent(before: Usage, now: Usage) -> float:
    return round(max(0, now[1] - before[1]) / (now[0] - before[0]) * 100, 1)


def coarse(count: int) -> int:
    """The number without what nobody sees of it, so that only what is seen counts as a change; pure."""
    less = max(0, count.bit_length() - MEMORY_BITS)
    return count >> less << less


class Gauges:
    """All of them, newest use last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Gauge] = OrderedDict()
        self._wanted: dict[Hashable, list[str]] = {}  # by looker
        self._lock = asyncio.Lock()  # the second looker waits for what the first one measures
        self._one_by_one: WeakSet[EngineClient] = WeakSet()  # engines without the question about many
        self._away = -1  # the period in which the engine last gave no answer

    def beat(self) -> int:
        """Which period it is."""
        return int(asyncio.get_running_loop().time() / PERIOD_S)

    async def next_beat(self) -> None:
        """Until the next period begins; the same moment for everybody."""
        await asyncio.sleep((self.beat() + 1) * PERIOD_S - asyncio.get_running_loop().time())

    def leave(self, looker: Hashable) -> None:
        self._wanted.pop(looker, None)

    async def look(self, client: EngineClient, looker: Hashable, ids: list[str]) -> bool:
        """See that these were measured in this period, and with them what all others look at; False when the
        engine does not answer."""
        self._wanted[looker] = ids
        asked = self.beat()
        async with self._lock:
            beat = self.beat()
            if self._away >= asked:
                return False  # another one waited for it meanwhile
            every = dict.fromkeys(id for wanted in self._wanted.values() for id in wanted)
            step = ONE_BY_ONE if client in self._one_by_one else 1
            late = [id for id in every if beat - self._kept.setdefault(id, Gauge()).beat >= step]
            if late:
                found = await self._ask(client, late)
                if found is None:
                    self._away = self.beat()
                    return False
                for id in late:
                    self._kept[id].take(found.get(id), beat)
            for id in every:
                self._kept.move_to_end(id)
            while len(self._kept) > max(KEPT_CONTAINERS, len(every)):
                self._kept.popitem(last=False)
        return True

    async def _ask(self, client: EngineClient, ids: list[str]) -> dict[str, Usage] | None:
        """None when the engine does not answer: nothing is known, which is not nothing running."""
        try:
            if client not in self._one_by_one:
                async with asyncio.timeout(TIMEOUT_S):
                    return await client.container_usage(ids)
        except NotFound:
            self._one_by_one.add(client)
        except (EngineError, TimeoutError):
            return None
        found = {}
        for id, sample in (await samples(client, ids)).items():
            if at := moment(sample.get("read")):
                limit = int((sample.get("memory_stats") or {}).get("limit") or 0)
                found[id] = [int(at.timestamp() * 1e9), usage(sample), memory_used(sample), limit]
        return found

    def past(self, ids: Iterable[str]) -> dict[str, list[Point]]:
        """The kept points of each of these, newest last; none of what does not run."""
        return {id: list(kept.points) for id in ids if (kept := self._kept.get(id)) and kept.points}

    def news(self, ids: list[str], since: int) -> list[list[float]]:
        """[its place in the list, percent, bytes] of each whose newest point is another than the one before,
        [its place] alone of what has ended; after that period."""
        found: list[list[float]] = []
        for at, id in enumerate(ids):
            if (kept := self._kept.get(id)) and kept.moved > since:
                found.append([at, *kept.points[-1]] if kept.points else [at])
        return found


gauges = Gauges()
