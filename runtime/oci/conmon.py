"""conmon, the only place it is called: one per container and one per exec session, outliving the engine.

Owns the files of a session directory (a container's bundle, or an exec's own directory):

    config.json | process.json   what to run (written by the caller | by `exec`)
    session.json                 ours: id, exec id, tty, stdin; with the pid files enough to adopt a session
    pidfile, conmon.pid          the process and its conmon
    attach, ctl, winsz           socket and fifos conmon serves
    exit, oom                    exit code, and the mark that the cgroup ran out of memory

Never decides what an exit means.

Spec: conmon(8) 2.1; attach protocol in `frames` below; OCI runtime 1.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.oci.runtime import Runtime

STDOUT, STDERR = 1, 2


@dataclass(frozen=True)
class ConmonHandle:
    """One running session; found again from disk with `Conmon.adopt`."""

    id: str
    exec_id: str | None
    dir: Path
    pid: int  # host pid of the container's (or exec's) first process
    conmon_pid: int
    tty: bool
    stdin: bool


@dataclass(frozen=True)
class ExitInfo:
    """How a session ended; `code` as Docker counts (128 + signal)."""

    code: int
    oom_killed: bool
    finished_at: float  # unix time, from the exit file
    lost: bool = False  # conmon died without telling: code is 255


class ConmonStream:
    """One attacher's duplex stream (`Stream` of the containers room). Reading slowly slows the container."""

    tty: bool

    async def read(self) -> tuple[int, bytes] | None:
        """Next output: (1 stdout | 2 stderr, bytes), at most READ_BYTES; None when the session ended."""
        raise NotImplementedError

    async def write(self, data: bytes) -> None:
        """Waits while the container does not read. Raises: Conflict when the session's stdin is gone."""
        raise NotImplementedError

    async def close_stdin(self) -> None:
        """Half-close: the container sees end of file if it was created with stdin once; idempotent."""
        raise NotImplementedError

    def close(self) -> None:
        """Detach; idempotent, wakes a waiting read with None."""
        raise NotImplementedError


class Conmon:
    """Starts, adopts and talks to conmon processes of one runtime."""

    def __init__(self, runtime: Runtime, binary: str = "conmon") -> None:
        self.runtime = runtime
        self.binary = binary

    async def create(
        self, *, id: str, bundle: Path, tty: bool, stdin: bool, stdin_once: bool = False, log_path: Path | None
    ) -> ConmonHandle:
        """Run `crun create` under a new conmon; the program waits for `Runtime.start`, so attach before that.

        bundle has a config.json. log_path: conmon's k8s-file log; None keeps no log.
        Cancelling kills what was started. Raises: CannotStart and what `translate` gives.
        """
        raise NotImplementedError

    async def exec(
        self, *, id: str, exec_id: str, dir: Path, process: dict[str, Any], tty: bool, stdin: bool,
        attach: bool = True,
    ) -> tuple[ConmonHandle, ConmonStream | None]:
        """Run one more process in a running container, by a conmon of its own.

        process: an OCI `process` object. attach: the stream is connected before the process starts, so no
        byte is lost; False runs detached (output goes nowhere, it can still be attached to later).
        Raises: CannotStart and what `translate` gives.
        """
        raise NotImplementedError

    async def attach(self, handle: ConmonHandle) -> ConmonStream:
        """Connect one more attacher. Raises: Conflict when the session has ended."""
        raise NotImplementedError

    def adopt(self, dir: Path) -> ConmonHandle | None:
        """A session started by an earlier engine, if its conmon still runs."""
        raise NotImplementedError

    def resize(self, handle: ConmonHandle, height: int, width: int) -> None:
        """Set the terminal's size. Raises: Conflict when the session has ended."""
        raise NotImplementedError

    def reopen_log(self, handle: ConmonHandle) -> None:
        """After the log file was renamed: conmon opens a new one at its old path."""
        raise NotImplementedError

    def read_exit(self, dir: Path) -> ExitInfo | None:
        """How the session of this directory ended; None when conmon wrote nothing (yet)."""
        raise NotImplementedError

    def watch_exit(self, handle: ConmonHandle, seen: Callable[[ExitInfo], None]) -> Callable[[], None]:
        """Call `seen` once, in the event loop, when the session's conmon is gone; returns a function that stops watching."""
        raise NotImplementedError

    async def wait_exit(self, handle: ConmonHandle) -> ExitInfo:
        """The same as a coroutine; cancelling it only stops waiting."""
        raise NotImplementedError
