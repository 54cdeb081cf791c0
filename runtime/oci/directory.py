"""A session's directory: what conmon, the runtime and this room leave in it, and what is known from that.

A container's bundle, or an exec's own:

    config.json | process.json   what to run (written by the caller | by `Conmon.exec`)
    session.json                 ours: id, exec id, tty, stdin; with the pid files enough to adopt a session
    pidfile, conmon.pid          the process and its conmon
    attach, ctl, winsz           the socket and fifos conmon serves
    exit, oom                    the exit code, and the mark that the cgroup ran out of memory
    conmon.log, runtime.log      what conmon and the runtime complain about
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from runtime.api.errors import Conflict, Internal, InvalidArgument
from runtime.oci.birth import read_pid

TERMINAL_SOCKET = "conmon-term."  # of a conmon that was killed before a runtime connected to it
LOST_EXIT_CODE = 255  # of a session whose conmon died without telling

_LEFTOVERS = (
    *("attach", "ctl", "winsz", "exit", "oom", "pidfile", "conmon.pid", "conmon.log", "runtime.log"),
    "process.json",
)


@dataclass(frozen=True)
class ConmonHandle:
    """One running session; found again from its directory with `Conmon.adopt`."""

    id: str
    exec_id: str | None
    dir: Path
    pid: int  # host pid of the session's first process
    conmon_pid: int
    tty: bool
    stdin: bool
    stdin_once: bool  # the program's input ends with its client's


@dataclass(frozen=True)
class ExitInfo:
    """How a session ended; `code` as Docker counts (128 + signal)."""

    code: int
    oom_killed: bool
    finished_at: float  # unix time
    lost: bool = False  # conmon died without telling; code is LOST_EXIT_CODE


def prepare(dir: Path, **facts: object) -> None:
    """Clear an earlier session's files away and note what this one is."""
    for name in (*_LEFTOVERS, *(entry for entry in os.listdir(dir) if entry.startswith(TERMINAL_SOCKET))):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(dir / name)
    write_json(dir / "session.json", facts)


def handle(dir: Path) -> ConmonHandle:
    """The session of this directory. Raises: Internal, OSError, ValueError."""
    facts = json.loads((dir / "session.json").read_bytes())
    pid, conmon_pid = read_pid(dir / "pidfile"), read_pid(dir / "conmon.pid")
    if pid is None or conmon_pid is None:
        raise Internal(f"conmon left no pid in {dir}")
    return ConmonHandle(dir=dir, pid=pid, conmon_pid=conmon_pid, **facts)


def read_exit(dir: Path) -> ExitInfo | None:
    """How this directory's session ended; None when conmon has written nothing (yet)."""
    try:
        with open(dir / "exit", encoding="ascii") as file:
            code = int(file.read())
            finished_at = os.fstat(file.fileno()).st_mtime
    except (FileNotFoundError, ValueError):
        return None
    return ExitInfo(code, (dir / "oom").exists(), finished_at)


def lost(handle: ConmonHandle) -> ExitInfo:
    with contextlib.suppress(FileNotFoundError):
        finished_at = os.stat(handle.dir).st_mtime
        return ExitInfo(LOST_EXIT_CODE, (handle.dir / "oom").exists(), finished_at, lost=True)
    return ExitInfo(LOST_EXIT_CODE, False, 0.0, lost=True)


def control(handle: ConmonHandle, message: str) -> None:
    try:
        fd = os.open(handle.dir / "ctl", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Conflict(f"session {handle.exec_id or handle.id} has ended") from error
    try:
        os.write(fd, message.encode())
    except (BrokenPipeError, BlockingIOError) as error:
        raise Conflict(f"session {handle.exec_id or handle.id} does not take messages") from error
    finally:
        os.close(fd)


def program(dir: Path, exec: bool) -> str:
    try:
        if exec:
            process = json.loads((dir / "process.json").read_bytes())
        else:
            process = json.loads((dir / "config.json").read_bytes())["process"]
        return str(process["args"][0])
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InvalidArgument(f"no program to run in {dir}") from error


def read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except FileNotFoundError:
        return ""


def write_json(path: Path, value: object) -> None:
    path.write_bytes(json.dumps(value).encode())
