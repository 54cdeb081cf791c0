"""The jobs' share of a web process: fails what an earlier one left running, forgets old rows.

With several web processes (Redis) it also gives signs of life, and hears cancels asked for elsewhere.
"""

from __future__ import annotations

import asyncio

from django.conf import settings

from webdock.jobs import rows
from webdock.jobs.running import board

ALONE_S = 3600.0
BEAT_S = 3.0
BEATS_BETWEEN_CLEANING = 1200


async def watch() -> None:
    """Until cancelled."""
    beats = 0
    while True:
        if beats % BEATS_BETWEEN_CLEANING == 0:
            await rows.forget_old()
        await beat()
        beats += 1 if settings.REDIS_URL else BEATS_BETWEEN_CLEANING
        await asyncio.sleep(BEAT_S if settings.REDIS_URL else ALONE_S)


async def beat() -> None:
    """Once, now."""
    await rows.fail_lost()
    if not settings.REDIS_URL:
        return
    for job in board().running():
        await rows.write(job)
    for id in await rows.asked_to_cancel():
        board().cancel(id)
