"""The engine's own log of what was asked of it: one JSON line per request that changes or opens something.

Append-only, root's alone, rotated; kept beside the engine's state, where the web side cannot reach, so that
its audit trail can be compared with this one. Holds no bodies: they may carry secrets.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web

if TYPE_CHECKING:
    from runtime.server.connection import Peer

FILE_MAX_BYTES = 16 << 20
FILES_MAX = 8  # the current one, and older ones as .1, .2, ...
TEXT_MAX_CHARS = 512  # of a path or an actor
ACTOR_HEADER = "X-Webdock-Actor"  # who the web side says it asks for; believed by nobody, written down

# Reads that are written down as well: they take something out, or go in.
OPENING = frozenset(
    (
        "container_archive", "container_export", "container_attach_websocket", "image_save",
        "container_image_archive", "volume_archive", "volume_files",
    )
)  # fmt: skip

# Held open for long: one line when they begin, one when they end.
STREAMS = frozenset(("container_attach", "container_attach_websocket", "exec_start", "exec_attach"))

log = logging.getLogger("webdock.audit")


def worth_a_line(method: str, operation: str, status: int) -> bool:
    """Whether a request is written down: all but plain reads, and every refusal by the policy; pure."""
    return method not in ("GET", "HEAD") or status == 403 or operation in OPENING


def verdict(status: int) -> str:
    """allowed, refused by policy or peer, failed in the engine, or invalid as it was asked; pure."""
    if status == 403:
        return "refused"
    if status >= 500:
        return "failed"
    return "invalid" if status >= 400 else "allowed"


class AuditLog:
    """One file, opened for as long as the engine runs. Without it the engine does not serve."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "audit.jsonl"
        self._file: int | None = None
        self._size = 0

    def open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(self.path, flags, 0o600)
        self._size = os.fstat(self._file).st_size

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def note(self, **row: Any) -> None:
        """Append one line; one write, so that lines never mix. A full disk is said in the log."""
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, **row}, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            if self._file is None or self._size + len(line) > FILE_MAX_BYTES:
                self._rotate()
            assert self._file is not None
            os.write(self._file, line)
            self._size += len(line)
        except OSError as error:
            log.error("a line of the audit log was lost: %s: %s", self.path, error)

    def _rotate(self) -> None:
        self.close()
        if self.path.exists() and self.path.stat().st_size:
            for number in range(FILES_MAX - 1, 0, -1):
                older = self.path if number == 1 else self.path.with_suffix(f".jsonl.{number - 1}")
                with contextlib.suppress(FileNotFoundError):
                    os.replace(older, self.path.with_suffix(f".jsonl.{number}"))
        self.open()


def shown(text: str) -> str:
    """A path or an actor as it is written down: decoded, and not endless; pure."""
    return unquote(text, errors="replace")[:TEXT_MAX_CHARS]


class Entry:
    """What is written down of one request, once its end is known."""

    __slots__ = ("_began", "_log", "_peer", "_request", "_socket", "container", "operation")

    def __init__(self, to: AuditLog, request: web.BaseRequest, peer: Peer | None, confined: bool) -> None:
        self._log, self._request, self._peer = to, request, peer
        self._socket = "web" if confined else "engine"
        self._began = time.monotonic()
        self.operation = ""
        self.container = ""  # its id, once names are replaced by ids

    def begin(self) -> None:
        """It passed, and is carried out now."""
        if self.operation in STREAMS:
            self._note(event="begin", verdict="allowed")

    def end(self, status: int) -> None:
        if worth_a_line(self._request.method, self.operation, status):
            took_ms = round((time.monotonic() - self._began) * 1000, 1)
            self._note(event="end", verdict=verdict(status), status=status, duration_ms=took_ms)

    def _note(self, **more: Any) -> None:
        actor = self._request.headers.get(ACTOR_HEADER)
        self._log.note(
            socket=self._socket,
            uid=None if self._peer is None else self._peer.uid,
            pid=None if self._peer is None else self._peer.pid,
            **({"actor": shown(actor)} if actor else {}),
            method=self._request.method,
            path=shown(self._request.raw_path),
            operation=self.operation,
            **({"container": self.container} if self.container else {}),
            **more,
        )
