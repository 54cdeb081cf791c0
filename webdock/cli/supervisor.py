"""Keeps engine and web running: starts both, restarts what ends, stops both; works without any init system.

It owns the two child processes and their log files, and nothing else. It waits for signals and exits only, so
an idle supervisor uses no processor time. What a child says goes to its log file through a thread of its own,
which cuts the file at a size; a child never waits for a terminal.

Race: children are told (PR_SET_PDEATHSIG) to stop when the supervisor is gone, however it went, so a
successor never finds a half-supervised pair. Containers are not our children and outlive all three.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

BACKOFF_FIRST_S = 0.1
BACKOFF_LAST_S = 30.0  # of one that never answers
BACKOFF_ANSWERED_S = 1.0  # of one that had answered before it ended
READY_POLL_S = 0.25
STEADY_S = 10.0  # a child that lived this long starts again with the first back-off
STOP_S = {"web": 15.0, "engine": 20.0}  # TERM to KILL
LOG_BYTES = 10 * 1024**2  # a log file is cut at this size
LOG_KEPT = 3  # and this many older ones are kept
LINE_BYTES = 64 * 1024  # longer lines are written in pieces
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Log:
    """An append-only log file that moves itself aside at LOG_BYTES; may echo to a terminal."""

    def __init__(self, path: Path, echo: Callable[[str], None] | None) -> None:
        self.path = path
        self._echo = echo
        self._file = self._open()

    def _open(self) -> IO[bytes]:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        return os.fdopen(descriptor, "ab", buffering=0)

    def write(self, line: bytes) -> None:
        """Append one line as it stands; a full disk loses the line, never the child."""
        try:
            self._file.write(line)
            if self._file.tell() > LOG_BYTES:
                self._rotate()
        except OSError:
            pass
        if self._echo:
            self._echo(line.decode(errors="replace").rstrip("\n"))

    def _rotate(self) -> None:
        self._file.close()
        for number in range(LOG_KEPT, 0, -1):
            older = self.path.with_name(f"{self.path.name}.{number}")
            newer = self.path.with_name(f"{self.path.name}.{number - 1}") if number > 1 else self.path
            if newer.exists():
                newer.replace(older)
        self._file = self._open()

    def close(self) -> None:
        self._file.close()


@dataclass
class Child:
    """One supervised process."""

    name: str  # "engine" or "web"
    argv: Sequence[str]
    environ: Mapping[str, str]
    log: Log
    answers: Callable[[], bool]  # whether it does what it is there for
    answered: bool = False  # … since its last start
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    started: float = 0.0  # monotonic
    backoff_s: float = BACKOFF_FIRST_S
    due: float | None = field(default=None)  # monotonic time of the next start, None while running

    def start(self) -> None:
        self.note(f"starting {self.name}")
        self.process = subprocess.Popen(
            list(self.argv),
            env=dict(self.environ),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C on the terminal is the supervisor's to pass on
        )
        self.started, self.due, self.answered = time.monotonic(), None, False
        assert self.process.stdout is not None
        self.reader = threading.Thread(
            target=drain, args=(self.process.stdout, self.log), name=f"log of {self.name}", daemon=True
        )
        self.reader.start()

    def note(self, text: str) -> None:
        """A line of our own in the child's log, written as the child writes its own."""
        if self.environ.get("WEBDOCK_LOG_FORMAT", "").lower() == "json":
            said = {"time": stamp(), "level": "info", "logger": "supervisor", "message": text}
            self.log.write(f"{json.dumps(said)}\n".encode())
        else:
            self.log.write(f"{stamp()} supervisor: {text}\n".encode())

    def collect(self) -> int | None:
        """The exit code when the process has ended since the last call, else None."""
        if self.process is None or self.process.poll() is None:
            return None
        code = self.process.returncode
        if self.reader is not None:
            self.reader.join(timeout=2)
        self.process = None
        self.note(f"{self.name} ended, {describe_exit(code)}")
        return code

    def plan_restart(self) -> float:
        """Set when to start again; the pause (returned, seconds) doubles while the process dies young."""
        now = time.monotonic()
        if now - self.started > STEADY_S:
            self.backoff_s = BACKOFF_FIRST_S
        longest = BACKOFF_ANSWERED_S if self.answered else BACKOFF_LAST_S
        pause, self.backoff_s = min(self.backoff_s, longest), min(self.backoff_s * 2, longest)
        self.due = now + pause
        return pause

    def stop(self) -> None:
        """TERM, wait, KILL; returns when the process is gone."""
        self.due = None
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S.get(self.name, 15.0))
        except subprocess.TimeoutExpired:
            self.note(f"{self.name} did not stop in time and is killed")
            self.process.kill()
            self.process.wait()
        self.collect()


class StartFailed(Exception):
    """A child ended, or time ran out, before both were ready; ``tail`` is the end of what it said."""

    def __init__(self, name: str, why: str, tail: str) -> None:
        super().__init__(f"the {name} did not start: {why}")
        self.tail = tail


class Supervisor:
    """Runs children until told to stop; made in the main thread. ``close`` it, also after an exception."""

    def __init__(self) -> None:
        self.children: list[Child] = []
        self.stopping = False
        # Signals arrive as bytes in a pipe: nothing has to be blocked, so children start with a clean mask.
        self._wake, self._woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in WATCHED:
            signal.signal(number, lambda *_: None)

    def add(self, child: Child) -> None:
        """Start a child and watch it from now on."""
        self.children.append(child)
        child.start()

    def wait_until_ready(self, timeout_s: float, interval_s: float = 0.05) -> None:
        """Return once every child answers. One that ends meanwhile is not restarted: it would end again.

        Raises:
            StartFailed: when a child ended or time ran out.
            KeyboardInterrupt: when we were told to stop.
        """
        deadline = time.monotonic() + timeout_s
        while not self._all_answer():
            self._next_signal(interval_s)
            if self.stopping:
                raise KeyboardInterrupt
            for child in self.children:
                code = child.collect()
                if code is not None:
                    raise StartFailed(child.name, describe_exit(code), tail_of(child.log.path))
            if time.monotonic() > deadline:
                last = self.children[-1]
                raise StartFailed(last.name, f"no answer within {timeout_s:.0f} s", tail_of(last.log.path))

    def run(self) -> None:
        """Restart what ends, with back-off, until SIGTERM, SIGINT or SIGHUP."""
        while not self.stopping:
            now = time.monotonic()
            waits = [max(0.0, child.due - now) for child in self.children if child.due is not None]
            if not waits and not self._all_answer():
                waits = [READY_POLL_S]
            self._next_signal(min(waits) if waits else None)
            for child in self.children:
                if child.collect() is not None and not self.stopping:
                    child.plan_restart()
            for child in self.children:
                if child.due is not None and child.due <= time.monotonic() and not self.stopping:
                    child.start()

    def _all_answer(self) -> bool:
        """Ask those that have not answered yet; nobody is asked twice in one life."""
        for child in self.children:
            child.answered = child.answered or child.answers()
        return all(child.answered for child in self.children)

    def _next_signal(self, timeout_s: float | None) -> None:
        readable, _, _ = select.select([self._wake], [], [], timeout_s)
        if readable and any(number != signal.SIGCHLD for number in os.read(self._wake, 256)):
            self.stopping = True

    def close(self) -> None:
        """Stop the children, the last started first: pages go before the engine they speak to."""
        self.stopping = True
        for child in reversed(self.children):
            child.stop()
            child.log.close()


def drain(source: IO[bytes], log: Log) -> None:
    """Copy a child's words to its log, line by line, until it closes them."""
    with source:
        while line := source.readline(LINE_BYTES):
            log.write(line)


def stamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def describe_exit(code: int) -> str:
    """``exit code 3`` or ``killed by SIGSEGV``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def tail_of(path: Path, lines: int = 15) -> str:
    """The end of a log file, "" when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16 * 1024))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def echo_to_terminal(name: str) -> Callable[[str], None]:
    """A function that writes lines to standard error, a name before each; quiet when that is gone."""

    def echo(line: str) -> None:
        try:
            sys.stderr.write(f"{name:<6} │ {line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            pass

    return echo
