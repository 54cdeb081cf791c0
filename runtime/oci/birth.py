"""The beginning of a conmon, for `conmon.py`: from its start until its pipes said what there is to say.

conmon takes two steps, each when told to: it becomes a process of its own, and it calls the runtime. What it
is to run it reads at the second step, so it can be started before that is known.

Spec: conmon(8) 2.1, `_OCI_STARTPIPE`, `_OCI_SYNCPIPE`, `_OCI_ATTACHPIPE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from pathlib import Path

from runtime import cgroups
from runtime.api.errors import Internal
from runtime.oci import deposit
from runtime.oci.process import alive, gone, reap, spawn

CREATE_TIMEOUT_S = 120.0  # until the runtime has made or refused the container
LEAVE_TIMEOUT_S = 10.0  # until a conmon that is not wanted has left
MESSAGE_BYTES = 64 << 10  # of what a pipe of conmon says
HASTE_S = 0.01  # after which what `cgroups.hasten` did is undone


class Birth:
    """One conmon that is being started; used as a context manager, or begun before and then so used."""

    PIPES = ("_OCI_SYNCPIPE", "_OCI_ATTACHPIPE")

    def __init__(self, words: list[str], dir: Path) -> None:
        self.words = words
        self.dir = dir
        self._ours: dict[str, int] = {}
        self._go = -1
        self._steps = 0
        self._parent: asyncio.Future[int] | None = None
        self._hastened = 0.0

    def begin(self) -> None:
        """Start it, up to where it waits for `go`. Raises: ToolError, OSError."""
        self._hasten()
        # TMPDIR: where conmon makes a terminal's socket, and leaves it when the runtime does not take it. In
        # its own directory it goes with the session; "." (see cwd) is short enough for a socket's address.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": "."}
        theirs: list[int] = []
        log = os.open(self.dir / "conmon.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            for name in self.PIPES:
                self._ours[name], fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
                os.set_blocking(fd, True)
                theirs.append(fd)
                environment[name] = str(fd)
            ours, other = socket.socketpair()  # for a pipe: something can be left there
            self._go, fd = ours.detach(), other.detach()
            theirs.append(fd)
            environment[deposit.VARIABLE] = str(fd)
            # cwd: conmon writes its `oom` mark there. A session of its own: signals to ours do not reach it.
            child = spawn(
                self.words, stderr=log, env=environment, pass_fds=theirs, cwd=str(self.dir), session=True
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(log)
            for fd in theirs:
                os.close(fd)
        # conmon leaves its first process, which we wait for, after forking the one that stays.
        self._parent = asyncio.ensure_future(reap(child, self.words, CREATE_TIMEOUT_S))

    async def __aenter__(self) -> Birth:
        if self._parent is None:
            self.begin()
        elif time.monotonic() - self._hastened > HASTE_S:
            self._hasten()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close()
        if kind is not None and (pid := read_pid(self.dir / "conmon.pid")) and is_conmon(pid, self.dir):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if self._parent is not None:
            await self._parent

    async def dismiss(self) -> None:
        """Let a conmon go that was not told what to run; returns when it has left.

        Without a process to run the runtime it calls refuses at once, and conmon leaves with it. It is not
        killed: the runtime would stay, and may then find what a later conmon in this directory is to run.
        """
        self._close()
        if self._parent is not None:
            await self._parent
        if (pid := read_pid(self.dir / "conmon.pid")) is None or not is_conmon(pid, self.dir):
            return
        try:
            async with asyncio.timeout(LEAVE_TIMEOUT_S):
                await gone(pid)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await gone(pid)

    def go(self, step: int) -> None:
        """Let conmon take this step, 1 or 2, if it has not yet. It may have died; then its pipes say so."""
        if step > self._steps:
            self._steps = step
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                os.write(self._go, b"\0")

    def leave(self, fd: int) -> None:
        """Leave a descriptor in its keeping; it has taken both steps."""
        deposit.leave(self._go, fd)

    async def message(self, pipe: str) -> bytes:
        """The next line of a pipe, or what was there when conmon closed it. Raises: Internal on time-out."""
        loop, fd, data = asyncio.get_running_loop(), self._ours[pipe], b""
        try:
            async with asyncio.timeout(CREATE_TIMEOUT_S):
                while not data.endswith(b"\n") and len(data) < MESSAGE_BYTES:
                    try:
                        chunk = os.read(fd, MESSAGE_BYTES)
                    except BlockingIOError:
                        await _readable(loop, fd)
                        continue
                    if not chunk:
                        break
                    data += chunk
        except TimeoutError as error:
            raise Internal(f"conmon did not answer within {CREATE_TIMEOUT_S:g} s in {self.dir}") from error
        return data

    def _hasten(self) -> None:
        self._hastened = time.monotonic()
        asyncio.get_running_loop().run_in_executor(None, cgroups.hasten)

    def _close(self) -> None:
        for fd in (*self._ours.values(), self._go):
            if fd >= 0:
                os.close(fd)
        self._ours, self._go = {}, -1


async def _readable(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def is_conmon(pid: int, dir: Path) -> bool:
    """Whether this pid is the conmon of this directory; pids come back after a reboot."""
    return alive(pid) and serves(command(pid), dir)


def command(pid: int) -> list[bytes]:
    """A process's command line; [b""] when it is not there or is ending."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return [b""]


def serves(words: list[bytes], dir: Path) -> bool:
    """Whether this command line is that of the directory's conmon."""
    return any(words[i] == b"-b" and words[i + 1] == os.fsencode(dir) for i in range(len(words) - 1))


def read_pid(path: Path) -> int | None:
    """The number in a pid file; None when there is none (yet)."""
    try:
        return int(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
