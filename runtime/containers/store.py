"""Container records on disk: `<root>/<id>/container.json`, replaced as a whole.

A record is written to a temporary file, synced and renamed, so that a reader sees the old one or the new
one. Records of containers that go away by themselves (`--rm`) are not synced: after a power cut they would
only be removed. Owns the container's directory; keeps no live state.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
from pathlib import Path

from runtime.containers.record import Record

log = logging.getLogger("webdock.containers")

_ID = re.compile(r"^[0-9a-f]{64}$")
_FILE = "container.json"
_HALF_MADE = "container.json.new"
REMOVE_TRIES = 4


class ContainerStore:
    """The directory with one directory per container."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def directory(self, id: str) -> Path:
        return self.root / id

    def make(self, id: str) -> Path:
        """An empty directory for a new container."""
        directory = self.directory(id)
        directory.mkdir(mode=0o710, parents=True)
        return directory

    async def save(self, record: Record) -> None:
        """Replace the record; it is on disk when this returns. Two saves of one record must not overlap."""
        data = json.dumps(record.to_json(), separators=(",", ":")).encode()
        directory = self.directory(record.id)
        if record.auto_remove:
            _replace(directory, data, sync=False)
        else:
            await asyncio.to_thread(_replace, directory, data, sync=True)

    def load(self) -> tuple[list[Record], list[str]]:
        """All records, oldest first, and the ids of directories whose making was never finished.

        A record that cannot be read is set aside with its directory and reported in the log; its files stay.
        """
        records: list[Record] = []
        half_made: list[str] = []
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.root):
                if not _ID.match(entry.name):
                    continue
                try:
                    records.append(
                        Record.from_json(json.loads((self.root / entry.name / _FILE).read_bytes()))
                    )
                except FileNotFoundError:
                    half_made.append(entry.name)
                except (ValueError, KeyError, TypeError) as error:
                    log.error("container %s: its record cannot be read, set aside: %s", entry.name, error)
                    os.rename(self.root / entry.name, self.root / f"{entry.name}.unreadable")
        return sorted(records, key=lambda record: record.created_ns), half_made

    def forget(self, id: str) -> None:
        """Take the record away, so that a crash from here on only leaves something half-made."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.directory(id) / _FILE)

    def remove(self, id: str) -> None:
        """Delete the container's directory; idempotent. Blocks. Raises: OSError when something stays."""
        self.forget(id)
        for _ in range(REMOVE_TRIES - 1):
            # Race: conmon may still write its last file while its directory is emptied.
            shutil.rmtree(self.directory(id), ignore_errors=True)
            if not self.directory(id).exists():
                return
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.directory(id))


def _replace(directory: Path, data: bytes, *, sync: bool) -> None:
    fd = os.open(directory / _HALF_MADE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if sync:
            os.fdatasync(fd)
    finally:
        os.close(fd)
    os.rename(directory / _HALF_MADE, directory / _FILE)
    if sync:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
