"""Writes what a terminal shows into a file, as it comes; a sink of the session's hub.

Only output and sizes: what is typed is not recorded, passwords that are not shown are not in it. Encoding and
writing happen in a thread, in order; a disk that is slower than the output makes the output wait.

Spec: asciicast v2.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO

from django.conf import settings

WRITE_EVERY_S = 0.5
WAITING_MAX_BYTES = 1 << 20  # not written yet
FILE_MAX_BYTES = 256 << 20  # then the recording ends
FIRST_SCREEN_BYTES = 128 << 10  # of what was there when it began
JOIN_S = 0.01  # output that comes closer together is one event

logger = logging.getLogger("containers_app")

_SEQUENCES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)


def directory() -> Path:
    return Path(settings.WEB_DIR) / "recordings"


def cast_file(id: object) -> Path:
    return directory() / f"{id}.cast"


def text_file(id: object) -> Path:
    """What the recording says, without colours and cursor movements: for the search."""
    return directory() / f"{id}.txt"


def remove_files(id: object) -> None:
    cast_file(id).unlink(missing_ok=True)
    text_file(id).unlink(missing_ok=True)


class Recorder:
    """One recording that is being made."""

    def __init__(self, id: object, *, rows: int, columns: int, title: str, screen: bytes) -> None:
        self.id = id
        self.size_bytes = 0
        self.full: Callable[[], object] = lambda: None  # called when no more is written
        self.noted: Callable[[Recorder], Awaitable[None]] | None = None  # awaited once it is complete
        self._broken = False
        self._began = time.monotonic()
        self._waiting: list[tuple[float, str, bytes]] = []
        self._waiting_bytes = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._writing = asyncio.Lock()
        self._due: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        directory().mkdir(mode=0o700, exist_ok=True)
        self._file: IO[str] = open(  # noqa: SIM115 - closed by close
            os.open(cast_file(id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        )
        head = {
            "version": 2,
            "width": columns,
            "height": rows,
            "timestamp": int(time.time()),
            "title": title,
            "env": {"TERM": "xterm-256color"},
        }
        self._file.write(json.dumps(head) + "\n")
        if screen:
            self.output(screen)

    @property
    def duration_s(self) -> float:
        return time.monotonic() - self._began

    def output(self, data: bytes) -> None:
        now = self.duration_s
        if self._waiting and self._waiting[-1][1] == "o" and now - self._waiting[-1][0] < JOIN_S:
            at, _, before = self._waiting[-1]
            self._waiting[-1] = (at, "o", before + data)
        else:
            self._waiting.append((now, "o", data))
        self._waiting_bytes += len(data)
        self._write_soon()

    def resize(self, rows: int, columns: int) -> None:
        self._waiting.append((self.duration_s, "r", b"%dx%d" % (columns, rows)))
        self._write_soon()

    def _write_soon(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(WRITE_EVERY_S, self._begin_writing)

    def _begin_writing(self) -> None:
        task = asyncio.get_running_loop().create_task(self._write(), name="recording")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def room(self) -> None:
        if self._waiting_bytes > WAITING_MAX_BYTES:
            await self._write()

    async def _write(self) -> None:
        async with self._writing:
            if self._due is not None:
                self._due.cancel()
                self._due = None
            events, self._waiting, self._waiting_bytes = self._waiting, [], 0
            if events and not self._broken and not self._file.closed and self.size_bytes < FILE_MAX_BYTES:
                try:
                    self.size_bytes = await asyncio.to_thread(self._write_events, events)
                except OSError as error:  # no room on the disk: the terminal goes on, its recording does not
                    logger.error("recording %s ends: %s", self.id, error)
                    self._broken = True
                if self._broken or self.size_bytes >= FILE_MAX_BYTES:
                    self.full()

    def _write_events(self, events: list[tuple[float, str, bytes]]) -> int:
        for at, kind, data in events:
            text = self._decoder.decode(data) if kind == "o" else data.decode()
            if text:
                self._file.write(json.dumps([round(at, 6), kind, text], ensure_ascii=False) + "\n")
        self._file.flush()
        return self._file.tell()

    async def close(self) -> None:
        """Write what is left, and the text for the search."""
        await self._write()
        with contextlib.suppress(OSError):
            self._file.close()
            await asyncio.to_thread(write_text, self.id)
        if self.noted is not None:
            await self.noted(self)


def write_text(id: object) -> None:
    """Take the text out of a recording's file, line by line."""
    with (
        open(cast_file(id), encoding="utf-8") as source,
        open(text_file(id), "w", encoding="utf-8") as target,
    ):
        next(source, None)
        rest = ""
        for line in source:
            try:
                _at, kind, data = json.loads(line)
            except ValueError:
                break  # the web side was killed in the middle of it
            if kind != "o":
                continue
            whole, newline, rest = (rest + data).rpartition("\n")
            if newline:
                target.write(_SEQUENCES.sub("", whole) + "\n")
            if len(rest) > 1 << 20:
                rest = ""
        target.write(_SEQUENCES.sub("", rest))
