"""/ws/jobs/: the newest jobs once, then each that changes, at most five times a second."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from django.conf import settings

from webdock.engines.consumers import SocketConsumer
from webdock.jobs import rows
from webdock.jobs.running import LiveJob, board
from webdock.jobs.sight import sees
from webdock.jobs.watch import BEAT_S
from webdock.people.standing import standing

PROGRESS_S = 0.2


class JobsConsumer(SocketConsumer):
    """Every job the person may see, whoever began it."""

    right = "view"

    async def run(self) -> None:
        changed: dict[str, LiveJob] = {}
        wake = asyncio.Event()

        def note(job: LiveJob) -> None:
            changed[job.id] = job
            wake.set()

        stop = board().watch(note)
        try:
            await self._send_all()
            if settings.REDIS_URL:
                self.tasks.create_task(self._follow_others(), name="jobs of other processes")
            while True:
                await wake.wait()
                wake.clear()
                who = await sync_to_async(standing)(self.user)
                for id in list(changed):
                    job = changed.pop(id)
                    if sees(who, job):
                        await self.send_json({"type": "job", **job.as_dict()})
                await asyncio.sleep(PROGRESS_S)
        finally:
            stop()

    async def _send_all(self) -> None:
        who = await sync_to_async(standing)(self.user)
        jobs = {one["id"]: one for one in await rows.recent(who)}
        jobs |= {one.id: one.as_dict() for one in board().settled() if sees(who, one)}
        newest = sorted(jobs.values(), key=lambda one: str(one["started"]), reverse=True)
        await self.send_json({"type": "jobs", "jobs": newest})

    async def _follow_others(self) -> None:
        """Jobs of other web processes are known by their rows alone."""
        known: dict[str, dict[str, Any]] = {}
        while True:
            await asyncio.sleep(BEAT_S)
            who = await sync_to_async(standing)(self.user)
            for one in await rows.recent(who, others_only=True):
                if known.get(one["id"]) != one:
                    known[one["id"]] = one
                    await self.send_json({"type": "job", **one})
