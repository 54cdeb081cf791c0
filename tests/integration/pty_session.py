"""A command on a real terminal, driven by a test as a person would: type, read, resize, wait."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

READ_TIMEOUT_S = 60.0


class PtySession:
    """Runs ``argv`` with a terminal of its own as standard input, output and error."""

    def __init__(
        self, argv: Sequence[str], environ: Mapping[str, str], *, rows: int = 24, columns: int = 80
    ) -> None:
        self.seen = b""  # everything read so far
        self._at = 0  # how much of it ``expect`` has consumed
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
                os.execvpe(argv[0], list(argv), dict(environ))
            finally:
                os._exit(127)
        self.resize(rows, columns)
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._code is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
        os.close(self.fd)

    def type(self, text: str | bytes) -> None:
        data = text.encode() if isinstance(text, str) else text
        while data:
            # Read while writing: a terminal that nobody reads stops taking input.
            readable, writable, _ = select.select([self.fd], [self.fd], [], READ_TIMEOUT_S)
            if readable:
                self._read()
            if writable:
                data = data[os.write(self.fd, data[:512]) :]

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _read(self) -> bool:
        try:
            data = os.read(self.fd, 65536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return False
        self.seen += data
        return bool(data)

    def expect(self, pattern: str, timeout_s: float = READ_TIMEOUT_S) -> re.Match[bytes]:
        """Read until the pattern appears after what was matched before; fails with all that was seen."""
        wanted = re.compile(pattern.encode(), re.DOTALL)
        deadline = time.monotonic() + timeout_s
        while True:
            match = wanted.search(self.seen, self._at)
            if match:
                self._at = match.end()
                return match
            left = deadline - time.monotonic()
            alive = left > 0 and select.select([self.fd], [], [], left)[0] and self._read()
            if not alive:
                text = self.seen[self._at :].decode(errors="replace")
                raise AssertionError(f"{pattern!r} did not appear; after the last match came:\n{text}")

    def wait(self, timeout_s: float = READ_TIMEOUT_S) -> int:
        """Read until the command ends; its exit code, negative for a signal."""
        deadline = time.monotonic() + timeout_s
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
                while select.select([self.fd], [], [], 0)[0] and self._read():
                    pass
                return self._code
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"the command did not end; it wrote:\n{self.seen.decode(errors='replace')}"
                )
            if select.select([self.fd], [], [], 0.05)[0] and not self._read():
                time.sleep(0.01)

    @property
    def text(self) -> str:
        return self.seen.decode(errors="replace")
