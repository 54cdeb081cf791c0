"""A container's log: conmon's k8s-file read back, followed and rotated.

    2024-01-02T03:04:05.123456789+00:00 stdout F a whole line
    2024-01-02T03:04:05.123456789+00:00 stderr P the beginning of a line (it goes on in the next record)

The newest records are in `<path>`, older ones in `<path>.1`, `<path>.2` … conmon writes; we read, rename and
tell it to reopen. Output is the program's own bytes: records of one line joined, ends of lines kept.

Spec: Kubernetes CRI log format; Docker API 1.47, ContainerLogs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runtime.containers.inotify import Inotify
from runtime.containers.times import SECOND_NS, parse_rfc3339, rfc3339_fixed

STDOUT, STDERR = 1, 2
BLOCK_BYTES = 256 << 10  # read and handed on at once
TAIL_BLOCK_BYTES = 64 << 10  # looked at, from the end, when only some lines are wanted
RECORD_BYTES = 1 << 20  # longest record we believe in; conmon writes less than 32 KiB

# Fixed places in a record: time, stream, flag, text.
_TIME, _ZONE, _STREAM, _FLAG, _TEXT = slice(0, 29), slice(29, 35), slice(36, 42), slice(43, 44), 45
_UTC = b"+00:00"

Chunk = tuple[int, bytes]


@dataclass(frozen=True)
class Selection:
    """Which part of a log is wanted."""

    stdout: bool = True
    stderr: bool = True
    since_ns: int = 0
    until_ns: int = 0  # 0: no end
    timestamps: bool = False
    details: bytes = b""  # before each line, behind its time
    tail: int | None = None  # only so many lines from the end


class Decoder:
    """Records, cut anywhere, to output; remembers where in a line each stream is."""

    def __init__(self, selection: Selection) -> None:
        self._wanted = {b"stdout": selection.stdout, b"stderr": selection.stderr}
        self._since = _sortable(selection.since_ns) if selection.since_ns > 0 else b""
        self._until = _sortable(selection.until_ns) if selection.until_ns > 0 else b""
        self._timestamps = selection.timestamps
        self._details = selection.details
        self._in_line = {b"stdout": False, b"stderr": False}
        self._rest = b""
        self.past_end = False  # a record after `until` was seen

    def feed(self, data: bytes) -> list[Chunk]:
        """Output of the complete records in `data`, neighbours of one stream joined."""
        if self._rest:
            data = self._rest + data
        records = data.split(b"\n")
        self._rest = records.pop()
        if len(self._rest) > RECORD_BYTES:
            self._rest = b""
        out: list[Chunk] = []
        parts: list[bytes] = []
        current = b""
        for record in records:
            stream = record[_STREAM]
            if not self._wanted.get(stream) or not self._in_time(record):
                if self.past_end:
                    break
                continue
            if stream != current:
                if parts:
                    out.append((_number(current), b"".join(parts)))
                    parts = []
                current = stream
            if not self._in_line[stream]:
                if self._timestamps:
                    parts.append(_stamp(record))
                if self._details:
                    parts.append(self._details)
            whole = record[_FLAG] == b"F"
            self._in_line[stream] = not whole
            parts.append(record[_TEXT:])
            if whole:
                parts.append(b"\n")
        if parts:
            out.append((_number(current), b"".join(parts)))
        return out

    def _in_time(self, record: bytes) -> bool:
        if not self._since and not self._until:
            return True
        time = _utc(record)
        if self._until and time > self._until:
            self.past_end = True
            return False
        return time >= self._since


class Records:
    """Records, cut anywhere, to what was read from the program at once: neighbours of one time and stream."""

    def __init__(self, since_ns: int) -> None:
        self._since = _sortable(since_ns) if since_ns > 0 else b""
        self._rest = b""

    def feed(self, data: bytes) -> list[Chunk]:
        records = (self._rest + data).split(b"\n")
        self._rest = records.pop()
        out: list[Chunk] = []
        parts: list[bytes] = []
        last = b""
        for record in records:
            head = record[: _STREAM.stop]
            if (self._since and _utc(record) < self._since) or not head[_STREAM]:
                continue
            if head != last:
                if parts:
                    out.append((_number(last[_STREAM]), b"".join(parts)))
                parts, last = [], head
            parts.append(record[_TEXT:])
            if record[_FLAG] == b"F":
                parts.append(b"\n")
        if parts:
            out.append((_number(last[_STREAM]), b"".join(parts)))
        return out


def files(path: Path) -> list[Path]:
    """The files of a log that are there, oldest first."""
    rotated = [
        (int(number), entry.path)
        for entry in _entries(path.parent)
        if (number := entry.name.removeprefix(path.name + ".")).isdecimal() and entry.name != path.name
    ]
    found = [Path(name) for _, name in sorted(rotated, reverse=True)]
    return [*found, path] if path.exists() else found


def remove(path: Path) -> None:
    """Delete every file of a log."""
    for file in files(path):
        file.unlink(missing_ok=True)


async def read(
    path: Path,
    selection: Selection,
    *,
    follow: Follow | None = None,
) -> AsyncIterator[Chunk]:
    """The log's output; with `follow`, also what is written until that ends.

    Survives rotation while it reads. Closing the iterator frees everything.
    """
    decoder = Decoder(selection)
    changed = asyncio.Event()
    with contextlib.ExitStack() as stack:
        if follow is not None:
            stack.callback(follow.inotify.watch(path.parent, changed.set))
        open_files = [stack.enter_context(one) for one in _open_all(path, selection.since_ns)]
        if selection.tail is not None:
            open_files = _seek_tail(open_files, selection.tail)
        for older in open_files[:-1]:
            async for chunk in _rest_of(older, decoder):
                yield chunk
        file: BinaryIO | None = open_files[-1] if open_files else None
        ended = follow is None
        while not decoder.past_end:
            changed.clear()
            if follow is not None and follow.end.done():
                ended = True  # before reading: what was written until now is all there will be
            if file is not None:
                async for chunk in _rest_of(file, decoder):
                    yield chunk
            if follow is not None and (newer := next_file(path, file)) is not None:
                # conmon has reopened its log: the last records of the old file, then the new one.
                if file is not None:
                    async for chunk in _rest_of(file, decoder):
                        yield chunk
                file = stack.enter_context(newer)
                continue
            if ended or follow is None:
                return
            if not await follow.wait(changed, selection.until_ns):
                ended = True


@dataclass(frozen=True)
class Follow:
    """How long to follow a log."""

    inotify: Inotify
    end: asyncio.Future[Any]  # done when the container's run is over: nothing more will be written

    async def wait(self, changed: asyncio.Event, until_ns: int) -> bool:
        """Return when there may be something new; False when `until` has come."""
        news = asyncio.ensure_future(changed.wait())
        timeout = None if until_ns <= 0 else max(0.0, until_ns / SECOND_NS - time.time())
        try:
            done, _ = await asyncio.wait(
                {news, self.end}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
            return bool(done)
        finally:
            news.cancel()


class Rotation:
    """Keeps one log within its size while its container runs."""

    def __init__(self, path: Path, size_bytes: int, count: int, reopen: Callable[[], None]) -> None:
        """reopen: tells conmon that its file was renamed."""
        self._path = path
        self._size_bytes = size_bytes
        self._count = count
        self._reopen = reopen

    def check(self) -> None:
        """Rotate when the newest file is full; called after each change."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return  # renamed just now, conmon has not made the new one yet
        if size >= self._size_bytes:
            rotate(self._path, self._count)
            self._reopen()


def rotate(path: Path, count: int) -> None:
    """Move every file one number up; at most `count` remain, the new one included."""
    for file in files(path)[: -count if count else None]:
        file.unlink(missing_ok=True)
    for number in range(count - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        newer = path if number == 1 else path.with_name(f"{path.name}.{number - 1}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(newer, older)
    path.unlink(missing_ok=True)


async def _rest_of(file: BinaryIO, decoder: Decoder) -> AsyncIterator[Chunk]:
    while not decoder.past_end and (data := file.read(BLOCK_BYTES)):
        for chunk in decoder.feed(data):
            yield chunk
        await asyncio.sleep(0)  # a long log must not keep the loop to itself


def _open_all(path: Path, since_ns: int) -> Iterator[BinaryIO]:
    names = files(path)
    for name in names:
        try:
            file = open(name, "rb", buffering=0)  # noqa: SIM115 - the caller closes them
        except FileNotFoundError:
            continue  # rotated away just now
        if name != path and os.fstat(file.fileno()).st_mtime_ns < since_ns:
            file.close()
            continue
        yield file


def _seek_tail(open_files: list[BinaryIO], count: int) -> list[BinaryIO]:
    """Set the positions so that reading on gives the last `count` lines; the files to read."""
    wanted: list[BinaryIO] = []
    newest = True  # no record was seen yet: the next one is the log's last, and a line even when it goes on
    for file in reversed(open_files):
        seen, enough = _seek_lines(file, count, newest)
        wanted.insert(0, file)
        if enough:
            break
        newest = newest and os.fstat(file.fileno()).st_size == 0
        count -= seen
    return wanted


def _seek_lines(file: BinaryIO, count: int, last: bool) -> tuple[int, bool]:
    """Set the position before the last `count` lines: (lines seen, whether these are so many).

    last: the file's last record is a line even when it is only the beginning of one.
    """
    start = os.fstat(file.fileno()).st_size
    data, seen = b"", 0
    while start > 0:
        size = min(TAIL_BLOCK_BYTES, start)
        start -= size
        data = os.pread(file.fileno(), size, start) + data
        # Records from the end; the first piece may be the end of one, it waits for the next block.
        position = len(data)
        while (begin := data.rfind(b"\n", 0, position - 1)) >= 0 or (start == 0 and position > 0):
            record = data[begin + 1 : position]
            if record[_FLAG] == b"F" or last:
                if seen == count:
                    file.seek(start + position)
                    return seen, True
                seen += 1
            last = False
            position = begin + 1
            if begin < 0:
                break
        data = data[:position]
    file.seek(0)
    return seen, False


def next_file(path: Path, file: BinaryIO | None) -> BinaryIO | None:
    """The file that follows `file`, opened; None while that is the newest.

    Race: while a reader is at one file, the log may be rotated several times; none must be passed over.
    """
    own = os.fstat(file.fileno()) if file is not None else None
    try:
        if own is not None and os.path.samestat(path.stat(), own):
            return None
        found = files(path)
        known = [own is not None and os.path.samestat(name.stat(), own) for name in found]
        # One that is not there any more was the oldest: what is oldest now comes after it.
        number = known.index(True) + 1 if True in known else 0
        return open(found[number], "rb", buffering=0) if number < len(found) else None
    except FileNotFoundError:
        return None  # renamed just now; conmon is about to make the new one


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(directory))
    except FileNotFoundError:
        return []


def _number(stream: bytes) -> int:
    return STDERR if stream == b"stderr" else STDOUT


def _stamp(record: bytes) -> bytes:
    if record[_ZONE] == _UTC:
        return record[_TIME] + b"Z "
    return rfc3339_fixed(_time_ns(record)).encode() + b" "


def _utc(record: bytes) -> bytes:
    return record[_TIME] if record[_ZONE] == _UTC else _sortable(_time_ns(record))


def _time_ns(record: bytes) -> int:
    try:
        return parse_rfc3339(record[:35].decode("ascii", "replace"))
    except ValueError:
        return 0


def _sortable(time_ns: int) -> bytes:
    """A time so written that the order of texts is the order of times: as in a record, in UTC."""
    return rfc3339_fixed(time_ns)[:-1].encode()
