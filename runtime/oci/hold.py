"""A terminal taken out of its conmon's hands: the engine reads and writes it itself, and conmon stands still.

conmon has the terminal in its keeping, so that a program outlives the engine, and carries each byte, which
costs more than all the rest of its way. While conmon is stopped a copy of its descriptor belongs to the
engine alone. Without an engine the program runs on until the terminal is full, then it waits; the next engine
takes the terminal again and goes on with the next byte. Only who lets conmon go on learns how the program
ended, so it is let go as soon as it has: it reads what is left, reaps the program and tells its exit.

Race: a stopped conmon must have nothing in its hands, or that would come late. It is looked whether it was
stopped where it waits for something to happen; if not, it goes on and is stopped once more.
Kernel: pidfd_getfd(2) (5.6, and the rights of ptrace); pty(7); proc(5), /proc/pid/syscall and fdinfo.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import platform
import signal
import stat
import struct
import termios
from pathlib import Path

from runtime.oci.deposit import copy
from runtime.oci.process import Process, process, send, state

TRIES = 40  # to stop it where it waits
TRY_PAUSE_S = 0.001
STOP_S = 1.0  # for a signal to arrive
STOP_LOOK_S = 0.0002
PTMX = os.makedev(5, 2)

_WAITS = {"x86_64": {b"7", b"271"}, "aarch64": {b"73"}}.get(platform.machine(), set())  # poll, ppoll


class Hold:
    """The terminal of one session; given back or left, once."""

    def __init__(self, conmon: Process, terminal: int, program: int) -> None:
        """terminal, program: descriptors of ours, the latter a pidfd; readable once the program has ended."""
        self.terminal = terminal
        self.program = program
        self._conmon = conmon
        self._flags = fcntl.fcntl(terminal, fcntl.F_GETFL)
        fcntl.fcntl(terminal, fcntl.F_SETFL, self._flags | os.O_NONBLOCK)

    def resize(self, height: int, width: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def give_back(self) -> None:
        """conmon goes on."""
        fcntl.fcntl(self.terminal, fcntl.F_SETFL, self._flags & ~os.O_NONBLOCK)  # conmon shares the flags
        self.leave()
        send(self._conmon, signal.SIGCONT)

    def leave(self) -> None:
        """conmon stands still until somebody takes the terminal again."""
        os.close(self.terminal)
        os.close(self.program)


async def take(conmon_pid: int, program_pid: int) -> Hold | None:
    """Stop the session's conmon and take its terminal; None, and it goes on, where that is not possible."""
    conmon = process(conmon_pid)
    if conmon is None or not _WAITS:
        return None
    try:
        if await _stopped(conmon):
            return _hold(conmon, program_pid)
    except OSError:
        pass  # a kernel that does not tell, a right that we have not, or the program has just ended
    except BaseException:
        send(conmon, signal.SIGCONT)
        raise
    send(conmon, signal.SIGCONT)
    return None


def let_go_on(conmon_pid: int) -> None:
    """A conmon that stands still acts on nothing."""
    if (conmon := process(conmon_pid)) is not None:
        send(conmon, signal.SIGCONT)


async def _stopped(conmon: Process) -> bool:
    """Stop it where it waits; False when it always had something to do. Raises: OSError, TimeoutError."""
    for _ in range(TRIES):
        send(conmon, signal.SIGSTOP)
        async with asyncio.timeout(STOP_S):
            while state(conmon.pid) not in ("T", "Z", ""):  # noqa: ASYNC110 - the kernel tells no event of it
                await asyncio.sleep(STOP_LOOK_S)
        if _call(conmon.pid) in _WAITS:
            return True
        send(conmon, signal.SIGCONT)
        await asyncio.sleep(TRY_PAUSE_S)
    return False


def _call(pid: int) -> bytes:
    """The number of the system call it is in. Raises: OSError."""
    return Path(f"/proc/{pid}/syscall").read_bytes().split()[0]


def _hold(conmon: Process, program_pid: int) -> Hold:
    """Raises: OSError."""
    terminal = copy(conmon.pid, _terminal(conmon.pid))
    try:
        return Hold(conmon, terminal, os.pidfd_open(program_pid))
    except BaseException:
        os.close(terminal)
        raise


def _terminal(conmon_pid: int) -> int:
    """The number of conmon's descriptor of the one terminal it has. Raises: OSError."""
    found = {}
    for name in os.listdir(f"/proc/{conmon_pid}/fd"):
        status = os.stat(f"/proc/{conmon_pid}/fd/{name}")
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == PTMX:
            lines = Path(f"/proc/{conmon_pid}/fdinfo/{name}").read_bytes().splitlines()
            index = next((line for line in lines if line.startswith(b"tty-index")), b"")
            found[status.st_dev, status.st_ino, index] = int(name)
    if len(found) != 1:
        raise FileNotFoundError(f"conmon {conmon_pid} has {len(found)} terminals, not one")
    return next(iter(found.values()))
