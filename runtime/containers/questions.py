"""Questions about containers: inspect, list, who uses what, processes, statistics, changed files.

Spec: Docker API 1.47, ContainerInspect, ContainerList, ContainerTop, ContainerStats, ContainerChanges.
"""

from __future__ import annotations

import asyncio
import builtins
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from runtime import cgroups
from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound
from runtime.containers import inspect, listing, shells, stats, top, usage
from runtime.containers.core import tell
from runtime.containers.create import Creator
from runtime.containers.exec import Execs
from runtime.containers.record import Record
from runtime.containers.rooms import Rooms
from runtime.containers.spec import DEFAULT_PATH
from runtime.containers.state import ACTIVE, ALIVE, State
from runtime.containers.table import Table, WaitResult
from runtime.containers.times import rfc3339

SAMPLE_S = 1.0  # between two samples of statistics

Body = dict[str, Any]
Filters = dict[str, list[str]]


class Questions:
    def __init__(self, rooms: Rooms, table: Table, creator: Creator, execs: Execs) -> None:
        self._rooms = rooms
        self._table = table
        self._creator = creator
        self._execs = execs

    async def inspect(self, ref: str, size: bool = False) -> Body:
        record = self._table.find(ref).record
        snapshots = self._rooms.snapshots
        log_path = self._rooms.log_path(record.id)
        body = inspect.describe(
            record,
            driver=snapshots.name,
            directories=self._directories(record),
            etc=self._rooms.etc(record.id, "hosts").parent,
            log_path=None if record.host_config["LogConfig"]["Type"] == "none" else log_path,
            exec_ids=self._execs.running(record.id),
        )
        if size:
            body |= await self._sizes(record)
        return body

    async def list(
        self,
        *,
        all: bool = False,
        limit: int | None = None,
        size: bool = False,
        filters: Filters | None = None,
    ) -> list[Body]:
        """Newest first. Raises: InvalidArgument, NotFound for a container named in a filter."""
        now_ns = time.time_ns()
        records = listing.select(
            self._table, filters or {}, self._lookups(), all=all, limit=limit, now_ns=now_ns
        )
        rows = [inspect.summarize(record, now_ns) for record in records]
        if size:
            for record, row in zip(records, rows, strict=True):
                try:
                    row |= await self._sizes(record)
                except NotFound:
                    continue  # Race: it was removed meanwhile
        return rows

    def wait(self, ref: str, condition: str) -> asyncio.Future[WaitResult]:
        """Waits from this call on. Raises: NotFound, InvalidArgument."""
        container = self._table.find(ref)
        if condition == "removed":
            return container.waiter(container.removed)
        if condition == "next-exit" or (condition in ("not-running", "") and container.active):
            return container.waiter(container.waiters)
        if condition not in ("not-running", ""):
            raise InvalidArgument(f'invalid condition: "{condition[:40]}"')
        result: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
        result.set_result(container.result())
        return result

    async def top(self, ref: str, ps_args: str) -> Body:
        """Raises: Conflict when it does not run, InvalidArgument for options ps does not take."""
        record = self._table.find(ref).record
        if record.state is State.RESTARTING:
            raise Conflict(f"Container {record.id} is restarting, wait until the container is running")
        if record.state not in ALIVE:
            raise Conflict(f"Container {record.id} is not running")
        pids = await asyncio.to_thread(cgroups.pids, self._rooms.cgroup(record))
        found = await top.processes(pids, ps_args, self._rooms.mapping if record.mapped else None)
        tell(self._rooms, record, "top")
        return found

    async def shells(self, ref: str) -> builtins.list[str]:
        """Raises: Conflict when it does not run."""
        record = self._table.find(ref).record
        if record.state not in ALIVE or record.pid <= 0:
            raise Conflict(f"Container {record.id} is not running")
        path = next((one[5:] for one in record.config["Env"] or () if one.startswith("PATH=")), DEFAULT_PATH)
        try:
            return await asyncio.to_thread(shells.find, Path(f"/proc/{record.pid}/root"), path)
        except FileNotFoundError:
            raise Conflict(f"Container {record.id} is not running") from None

    async def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Body]:
        """Samples, one per second while the container is there; zeros while it does not run.

        Without stream one sample, taken over a second unless one_shot.
        """
        container = self._table.find(ref)
        before: Body | None = None
        before_at = stats.NEVER
        if not stream and not one_shot and container.record.state in ALIVE:
            before, before_at = await self._sample(container.record)
            await asyncio.sleep(SAMPLE_S)
        while container.id in self._table:
            raw, read_at = await self._sample(container.record)
            yield stats.body(container.id, container.record.name, raw, before, read_at, before_at)
            if not stream:
                return
            before, before_at = raw, read_at
            await asyncio.sleep(SAMPLE_S)

    async def usage(self, ids: builtins.list[str]) -> dict[str, usage.Usage]:
        """What each of these uses now; ids that are none, or of one that does not run, are left out."""
        groups = {
            id: self._rooms.cgroup(found.record)
            for id in ids
            if (found := self._table.get(id)) and found.record.state in ALIVE and found.record.pid
        }
        return await asyncio.to_thread(usage.read, groups)

    async def _sample(self, record: Record) -> tuple[Body | None, str]:
        if record.state not in ALIVE or not record.pid:
            return None, stats.NEVER
        host_network = record.host_config["NetworkMode"] == "host"
        raw = await asyncio.to_thread(
            stats.read,
            self._rooms.cgroup(record),
            record.pid,
            networks=not host_network,
        )
        return raw, rfc3339(time.time_ns())

    async def changes(self, ref: str) -> builtins.list[Body]:
        """What differs from the image, by path."""
        record = self._table.find(ref).record
        found = await asyncio.to_thread(self._rooms.snapshots.changes, record.id)
        return [{"Path": path, "Kind": int(kind)} for kind, path in found]

    def using_image(self, image_id: str) -> builtins.list[tuple[str, bool]]:
        """(container id, whether it runs) of the containers made from an image."""
        return [
            (record.id, record.state in ACTIVE) for record in self._records() if record.image_id == image_id
        ]

    def using_volume(self, name: str) -> builtins.list[tuple[str, bool]]:
        """(container id, whether it runs) of the containers a volume is mounted in."""
        return [
            (record.id, record.state in ACTIVE)
            for record in self._records()
            if any(point.type == "volume" and point.name == name for point in record.mounts)
        ]

    def counts(self) -> dict[str, int]:
        """How many there are in all, and how many run, are paused, and are stopped."""
        states = [container.record.state for container in self._table]
        running = sum(state in (State.RUNNING, State.RESTARTING) for state in states)
        paused = states.count(State.PAUSED)
        return {
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
        }

    def _records(self) -> Iterator[Record]:
        """Of all containers, those being made included."""
        yield from (container.record for container in self._table)
        yield from tuple(self._creator.making.values())

    def _lookups(self) -> listing.Lookups:
        images, networks = self._rooms.images, self._rooms.networks

        def ancestors(image_id: str) -> set[str]:
            found: set[str] = set()
            parent: str | None = image_id
            while parent and parent not in found:
                found.add(parent)
                try:
                    parent = images.get(parent).parent
                except EngineError:
                    break
            return found

        return listing.Lookups(lambda ref: images.get(ref).id, networks.find_id, ancestors)

    def _directories(self, record: Record) -> dict[str, str]:
        snapshots = self._rooms.snapshots
        try:
            lowers = [str(snapshots.layer_path(chain_id)) for chain_id in reversed(record.chain)]
            upper = snapshots.upper(record.id)
        except EngineError:
            return {}
        return {
            "LowerDir": ":".join(lowers),
            "MergedDir": str(snapshots.rootfs(record.id)),
            "UpperDir": str(upper),
            "WorkDir": str(upper.parent / "work"),
        }

    async def _sizes(self, record: Record) -> Body:
        own = await asyncio.to_thread(self._rooms.snapshots.usage, record.id)
        layers = sum(self._rooms.snapshots.layer_size(chain_id) for chain_id in record.chain)
        return {"SizeRw": own, "SizeRootFs": own + layers}
