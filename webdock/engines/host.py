"""Numbers of the machine the web process runs on, every few seconds, the last hour kept.

For an engine elsewhere there are none: they would be of the wrong machine.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import psutil
from django.conf import settings

SAMPLE_S = 5.0
KEPT = 720  # samples: one hour

Sample = dict[str, Any]


class Host:
    """The machine's recent past. ``run`` measures; watchers are called after each sample."""

    def __init__(self) -> None:
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self._watchers: set[Callable[[Sample], None]] = set()
        self._traffic: tuple[float, int, int] | None = None
        psutil.cpu_percent(interval=None)  # counts from here

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_S)
            sample = self.measure()
            self.samples.append(sample)
            for watcher in tuple(self._watchers):
                watcher(sample)

    def latest(self) -> Sample:
        """The newest sample; measured now when there is none yet."""
        return self.samples[-1] if self.samples else self.measure()

    def watch(self, watcher: Callable[[Sample], None]) -> Callable[[], None]:
        """Call the watcher after each sample; returns what ends that."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def measure(self) -> Sample:
        """{"at" ms, "cpu_percent", "memory_used", "memory_total", "disk_used", "disk_total", "rx", "tx" B/s}.

        The disk is the one our own state lies on; what root keeps of it for itself is not ours to fill.
        """
        memory = psutil.virtual_memory()
        try:
            disk = psutil.disk_usage(str(settings.WEBDOCK_HOME))
        except OSError:
            disk = psutil.disk_usage("/")
        received, sent = self._rates()
        return {
            "at": int(time.time() * 1000),
            "cpu_percent": psutil.cpu_percent(interval=None),
            "memory_used": memory.total - memory.available,
            "memory_total": memory.total,
            "disk_used": disk.used,
            "disk_total": disk.used + disk.free,
            "rx": received,
            "tx": sent,
        }

    def _rates(self) -> tuple[int, int]:
        now = time.monotonic()
        counters = psutil.net_io_counters(pernic=True)
        outside = [one for name, one in counters.items() if name != "lo"]
        received, sent = sum(one.bytes_recv for one in outside), sum(one.bytes_sent for one in outside)
        before, self._traffic = self._traffic, (now, received, sent)
        if before is None or now <= before[0]:
            return 0, 0
        seconds = now - before[0]
        # An interface that went took its counter along; a negative rate would say nothing.
        return (
            max(0, int((received - before[1]) / seconds)),
            max(0, int((sent - before[2]) / seconds)),
        )


host = Host()


def engine_is_here() -> bool:
    """Whether the engine that pages show runs on this machine."""
    return next(iter(settings.ENGINES.values())).startswith("unix:")
