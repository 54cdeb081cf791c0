"""Files of a container, from the engine's side: starts the copying process and carries the bytes.

Works on running containers (through their own view of the file system) and on stopped ones (their root
mounted for the while, their volumes added).

Spec: Docker API 1.47, ContainerArchive, PutContainerArchive, ContainerExport.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from runtime.containers import users
from runtime.containers.copying import Work
from runtime.containers.launch import Launcher
from runtime.containers.record import Record
from runtime.containers.rooms import Rooms
from runtime.containers.roots import Roots
from runtime.containers.state import ALIVE
from runtime.containers.table import Container
from runtime.snapshots import userns

Body = dict[str, Any]


class Archives:
    def __init__(self, rooms: Rooms, roots: Roots, launcher: Launcher) -> None:
        self._rooms = rooms
        self._roots = roots
        self._launcher = launcher

    async def stat(self, container: Container, path: str) -> Body:
        """Docker's PathStat. Raises: NotFound."""
        async with AsyncExitStack() as stack:
            work = await self._begin(stack, container, {"work": "stat", "path": path})
            return await work.first_word(_missing(container, path))

    async def get(self, container: Container, path: str) -> tuple[Body, AsyncIterator[bytes]]:
        """(PathStat, tar archive). Close the iterator to end early. Raises: NotFound."""
        async with AsyncExitStack() as stack:
            work = await self._begin(stack, container, {"work": "get", "path": path})
            described = await work.first_word(_missing(container, path))
            return described, work.output(stack.pop_all())

    async def get_from_image(self, container: Container, path: str) -> tuple[Body, AsyncIterator[bytes]]:
        """(PathStat, tar archive) of what its image has there, whatever the container did to it.

        Close the iterator to end early. Raises: NotFound.
        """
        record = container.record
        async with AsyncExitStack() as stack:
            root = await stack.enter_async_context(self._image(record))
            job = {"work": "get", "path": path, "root": str(root), "userns": "", "base": 0, "binds": []}
            work = await Work.start(job)
            stack.push_async_callback(work.end)
            missing = f"Could not find the file {path} in the image of container {record.name}"
            described = await work.first_word(missing)
            return described, work.output(stack.pop_all())

    @asynccontextmanager
    async def _image(self, record: Record) -> AsyncIterator[Path]:
        """The layers it stands on as one read-only tree."""
        with ExitStack() as stack:
            view = self._rooms.snapshots.view(record.chain)
            entering = asyncio.ensure_future(asyncio.to_thread(stack.enter_context, view))
            try:
                yield await asyncio.shield(entering)
            finally:
                await asyncio.wait([entering])  # Race: cancelled while a thread mounts it
                await asyncio.to_thread(stack.close)

    async def export(self, container: Container) -> AsyncIterator[bytes]:
        """The whole root file system without what is mounted in it."""
        async with AsyncExitStack() as stack:
            work = await self._begin(stack, container, {"work": "export"})
            await work.first_word("")
            return work.output(stack.pop_all())

    async def put(
        self, container: Container, path: str, data: AsyncIterator[bytes], *, careful: bool, own: bool
    ) -> None:
        """Extract an archive into a directory of the container.

        careful: refuse to replace a directory by something else and the other way round. own: everything is
        to belong to the container's user. Raises: NotFound, InvalidArgument, Forbidden (read-only), Internal.
        """
        record = container.record
        job = {
            "work": "put",
            "path": path,
            "careful": careful,
            "owner": None,
            "root_read_only": record.host_config["ReadonlyRootfs"],
            "read_only": [point.destination for point in record.mounts if not point.rw],
            "writable": [
                *(point.destination for point in record.mounts if point.rw),
                *(record.host_config.get("Tmpfs") or ()),
            ],
        }
        async with AsyncExitStack() as stack:
            if own and record.config["User"]:
                rootfs = await stack.enter_async_context(
                    self._roots.borrowed(record.id, self._launcher.mapping(record))
                )
                user = await asyncio.to_thread(users.resolve, rootfs, record.config["User"], None)
                job["owner"] = [user.uid, user.gid]
            work = await self._begin(stack, container, job)
            await work.first_word(_missing(container, path))
            await work.input(data, _missing(container, path))

    async def _begin(self, stack: AsyncExitStack, container: Container, job: Body) -> Work:
        record = container.record
        mapping = self._launcher.mapping(record)
        alive = record.state in ALIVE and record.pid > 0 and job["work"] != "export"
        rootfs = await stack.enter_async_context(self._roots.borrowed(record.id, mapping))
        job["root"] = f"/proc/{record.pid}/root" if alive else str(rootfs)
        job["userns"] = str(mapping.userns) if mapping else ""
        job["base"] = mapping.base if mapping else 0
        job["binds"] = []
        if not alive and job["work"] != "export":
            job["binds"] = await self._binds(stack, record)
        work = await Work.start(job)
        stack.push_async_callback(work.end)
        return work

    async def _binds(self, stack: AsyncExitStack, record: Record) -> list[Body]:
        """What a stopped container would have mounted."""
        mapping = self._launcher.mapping(record)
        binds: list[Body] = []
        for point in record.mounts:
            source = Path(point.source)
            if point.type == "volume":
                source = await self._rooms.volumes.mount(point.name, record.id, destination=point.destination)
                stack.push_async_callback(self._unmount, record, point.name)
            elif point.type != "bind":
                continue
            if point.subpath:
                source = source / point.subpath
            if not source.exists():
                continue
            idmap = ""
            if mapping is not None:
                if mapping.holds(str(source)):
                    source = mapping.seen(source)
                elif userns.mappable(source, mapping, recursive=point.recursive):
                    idmap = str(mapping.userns)
            binds.append({"source": str(source), "destination": point.destination, "idmap": idmap})
        return sorted(binds, key=lambda bind: str(bind["destination"]).count("/"))

    async def _unmount(self, record: Record, volume: str) -> None:
        if record.state not in ALIVE:
            await self._rooms.volumes.unmount(volume, record.id)


def _missing(container: Container, path: str) -> str:
    return f"Could not find the file {path} in container {container.record.name}"
