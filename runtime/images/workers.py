"""The engine's side of unpacking: starts the fork server, hands it blobs, hears what became of them.

Owns the worker process and the number of layers unpacked side by side. Never looks into an archive.
Cancelling ``unpack`` ends the child and returns when it is gone, so that its directory can be removed.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runtime.api.errors import EngineError, Internal, InvalidArgument
from runtime.images.threads import finished, in_thread

SLOTS = 3  # layers unpacked at once, as many as are downloaded
IDLE_S = 20.0  # the worker is kept this long after its last layer
PACKET_BYTES = 64 << 10
COMPARE_MAX_BYTES = 1 << 44  # it was unpacked once, so it is no bomb
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)

_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from runtime.images.worker import main; main(int(sys.argv[2]))"
)
_ROOT = Path(__file__).resolve().parents[2]


class Growing(Protocol):
    """A blob that is on disk up to ``available``; more may come."""

    def open(self) -> int:
        """A descriptor to read it by; the caller closes it."""
        ...

    async def grown(self, beyond: int) -> tuple[int, bool]:
        """(available, complete) as soon as there is more than ``beyond`` or nothing more to come.

        Raises: what stopped the download.
        """
        ...


@dataclass(frozen=True, slots=True)
class Layer:
    """What a blob turned out to be."""

    diff_id: str  # digest of the decompressed archive
    tar_bytes: int
    size_bytes: int
    entries: int
    implied: tuple[str, ...]  # directories that had no entry of their own


class LayerInvalid(InvalidArgument):
    """The layer itself is at fault; fetching it again would not help."""


class DiskFull(Internal):
    """There is no room for the layer."""


class Workers:
    """Unpacks blobs into directories."""

    def __init__(self, opaque: str, *, slots: int = SLOTS) -> None:
        self._opaque = opaque
        self._slots = asyncio.Semaphore(slots)
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._jobs = 0
        self._idle: asyncio.TimerHandle | None = None

    def warm(self) -> None:
        """Start the worker now, so that it is ready when the first layer comes."""
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _PROGRAM, str(_ROOT), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                cwd="/",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
            )
        self._control = ours
        self._rest()

    async def unpack(
        self,
        blob: Growing,
        directory: Path,
        *,
        bytes_max: int,
        entries_max: int,
        progress: Callable[[int], None],
    ) -> Layer:
        """Fill ``directory`` with the layer in ``blob``; ``progress`` hears how much of it was read.

        Raises: LayerInvalid, DiskFull, Internal, and what ``blob.grown`` raises.
        """
        job = {
            "work": "unpack",
            "limits": {"bytes_max": bytes_max, "entries_max": entries_max},
            "opaque": self._opaque,
        }
        async with self._job():
            with self._hand_over(job, blob.open(), directory) as ours:
                done, implied = await self._follow(ours, blob, progress)
        return Layer(**done, implied=tuple(implied))

    async def compare(self, blob: Growing, directory: Path) -> list[str]:
        """How a layer's directory differs from its blob, one line per path; [] when it does not.

        Raises: LayerInvalid when the blob is no layer, Internal.
        """
        async with self._job():
            job = {"work": "compare", "limits": {"bytes_max": COMPARE_MAX_BYTES}}
            with self._hand_over(job, blob.open(), directory) as ours:
                done, _ = await self._follow(ours, blob, lambda _: None)
        return list(done["differences"])

    async def pack(self, directory: Path, descriptor: int) -> None:
        """Write an overlay diff directory as a layer archive to an open file.

        Raises: LayerInvalid, DiskFull, Internal.
        """
        async with self._job():
            with self._hand_over(
                {"work": "pack", "opaque": self._opaque}, os.dup(descriptor), directory
            ) as ours:
                await self._follow(ours, None, lambda _: None)

    @asynccontextmanager
    async def _job(self) -> AsyncIterator[None]:
        async with self._slots:
            self.warm()
            self._jobs += 1
            try:
                yield
            finally:
                self._jobs -= 1
                self._rest()

    async def close(self) -> None:
        """End the worker; jobs must have been cancelled before."""
        process = self._process
        self._end()
        if process is not None:
            await in_thread(process.wait)

    # -- one job

    def _hand_over(self, job: dict[str, Any], blob: int, directory: Path) -> socket.socket:
        """Give the worker a job; closes ``blob`` here."""
        assert self._control is not None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            descriptors = [theirs.fileno(), blob]
            try:
                descriptors.append(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
                socket.send_fds(self._control, [json.dumps(job).encode()], descriptors)
            except OSError as error:
                ours.close()
                raise Internal(f"the unpack worker cannot be given a layer: {error}") from error
            finally:
                for descriptor in descriptors[1:]:
                    os.close(descriptor)
        ours.setblocking(False)
        return ours

    async def _follow(
        self, ours: socket.socket, blob: Growing | None, progress: Callable[[int], None]
    ) -> tuple[dict[str, Any], list[str]]:
        feeding = asyncio.create_task(self._feed(ours, blob) if blob is not None else asyncio.sleep(0))
        # When the download fails there is nothing to wait for: closing our end makes the child stop.
        feeding.add_done_callback(lambda task: _hang_up(ours) if _failed(task) else None)
        implied: list[str] = []
        last: dict[str, Any] = {}
        try:
            while data := await _received(ours):
                message = json.loads(data)
                if "read" in message:
                    progress(message["read"])
                elif "implied" in message:
                    implied += message["implied"]
                else:
                    last = message
        except BaseException:
            feeding.cancel()
            _hang_up(ours)
            await _gone(ours)
            raise
        finally:
            feeding.cancel()
            outcome = (await asyncio.gather(feeding, return_exceptions=True))[0]
        if isinstance(outcome, Exception) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome
        if "done" in last:
            return last["done"], implied
        raise _error(last)

    async def _feed(self, ours: socket.socket, blob: Growing) -> None:
        """Tell the child how far it can read."""
        loop = asyncio.get_running_loop()
        available, complete = -1, False
        while not complete:
            available, complete = await blob.grown(available)
            packet = available.to_bytes(8, "little") + bytes([complete])
            try:
                if complete:
                    await loop.sock_sendall(ours, packet)
                else:
                    ours.send(packet)
            except BlockingIOError:
                pass  # the child has older news to read first; the next ones include these
            except (BrokenPipeError, ConnectionResetError):
                return  # it has ended, and has said or will be found why

    # -- the process

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._jobs:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end)

    def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._control is not None:
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            # It ends by itself now that the control socket is closed; a thread waits for it.
            asyncio.get_running_loop().run_in_executor(None, process.wait)


async def _received(ours: socket.socket) -> bytes:
    """The child's next message, b"" when it has ended."""
    while True:
        try:
            return await asyncio.get_running_loop().sock_recv(ours, PACKET_BYTES)
        except ConnectionResetError:
            # Kernel: a child that ends with news of ours unread resets the connection. That is reported
            # once, and before its last words, which are still to be received.
            continue


def _hang_up(ours: socket.socket) -> None:
    try:
        ours.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _failed(task: asyncio.Task[None]) -> bool:
    return not task.cancelled() and task.exception() is not None


async def _gone(ours: socket.socket) -> None:
    """Return when the child has ended, whatever is cancelled meanwhile."""

    async def drain() -> None:
        while await _received(ours):
            pass

    await finished(asyncio.create_task(drain()))


def _error(message: dict[str, Any]) -> EngineError:
    if not message:
        return Internal("the unpack worker ended without an answer")
    text = message["message"]
    if message["failed"] == "layer":
        return LayerInvalid(text)
    if message["errno"] in DISK_FULL:
        return DiskFull(os.strerror(message["errno"]).lower())
    if message["failed"] == "bug":
        return Internal(f"the unpack worker failed: {text}")
    return Internal(text)
