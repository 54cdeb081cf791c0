"""This terminal and a container's stream: raw mode, size, detach keys, signals, and copying both ways.

It never decodes what passes through. ``Terminal`` always leaves the terminal as it found it.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from webdock.cli.errors import Failure
from webdock.cli.http import Client, Duplex, Refused

READ_BYTES = 64 * 1024
DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
HEADER_BYTES = 8  # of a frame: stream, three zeros, length; Spec: Docker API 1.47, ContainerAttach

#: Signals that mean something to a program; passed on to the container's first process.
PROXIED = ("SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCONT")


class Detached(Exception):
    """The person typed the detach keys."""


def parse_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` -> b"\\x10\\x11"; single characters stand for themselves.

    Raises:
        Failure: for anything else.
    """
    result = bytearray()
    for part in text.split(","):
        if len(part) == 1 and part.isascii():
            result += part.encode()
        elif len(part) == 6 and part.startswith("ctrl-") and part[5] in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            result.append(ord(part[5].upper()) & 0x1F)
        else:
            raise Failure(
                f"--detach-keys: {part!r} is no key; write a letter or ctrl-<letter>, like ctrl-p,q", 125
            )
    return bytes(result)


class DetachFilter:
    """Watches typed bytes for the detach keys; a part of them is held back until it is decided. Pure."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def feed(self, data: bytes) -> bytes:
        """What may go on to the container.

        Raises:
            Detached: when the sequence is complete; what was typed before it is lost with it.
        """
        if not self._keys:
            return data
        out = bytearray()
        for byte in data:
            if byte == self._keys[self._matched]:
                self._matched += 1
                if self._matched == len(self._keys):
                    raise Detached
                continue
            out += self._keys[: self._matched]
            self._matched = 0
            if byte == self._keys[0]:
                self._matched = 1
            else:
                out.append(byte)
        return bytes(out)


def is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def window_size() -> tuple[int, int]:
    """Rows and columns of this terminal; (0, 0) when there is none."""
    for fd in (1, 0, 2):
        try:
            columns, rows = os.get_terminal_size(fd)
        except OSError:
            continue
        return rows, columns
    return 0, 0


@contextmanager
def raw_mode(fd: int = 0) -> Iterator[None]:
    """Every key goes through as it is; the old mode comes back whatever happens."""
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def on_resize(resize: Callable[[int, int], None]) -> Iterator[None]:
    """Call ``resize(rows, columns)`` now and whenever the window changes."""

    def tell(_number: int = 0, _frame: FrameType | None = None) -> None:
        rows, columns = window_size()
        if rows and columns:
            try:
                resize(rows, columns)
            except Failure:
                pass  # the process has just ended; its exit is what we wait for anyway

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        tell()
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextmanager
def interrupt_at_end() -> Iterator[None]:
    """A Ctrl-C within takes effect at the end, so that what was begun is known; a second one at once."""
    came = False

    def note(_number: int, _frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt


@contextmanager
def signals_to(client: Client, container: str) -> Iterator[None]:
    """Pass the signals we get on to the container's first process instead of dying of them."""

    def forward(number: int, _frame: FrameType | None) -> None:
        try:
            client.post(
                f"/containers/{container}/kill", {"signal": signal.Signals(number).name.removeprefix("SIG")}
            )
        except Refused:
            pass  # not started yet, or ended already

    before = {name: signal.signal(getattr(signal, name), forward) for name in PROXIED}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class Session:
    """Copies between this process's standard streams and one upgraded connection."""

    def __init__(self, stream: Duplex, *, tty: bool, stdin: bool, detach_keys: bytes = b"") -> None:
        self._stream, self._tty, self._stdin = stream, tty, stdin
        self._filter = DetachFilter(detach_keys if tty else b"")
        self._detached = False

    def run(self) -> bool:
        """Copy until the container's side ends; True when the person detached instead."""
        if self._stdin:
            threading.Thread(target=self._send, daemon=True).start()
        try:
            if self._tty:
                while data := self._stream.read():
                    write_all(1, data)
            else:
                self._receive_frames()
        finally:
            self._stream.close()
        return self._detached

    def _receive_frames(self) -> None:
        while len(header := self._stream.read_exactly(HEADER_BYTES)) == HEADER_BYTES:
            left = int.from_bytes(header[4:], "big")
            while left:
                data = self._stream.read_exactly(min(left, READ_BYTES))
                if not data:
                    return
                write_all(2 if header[0] == 2 else 1, data)
                left -= len(data)

    def _send(self) -> None:
        try:
            while data := os.read(0, READ_BYTES):
                data = self._filter.feed(data)
                if data:
                    self._stream.write(data)
            self._stream.close_write()
        except Detached:
            self._detached = True
            self._stream.close()
        except OSError:
            pass  # the container has ended; the reading side sees it too
