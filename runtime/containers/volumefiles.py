"""Files of a volume: listed, copied out and in as archives, and copied into a new volume.

The work is done by the process that copies files of containers, locked into the volume's directory, so links
in it, however a container changes them meanwhile, lead nowhere else. A volume with mount options is mounted
for the while.

Spec: our own endpoints, docs/engine-api.md; archives as in Docker API 1.47, ContainerArchive.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

from runtime.containers.copying import Work
from runtime.containers.rooms import Rooms

ENTRIES_MAX = 2000  # of one directory in a listing; the answer tells how many there are
ROOT = "/"

Body = dict[str, Any]


class VolumeFiles:
    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def stat(self, name: str, path: str) -> Body:
        """Docker's PathStat. Raises: NotFound, Conflict (nothing is mounted)."""
        async with AsyncExitStack() as stack:
            work = await self._begin(stack, name, {"work": "stat", "path": path})
            return await work.first_word(_missing(name, path))

    async def list(self, name: str, path: str) -> Body:
        """{"Path", "Total", "Entries": [VolumeEntry, ...]} of a directory, by name; links in the path lead
        where they lead inside the volume.

        Raises: NotFound, InvalidArgument (not a directory), Conflict (nothing is mounted).
        """
        job = {"work": "list", "path": path, "entries_max": ENTRIES_MAX}
        async with AsyncExitStack() as stack:
            work = await self._begin(stack, name, job)
            found = await work.first_word(_missing(name, path))
            lines = b"".join([piece async for piece in work.output(stack.pop_all())])
        entries = [json.loads(line) for line in lines.splitlines()]
        return {"Path": found["path"], "Total": found["total"], "Entries": entries}

    async def get(self, name: str, path: str) -> tuple[Body, AsyncGenerator[bytes, None]]:
        """(PathStat, tar archive); of the volume as a whole with its own owner and mode as member "./".

        Close the iterator to end early. Raises: NotFound, Conflict (nothing is mounted).
        """
        async with AsyncExitStack() as stack:
            work = await self._begin(stack, name, {"work": "get", "path": path, "own": True})
            described = await work.first_word(_missing(name, path))
            return described, work.output(stack.pop_all())

    async def put(self, name: str, path: str, data: AsyncIterator[bytes], *, careful: bool) -> None:
        """Extract an archive into a directory of the volume.

        careful: refuse to replace a directory by something else and the other way round.
        Raises: NotFound, InvalidArgument, Forbidden (read-only), Conflict (nothing is mounted), Internal.
        """
        async with AsyncExitStack() as stack:
            work = await self._begin(stack, name, _putting(path, careful=careful))
            await work.first_word(_missing(name, path))
            await work.input(data, _missing(name, path))

    async def clone(self, source: str, target: str, labels: Mapping[str, str] | None) -> Body:
        """Make the volume ``target`` with everything that is in ``source``; nobody mounts it before.

        Raises: NotFound, InvalidArgument, Conflict (the name is taken), Internal.
        """
        async with AsyncExitStack() as stack:
            reading = await self._begin(stack, source, {"work": "get", "path": ROOT, "own": True})
            await reading.first_word(_missing(source, ROOT))
            place = await stack.enter_async_context(self._rooms.volumes.filling(target, labels))
            writing = await self._work(stack, place, _putting(ROOT, careful=True))
            await writing.first_word(_missing(target, ROOT))
            async with aclosing(reading.output(AsyncExitStack())) as chunks:
                await writing.input(chunks, _missing(target, ROOT))
        return await self._rooms.volumes.inspect(target)

    async def _begin(self, stack: AsyncExitStack, name: str, job: Body) -> Work:
        place = await stack.enter_async_context(self._rooms.volumes.borrowed(name))
        return await self._work(stack, place, job)

    async def _work(self, stack: AsyncExitStack, place: Path, job: Body) -> Work:
        mapping = self._rooms.mapping
        if mapping is not None and mapping.holds(place):
            job |= {"root": str(mapping.seen(place)), "userns": str(mapping.userns), "base": mapping.base}
        else:  # what is mounted from elsewhere has the ids it has
            job |= {"root": str(place), "userns": "", "base": 0}
        work = await Work.start(job | {"binds": []})
        stack.push_async_callback(work.end)
        return work


def _putting(path: str, *, careful: bool) -> Body:
    return {
        "work": "put",
        "path": path,
        "own": True,
        "careful": careful,
        "owner": None,
        "root_read_only": False,
        "read_only": [],
        "writable": [],
    }


def _missing(name: str, path: str) -> str:
    return f"Could not find the file {path} in volume {name}"
