"""A local process on a PTY or on pipes, with a log and any number of attached sessions.

Real on the outside: bytes, terminal, signals, exit code and back-pressure are the kernel's.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Sequence

QUEUE_BYTES = 256 << 10  # waiting for one session; then the process is not read
LOG_CHUNKS = 100_000
DRAIN_S = 0.2  # for output still on its way when the process has gone

STDOUT, STDERR = 1, 2


class LocalProcess:
    """One running program."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        tty: bool,
        stdin: bool,
        env: Sequence[str] = (),
        cwd: str = "/",
        size: tuple[int, int] = (24, 80),
    ) -> None:
        self.tty = tty
        self.log: deque[tuple[float, int, bytes]] = deque(maxlen=LOG_CHUNKS)
        self.sessions: set[Session] = set()
        self.news = asyncio.Event()  # set and replaced at every output
        self.exited = asyncio.get_running_loop().create_future()
        self.size = size
        self._loop = asyncio.get_running_loop()
        self._readers: dict[int, int] = {}
        self._reading = True
        self._input: int | None = None
        self._drained = asyncio.Event()
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/"}
        environment.update(entry.split("=", 1) for entry in env if "=" in entry)
        if tty:
            environment.setdefault("TERM", "xterm")
            self._spawn_tty(list(argv), environment, cwd)
        else:
            self._spawn_pipes(list(argv), environment, cwd, stdin)
        for fd in self._readers:
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._read, fd)
        self._waiting = asyncio.ensure_future(self._wait())

    def _spawn_tty(self, argv: list[str], env: dict[str, str], cwd: str) -> None:
        master, slave = pty.openpty()
        self._master: int | None = master
        self.resize(*self.size)
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        except OSError:
            os.close(master)
            raise
        finally:
            os.close(slave)
        self._readers[master] = STDOUT
        self._input = os.dup(master)
        os.set_blocking(self._input, False)

    def _spawn_pipes(self, argv: list[str], env: dict[str, str], cwd: str, stdin: bool) -> None:
        self._master = None
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for pipe, source in ((self.process.stdout, STDOUT), (self.process.stderr, STDERR)):
            self._readers[os.dup(pipe.fileno())] = source
            pipe.close()
        if self.process.stdin is not None:
            self._input = os.dup(self.process.stdin.fileno())
            os.set_blocking(self._input, False)
            self.process.stdin.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self, fd: int) -> None:
        try:
            data = os.read(fd, 65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a PTY whose last process has gone answers EIO
        if not data:
            self._loop.remove_reader(fd)
            os.close(fd)
            if fd == self._master:
                self._master = None
            del self._readers[fd]
            if not self._readers:
                self._drained.set()
            return
        source = self._readers[fd]
        self.log.append((time.time(), source, data))
        self._tell()
        for session in tuple(self.sessions):
            session._offer(source, data)

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def _flow(self) -> None:
        """Read the process only while every session takes its output."""
        wanted = all(session.queued < QUEUE_BYTES for session in self.sessions)
        if wanted != self._reading:
            self._reading = wanted
            for fd in self._readers:
                if wanted:
                    self._loop.add_reader(fd, self._read, fd)
                else:
                    self._loop.remove_reader(fd)

    async def _wait(self) -> None:
        await self._gone()
        code = self.process.wait()
        # A container's processes all end with its first one.
        self.kill(signal.SIGKILL)
        while self._readers:
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._drained.wait()
            except TimeoutError:
                if self._reading:
                    break
        self._drop_readers()
        self._end()
        if not self.exited.done():
            self.exited.set_result(code if code >= 0 else 128 - code)

    async def _gone(self) -> None:
        pidfd = os.pidfd_open(self.pid)
        ready = self._loop.create_future()
        self._loop.add_reader(pidfd, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)

    def _drop_readers(self) -> None:
        for fd in tuple(self._readers):
            self._loop.remove_reader(fd)
            os.close(fd)
        self._readers.clear()
        self._master = None

    def _end(self) -> None:
        if self._input is not None:
            os.close(self._input)
            self._input = None
        self._tell()
        for session in tuple(self.sessions):
            session._end()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            if self._input is None:
                raise BrokenPipeError("the process has closed its stdin")
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                await self._writable()

    async def _writable(self) -> None:
        fd, ready = self._input, self._loop.create_future()
        assert fd is not None

        def set_ready() -> None:
            if not ready.done():
                ready.set_result(None)

        self._loop.add_writer(fd, set_ready)
        try:
            async with asyncio.timeout(0.1):
                await ready
        except TimeoutError:
            pass  # look again: the process may have ended
        finally:
            self._loop.remove_writer(fd)

    def close_stdin(self) -> None:
        if not self.tty and self._input is not None:
            os.close(self._input)
            self._input = None

    def resize(self, height: int, width: int) -> None:
        self.size = (height, width)
        if self._master is not None:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def kill(self, number: int) -> None:
        try:
            if number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT):
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    async def close(self) -> None:
        self.kill(signal.SIGKILL)
        await self._waiting


class Session:
    """One attached stream; the ``Stream`` of the engine's rooms."""

    def __init__(
        self,
        process: LocalProcess | None,
        *,
        tty: bool,
        sources: frozenset[int] = frozenset((STDOUT, STDERR)),
        stdin: bool = True,
        on_eof: Callable[[], bool] = lambda: False,
    ) -> None:
        self.tty = tty
        self.queued = 0
        self._sources = sources
        self._stdin = stdin
        self._on_eof = on_eof  # True: input at its end leaves the session
        self._queue: deque[tuple[int, bytes]] = deque()
        self._news = asyncio.Event()
        self._ended = False
        self._process: LocalProcess | None = None
        self._joined = asyncio.Event()  # or ended: input given before the start waits for it
        if process is not None:
            self.join(process)

    def join(self, process: LocalProcess) -> None:
        self._process = process
        process.sessions.add(self)
        self._joined.set()

    def _offer(self, source: int, data: bytes) -> None:
        if source in self._sources:
            self._queue.append((source, data))
            self.queued += len(data)
            self._news.set()
            if self.queued >= QUEUE_BYTES and self._process is not None:
                self._process._flow()

    at_once = None  # everything goes the long way
    past = 0
    place = None  # nothing counts what is typed here

    def replay(self, process: LocalProcess) -> None:
        for _, source, data in process.log:
            if source in self._sources:
                self._queue.append((source, data))
                self.queued += len(data)
        self.past = self.queued

    def _end(self) -> None:
        self._ended = True
        self._news.set()
        self._joined.set()

    async def read(self) -> tuple[int, bytes] | None:
        while not self._queue:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        source, data = self._queue.popleft()
        self.queued -= len(data)
        if self._process is not None:
            self._process._flow()
        return source, data

    async def write(self, data: bytes) -> None:
        await self._joined.wait()
        if self._stdin and self._process is not None:
            await self._process.write(data)

    def write_now(self, data: bytes) -> bool:
        return False

    async def close_stdin(self) -> None:
        await self._joined.wait()
        if self._on_eof():
            self._end()
        elif self._stdin and self._process is not None:
            self._process.close_stdin()

    def close(self) -> None:
        if self._process is not None:
            self._process.sessions.discard(self)
            self._process._flow()
        self._end()
