"""The engine's statistics of containers, asked for in one way: by gauges, histories and metrics.

Owns how many are asked for side by side, how long one may take, and what was seen in the last seconds: the
next to ask gets that. Computes nothing.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from containers_app.rates import running
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError

AT_ONCE = 8  # requests to the engine side by side
TIMEOUT_S = 5.0  # of one
FRESH_S = 1.5  # younger than this, a sample serves the next one who asks too

Sample = dict[str, Any]

_seen: dict[str, tuple[float, Sample]] = {}  # by id: when, in monotonic seconds, and what


async def samples(client: EngineClient, ids: list[str], within_s: float | None = None) -> dict[str, Sample]:
    """The newest sample of each of these that runs; what cannot be measured, or not in time, is left out."""
    now = time.monotonic()
    for id in [id for id, (at, _sample) in _seen.items() if now - at >= FRESH_S]:
        del _seen[id]
    found = {id: _seen[id][1] for id in ids if id in _seen}
    slots = asyncio.Semaphore(AT_ONCE)

    async def ask(id: str) -> None:
        async with slots:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    sample = await client.container_stats_once(id, one_shot=True)
            except (EngineError, TimeoutError):
                return
        if running(sample):
            found[id] = sample
            _seen[id] = time.monotonic(), sample

    try:
        async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
            for id in ids:
                if id not in found:
                    tasks.create_task(ask(id))
    except TimeoutError:
        pass
    return found
