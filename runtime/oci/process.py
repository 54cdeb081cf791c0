"""Short-lived tools as awaitable calls: no thread, no pipe to read while they run.

Output goes to memory files, the exit is seen through a pidfd; one event per process in the loop.

Kernel: pidfd_open(2) since 5.3, memfd_create(2).
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

OUTPUT_BYTES = 4 << 20  # of a tool's output, the rest is not read
STDERR_LINES = 20  # kept for a ToolError
TIMEOUT_S = 60.0


class ToolError(Exception):
    """A tool we started failed: what we ran, its exit code (negative: signal), its last lines."""

    def __init__(self, argv: Sequence[str], code: int, stderr: str) -> None:
        super().__init__(f"{argv[0]} failed with {code}: {stderr}")
        self.argv = list(argv)
        self.code = code
        self.stderr = stderr


async def run(
    argv: Sequence[str], *, timeout_s: float = TIMEOUT_S, env: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Run a tool to its end: (stdout, stderr). Cancelling kills it. Raises: ToolError."""
    out, err = os.memfd_create("stdout"), os.memfd_create("stderr")
    try:
        child = spawn(argv, stdout=out, stderr=err, env=env)
        code = await reap(child, argv, timeout_s)
        stdout, stderr = _contents(out), _contents(err)
    finally:
        os.close(out)
        os.close(err)
    if code != 0:
        raise ToolError(argv, code, "\n".join(stderr.strip().splitlines()[-STDERR_LINES:]))
    return stdout, stderr


def spawn(
    argv: Sequence[str],
    *,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    cwd: str | None = None,
    session: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a tool with no descriptors but the given ones. Raises: ToolError 127 when it is not installed."""
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=session,
        )
    except FileNotFoundError as error:
        raise ToolError(argv, 127, f"{error.filename} is not there") from error


async def reap(child: subprocess.Popen[bytes], argv: Sequence[str], timeout_s: float) -> int:
    """Wait for a child's exit code. On time-out (ToolError) and cancellation the child is killed first."""
    try:
        async with asyncio.timeout(timeout_s):
            await gone(child.pid)
    except BaseException as error:
        child.send_signal(signal.SIGKILL)
        child.wait()  # it was killed: this ends at once
        if isinstance(error, TimeoutError):
            raise ToolError(argv, -signal.SIGKILL, f"took longer than {timeout_s:g} s") from error
        raise
    return child.wait()


async def gone(pid: int) -> None:
    """Return when the process has ended (also as a zombie) or is not there."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    seen: asyncio.Future[None] = loop.create_future()

    def ended() -> None:
        loop.remove_reader(pidfd)
        if not seen.done():
            seen.set_result(None)

    try:
        loop.add_reader(pidfd, ended)
        await seen
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def alive(pid: int) -> bool:
    """Whether the process is there; a zombie is not."""
    return state(pid) not in ("Z", "X", "x", "")


def state(pid: int) -> str:
    """ "R" runs or could, "S" sleeps, "Z" has ended, …; "" is not there. Spec: proc(5), /proc/pid/stat."""
    return _stat(pid)[0]


def parent(pid: int) -> int:
    """The pid of a process's parent; 0 when it is not there."""
    return int(_stat(pid)[1])


class Process(NamedTuple):
    """One process that has not ended; pid and began name it for good, a pid alone may be given again."""

    pid: int
    parent: int
    session: int
    tty: int  # 0: no controlling terminal
    began: int  # ticks since the machine started


def processes() -> Iterator[Process]:
    """Everything that runs on this machine. Spec: proc(5), /proc/pid/stat."""
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (one := process(int(entry.name))) is not None:
            yield one


def process(pid: int) -> Process | None:
    """None when it is not there or a zombie."""
    fields = _stat(pid)
    if fields[0] in ("Z", "X", "x", ""):
        return None
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[4]), int(fields[19]))


def send(one: Process, number: int) -> None:
    """Send a signal, to this very process or to none."""
    try:
        pidfd = os.pidfd_open(one.pid)
    except OSError:
        return
    try:
        if (now := process(one.pid)) is not None and now.began == one.began:
            signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass  # Race: it has just ended
    finally:
        os.close(pidfd)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/<pid>/stat from the third on; the second, the name, may hold anything."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].decode().split()
    except (FileNotFoundError, ProcessLookupError):
        return ["", "0"]


def _contents(fd: int) -> str:
    return os.pread(fd, OUTPUT_BYTES, 0).decode(errors="replace")
