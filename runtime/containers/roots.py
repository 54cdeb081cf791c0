"""Mounted root file systems of containers, for as long as somebody needs them.

A running container needs its own; copying files in and out of a stopped one needs it for a moment. The
first to come mounts, the last to go unmounts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from weakref import WeakValueDictionary

from runtime.idmap import IdMap
from runtime.snapshots.base import Snapshotter


class Roots:
    def __init__(self, snapshots: Snapshotter) -> None:
        self._snapshots = snapshots
        self._users: dict[str, int] = {}
        # A lock is there as long as somebody holds it or waits for it: two of one container would be none.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, id: str, mapping: IdMap | None) -> Path:
        """Mount it, or share the mount that is there; `drop` it once for each time."""
        async with self._lock(id):
            if self._users.get(id):
                self._users[id] += 1
                return self._snapshots.rootfs(id)
            path = await asyncio.to_thread(self._snapshots.mount, id, mapping)
            self._users[id] = 1
            return path

    async def drop(self, id: str) -> None:
        async with self._lock(id):
            users = self._users.get(id, 0)
            if users > 1:
                self._users[id] = users - 1
                return
            self._users.pop(id, None)
            await asyncio.to_thread(self._snapshots.unmount, id)

    def adopt(self, id: str) -> None:
        """A running container of an earlier engine has its root mounted."""
        self._users[id] = self._users.get(id, 0) + 1

    @asynccontextmanager
    async def borrowed(self, id: str, mapping: IdMap | None) -> AsyncIterator[Path]:
        path = await self.take(id, mapping)
        try:
            yield path
        finally:
            await asyncio.shield(self.drop(id))

    def _lock(self, id: str) -> asyncio.Lock:
        lock = self._locks.get(id)
        if lock is None:
            lock = self._locks[id] = asyncio.Lock()
        return lock
