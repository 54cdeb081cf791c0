"""Root file systems that several need at once: mounted for the first, unmounted after the last."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from runtime.containers.roots import Roots

PATIENCE_S = 60.0


class Snapshots:
    """Counts what is mounted; each step takes until it is let through."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.begun = threading.Semaphore(0)
        self.through = threading.Semaphore(0)

    def _step(self, what: str) -> None:
        self.begun.release()
        assert self.through.acquire(timeout=PATIENCE_S)
        self.done.append(what)

    def rootfs(self, id: str) -> Path:
        return Path("/roots", id)

    def mount(self, id: str, _mapping: object) -> Path:
        self._step("mount")
        return self.rootfs(id)

    def unmount(self, _id: str) -> None:
        self._step("unmount")


async def begun(snapshots: Snapshots) -> None:
    assert await asyncio.to_thread(snapshots.begun.acquire, timeout=PATIENCE_S)


async def test_who_waited_for_an_unmount_and_who_comes_later_share_one_mount() -> None:
    snapshots: Any = Snapshots()
    roots = Roots(snapshots)
    snapshots.through.release()
    await roots.take("a", None)
    await begun(snapshots)
    leaving = asyncio.create_task(roots.drop("a"))
    await begun(snapshots)
    waiting = asyncio.create_task(roots.take("a", None))
    await asyncio.sleep(0)  # it stands at the lock now
    snapshots.through.release()
    await leaving
    await begun(snapshots)  # the waiting one mounts
    later = asyncio.create_task(roots.take("a", None))
    await asyncio.sleep(0)
    for _ in range(4):
        snapshots.through.release()
    assert await waiting == await later
    assert snapshots.done == ["mount", "unmount", "mount"]
    await roots.drop("a")
    assert snapshots.done == ["mount", "unmount", "mount"]
    await roots.drop("a")
    assert snapshots.done == ["mount", "unmount", "mount", "unmount"]
