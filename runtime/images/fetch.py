"""Downloading blobs: several at once, each once for all who want it, going on where the last try ended.

Owns the running downloads. Never unpacks and never names an image. A download ends when nobody follows it
any more; what came of it is kept for the next try.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from runtime.api.errors import EngineError, Internal
from runtime.images.answers import RegistryAnswer
from runtime.images.content import BlobInvalid, ContentStore, Descriptor, Ingest, is_full
from runtime.images.progress import BAR_S
from runtime.images.registry import Repository, pause
from runtime.images.threads import acquired, ended, to_the_end
from runtime.images.transport import Unreachable
from runtime.images.workers import DiskFull

DOWNLOADS = 3  # at once, of all pulls; Docker's max-concurrent-downloads
BATCH_BYTES = 1 << 19  # written at once
BATCH_S = 0.1  # what came is not kept back longer, so that slow downloads show and keep what they have
PROGRESS_BYTES = 1 << 16  # a try that brought this much counts as a success


class Listener(Protocol):
    """Hears how a download goes; all calls come from the event loop."""

    def downloading(self, current: int, total: int) -> None: ...
    def verifying(self) -> None: ...
    def waiting(self, seconds: float) -> None: ...


class Kept:
    """A blob that is here already."""

    resumed = False

    def __init__(self, content: ContentStore, descriptor: Descriptor) -> None:
        self._path = content.path(descriptor.digest)
        self._size = descriptor.size

    def open(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)

    async def grown(self, beyond: int) -> tuple[int, bool]:
        return self._size, True

    async def finished(self) -> None:
        return


class Download:
    """A blob that is arriving."""

    def __init__(self, fetches: Fetches, descriptor: Descriptor, sources: Sequence[Repository]) -> None:
        self.descriptor = descriptor
        self.listeners: list[Listener] = []
        self.resumed = False  # began with bytes of an earlier try
        self._fetches = fetches
        self._sources = sources
        self._reader = -1
        self._available = 0
        self._complete = False
        self._error: EngineError | None = None
        self._changed = asyncio.Event()
        self._noted_at = 0.0
        self.followers = 0
        self.task = asyncio.create_task(self._run())

    # -- for those who read it while it comes

    async def started(self) -> None:
        """Wait until there is a file to read. Raises: what stopped the download."""
        while self._reader < 0 and self._error is None:
            await self._changed.wait()
        if self._error is not None:
            raise self._error

    def open(self) -> int:
        if self._reader < 0:
            raise RuntimeError("expected a started download, got one that waits")
        return os.dup(self._reader)

    def close(self) -> None:
        """Nobody follows any more, and the task has ended."""
        if self._reader >= 0:
            os.close(self._reader)
            self._reader = -1

    async def grown(self, beyond: int) -> tuple[int, bool]:
        while True:
            if self._error is not None:
                raise self._error
            if self._complete or self._available > beyond:
                return self._available, self._complete
            await self._changed.wait()

    async def finished(self) -> None:
        """Wait for the verified blob. Raises: what stopped the download."""
        while not self._complete:
            if self._error is not None:
                raise self._error
            await self._changed.wait()

    # -- the work

    def _announce(self) -> None:
        """Wake everybody who waits, once."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _run(self) -> None:
        try:
            async with self._fetches.slots:
                await self._fetch()
        except EngineError as error:
            self._error = error
        except OSError as error:
            self._error = disk_error(error)
        finally:
            if self._error is None and not self._complete:
                self._error = Internal(f"the download of {self.descriptor.digest} was given up")
            self._announce()

    async def _fetch(self) -> None:
        content, described = self._fetches.content, self.descriptor
        async with acquired(lambda: content.ingest(described.digest, described.size), Ingest.keep) as ingest:
            self._reader = ingest.open()  # kept, as the file is renamed or removed at the end
            self._available = ingest.offset
            self.resumed = ingest.offset > 0
            self._announce()
            try:
                await self._from_any(ingest)
                for listener in self.listeners:
                    listener.verifying()
                await to_the_end(ingest.commit)
            except (BlobInvalid, DiskFull):
                await to_the_end(ingest.discard)
                raise
            self._complete = True

    async def _from_any(self, ingest: Ingest) -> None:
        failure: EngineError | None = None
        for source in self._sources:
            try:
                await self._from(source, ingest)
                return
            except (Unreachable, RegistryAnswer) as error:
                failure = failure or error
        raise failure or Internal(f"blob {self.descriptor.digest} has no source")

    async def _from(self, source: Repository, ingest: Ingest) -> None:
        """Fetch what is missing from one place, with as many tries as bring something."""
        transport = source.session.transport
        attempt = 0
        while ingest.offset < self.descriptor.size:
            before = ingest.offset
            try:
                await self._once(source, ingest)
                if ingest.offset < self.descriptor.size:
                    raise Unreachable(f"blob {self.descriptor.digest}: unexpected EOF")
            except (Unreachable, RegistryAnswer) as error:
                if isinstance(error, RegistryAnswer) and error.status_seen == 416:
                    raise BlobInvalid(
                        f"blob {self.descriptor.digest} is {ingest.offset} bytes long, "
                        f"its manifest says {self.descriptor.size}"
                    ) from None
                attempt = 1 if ingest.offset - before >= PROGRESS_BYTES else attempt + 1
                pause_s = pause(transport, error, attempt)
                if pause_s is None:
                    raise
                for listener in self.listeners:
                    listener.waiting(pause_s)
                await asyncio.sleep(pause_s)

    async def _once(self, source: Repository, ingest: Ingest) -> None:
        async with source.blob(self.descriptor.digest, ingest.offset) as stream:
            # A registry without ranges begins anew; what we have is skipped, as a reader may be using it.
            skip = ingest.offset - stream.offset
            batch: list[bytes] = []
            size = 0
            flushed_at = time.monotonic()
            try:
                while chunk := await stream.read():
                    if skip:
                        skipped = min(skip, len(chunk))
                        skip -= skipped
                        chunk = chunk[skipped:]
                    batch.append(chunk)
                    size += len(chunk)
                    if size >= BATCH_BYTES or (size and time.monotonic() - flushed_at >= BATCH_S):
                        full, batch, size, flushed_at = batch, [], 0, time.monotonic()
                        await self._append(ingest, full)
            finally:
                # Also what came before the connection was cut, or the pull cancelled, is worth keeping.
                if size:
                    await self._append(ingest, batch)

    async def _append(self, ingest: Ingest, batch: list[bytes]) -> None:
        try:
            await to_the_end(ingest.append, batch)
        except OSError as error:
            # Inside a request an OSError would be taken for one of the connection.
            raise disk_error(error) from error
        self._available = ingest.offset
        self._announce()
        now = time.monotonic()
        if now - self._noted_at >= BAR_S:
            self._noted_at = now
            for listener in self.listeners:
                listener.downloading(self._available, self.descriptor.size)


class Fetches:
    """The downloads of one engine."""

    def __init__(self, content: ContentStore, *, downloads: int = DOWNLOADS) -> None:
        self.content = content
        self.slots = asyncio.Semaphore(downloads)
        self._running: dict[str, Download] = {}

    def kept(self, descriptor: Descriptor) -> Kept:
        return Kept(self.content, descriptor)

    @asynccontextmanager
    async def follow(
        self, descriptor: Descriptor, sources: Sequence[Repository], listener: Listener
    ) -> AsyncIterator[Kept | Download]:
        """The blob, here or arriving, while the context is open; the last one to leave ends the download."""
        digest = descriptor.digest
        while (download := self._running.get(digest)) is not None and not download.followers:
            await asyncio.wait([download.task])  # it is being given up; begin anew when it is gone
            await asyncio.sleep(0)
        if download is None:
            if self.content.has(digest):
                yield Kept(self.content, descriptor)
                return
            download = self._running[digest] = Download(self, descriptor, sources)
            download.task.add_done_callback(lambda _: self._forget(digest))
        download.followers += 1
        download.listeners.append(listener)
        try:
            yield download
        finally:
            download.followers -= 1
            download.listeners.remove(listener)
            if not download.followers:
                try:
                    await ended(download.task)
                finally:
                    download.close()

    def _forget(self, digest: str) -> None:
        self._running.pop(digest, None)


def disk_error(error: OSError) -> EngineError:
    """A failure of this machine's disk, as the room's users see it."""
    text = os.strerror(error.errno).lower() if error.errno else str(error)
    return DiskFull(text) if is_full(error) else Internal(f"writing image content: {text}")
