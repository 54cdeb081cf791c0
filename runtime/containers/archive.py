"""Files of a container, from the engine's side: starts the copying process and carries the bytes.

Works on running containers (through their own view of the file system) and on stopped ones (their root
mounted for the while, their volumes added).

Spec: Docker API 1.47, ContainerArchive, PutContainerArchive, ContainerExport.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from runtime.api.errors import EngineError, Forbidden, Internal, InvalidArgument, NotFound
from runtime.containers import users
from runtime.containers.launch import Launcher
from runtime.containers.record import Record
from runtime.containers.rooms import Rooms
from runtime.containers.roots import Roots
from runtime.containers.state import ALIVE
from runtime.containers.table import Container
from runtime.snapshots import userns

CHUNK_BYTES = 256 << 10  # handed on at once
FIRST_WORD_TIMEOUT_S = 60.0  # until the process has found the path, or not
ERROR_BYTES = 2000  # of what it says on standard error

_ROOT = Path(__file__).resolve().parents[2]
_PROGRAM = (
    "import sys, json; sys.path.insert(0, sys.argv[1]); from runtime.containers.tarbox import main; "
    "sys.exit(main(json.loads(sys.argv[2]), open(int(sys.argv[3]), 'wb')))"
)
_ERRORS: dict[str, type[EngineError]] = {
    "invalid": InvalidArgument,
    "forbidden": Forbidden,
    "internal": Internal,
}

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

    async def _begin(self, stack: AsyncExitStack, container: Container, job: Body) -> _Work:
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
        work = await _Work.start(job)
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


class _Work:
    """One copying process."""

    def __init__(
        self, process: asyncio.subprocess.Process, report: asyncio.StreamReader, transport: Any
    ) -> None:
        self._process = process
        self._report = report
        self._transport = transport

    @classmethod
    async def start(cls, job: Body) -> _Work:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        words = [sys.executable, "-I", "-c", _PROGRAM, str(_ROOT), json.dumps(job), str(writing)]
        if job["binds"]:
            words = ["unshare", "--mount", "--propagation", "private", "--", *words]
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=subprocess.PIPE if job["work"] == "put" else subprocess.DEVNULL,
                stdout=subprocess.PIPE if job["work"] in ("get", "export") else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(writing,),
                limit=CHUNK_BYTES,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        report = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(report), os.fdopen(reading, "rb")
        )
        return cls(process, report, transport)

    async def first_word(self, missing: str) -> Body:
        """What it found, before any data. Raises: what it reports."""
        try:
            async with asyncio.timeout(FIRST_WORD_TIMEOUT_S):
                line = await self._report.readline()
        except TimeoutError:
            raise Internal(
                f"the container's files did not answer within {FIRST_WORD_TIMEOUT_S:g} s"
            ) from None
        found: Body = await self._parse(line, missing)
        return found

    async def output(self, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        """The archive; what the stack holds is given back at its end."""
        async with stack:
            assert self._process.stdout is not None
            while data := await self._process.stdout.read(CHUNK_BYTES):
                yield data
            await self._finish("the file vanished")

    async def input(self, data: AsyncIterator[bytes], missing: str) -> None:
        """Hand an archive over and wait until it is extracted."""
        stdin = self._process.stdin
        assert stdin is not None
        try:
            async for chunk in data:
                stdin.write(chunk)
                await stdin.drain()
            stdin.close()
            await stdin.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has said why
        await self._finish(missing)

    async def end(self) -> None:
        """Kill it if it still works, and give everything back."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        self._transport.close()

    async def _finish(self, missing: str) -> None:
        """Raises: what went wrong after the first word."""
        if line := await self._report.readline():
            await self._parse(line, missing)
        if await self._process.wait() != 0:
            raise Internal(f"copying ended unexpectedly: {await self._complaint()}")

    async def _parse(self, line: bytes, missing: str) -> Body:
        if not line:
            raise Internal(f"copying did not begin: {await self._complaint()}")
        message = json.loads(line)
        if "error" not in message:
            found: Body = message["stat"]
            return found
        if message["error"] == "missing":
            raise NotFound(missing)
        raise _ERRORS[message["error"]](message["message"])

    async def _complaint(self) -> str:
        assert self._process.stderr is not None
        text = (await self._process.stderr.read(ERROR_BYTES)).decode(errors="replace").strip()
        return text.splitlines()[-1] if text else f"exit code {self._process.returncode}"


def _missing(container: Container, path: str) -> str:
    return f"Could not find the file {path} in container {container.record.name}"
