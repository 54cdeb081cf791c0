"""Making images last: what was fetched is written to the disk behind the pull, not in front of its end.

An image may be used at once; until everything it is made of was synced, its record says in which boot of
the machine it came. After a crash of the machine such images are verified before anything uses them.
"""

from __future__ import annotations

import asyncio
import logging

from runtime.api.errors import EngineError
from runtime.images.store import ImageStore
from runtime.images.threads import to_the_end
from runtime.snapshots.base import Snapshotter

DELAY_S = 1.0  # several images that come together are synced together
LAST_S = 20.0  # what the end of the engine waits for

log = logging.getLogger(__name__)


class Settler:
    """Syncs behind the work and says so in the records."""

    def __init__(self, store: ImageStore, snapshots: Snapshotter) -> None:
        self._store = store
        self._snapshots = snapshots
        self._task: asyncio.Task[None] | None = None
        self._again = False

    def later(self) -> None:
        """There is something new to make last."""
        self._again = True
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._again:
                await asyncio.sleep(DELAY_S)
                await self._settle()
        finally:
            self._task = None

    async def _settle(self) -> None:
        self._again = False
        unsettled = self._store.unsettled()
        try:
            await to_the_end(self._snapshots.sync)
            await self._store.settle(unsettled)
        except (EngineError, OSError) as error:
            log.error("images cannot be synced to the disk: %s", error)

    async def close(self) -> None:
        """Sync what is left; gives up after a while, as the next start can tell."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._store.unsettled():
            try:
                async with asyncio.timeout(LAST_S):
                    await self._settle()
            except TimeoutError:
                log.warning("images were not yet synced to the disk when the engine ended")
