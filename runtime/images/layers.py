"""Layers: from a blob in a registry or on disk to a snapshot under its chain id, once for all who want it.

Owns the running layers. A layer is committed after the one below it, so what is there is always usable from
the bottom up. Never names images.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from runtime.api.errors import EngineError
from runtime.images.content import BlobInvalid, Descriptor
from runtime.images.fetch import Download, Fetches, Kept
from runtime.images.inherit import inherit_attributes
from runtime.images.manifest import chain_id, chain_ids
from runtime.images.progress import Message, bar, first_error, short, status
from runtime.images.reference import Digest
from runtime.images.registry import Repository
from runtime.images.threads import acquired, ended, to_the_end
from runtime.images.workers import Growing, Layer, LayerInvalid, Workers
from runtime.snapshots.base import Snapshotter, Staging

ENTRIES_MAX = 4_000_000  # of one layer
UNPACKED_FLOOR_BYTES = 8 << 30  # a layer may become this large whatever its size
UNPACKED_RATIO = 200  # above that, this many times what was downloaded
UNPACKED_MAX_BYTES = 1 << 40

Claim = Callable[[str], Awaitable[None]]  # keeps a chain id from collection


@dataclass(frozen=True, slots=True)
class Step:
    """One layer of an image."""

    blob: Descriptor
    diff_id: Digest
    chain_id: str
    below: tuple[str, ...]  # chain ids of the layers below, lowest first

    @property
    def parent(self) -> str | None:
        return self.below[-1] if self.below else None


def steps(blobs: Sequence[Descriptor], diff_ids: Sequence[Digest]) -> list[Step]:
    """The layers of an image, lowest first."""
    chain = chain_ids(diff_ids)
    return [
        Step(blob, diff_id, chain[at], tuple(chain[:at]))
        for at, (blob, diff_id) in enumerate(zip(blobs, diff_ids, strict=True))
    ]


def allowance(compressed_bytes: int) -> int:
    """What a layer of this size may unpack to: no bomb, but every layer people really make."""
    return min(max(UNPACKED_FLOOR_BYTES, compressed_bytes * UNPACKED_RATIO), UNPACKED_MAX_BYTES)


class _Work:
    """One layer being made; tells all followers how it goes, newcomers first how far it is."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.followers: dict[int, Callable[[Message], None]] = {}
        self.task: asyncio.Task[None]
        self._id = short(step.blob.digest)
        self._last = status("Pulling fs layer", self._id)
        self._downloaded = False

    def join(self, tell: Callable[[Message], None]) -> int:
        key = max(self.followers, default=0) + 1
        self.followers[key] = tell
        tell(dict(self._last))
        return key

    def tell(self, message: Message) -> None:
        self._last = message
        for follower in self.followers.values():
            follower(dict(message))

    # -- Listener of the download

    def downloading(self, current: int, total: int) -> None:
        self.tell(bar("Downloading", self._id, current, total))

    def verifying(self) -> None:
        self.tell(status("Verifying Checksum", self._id))

    def waiting(self, seconds: float) -> None:
        whole = max(1, round(seconds))
        self.tell(status(f"Retrying in {whole} second{'s' if whole != 1 else ''}", self._id))

    # -- of the unpacking

    def downloaded(self) -> None:
        if not self._downloaded:
            self._downloaded = True
            self.tell(status("Download complete", self._id))

    def extracting(self, current: int) -> None:
        if self._downloaded:
            self.tell(bar("Extracting", self._id, current, self.step.blob.size))

    def ready(self) -> None:
        self.downloaded()
        self.tell(status("Pull complete", self._id))


class Layers:
    """Makes layers that are missing."""

    def __init__(self, fetches: Fetches, workers: Workers, snapshots: Snapshotter) -> None:
        self._fetches = fetches
        self._workers = workers
        self._snapshots = snapshots
        self._running: dict[str, _Work] = {}

    async def ensure(
        self, wanted: Sequence[Step], sources: Sequence[Repository], tell: Callable[[Message], None]
    ) -> None:
        """Return when every layer is there; cancelling leaves the ones that others also want running.

        Raises: LayerInvalid, BlobInvalid, DiskFull, and what the registry client raises (in a group).
        """
        self._workers.warm()
        missing = []
        for step in wanted:
            if step.chain_id not in self._running and self._snapshots.has_layer(step.chain_id):
                tell(status("Already exists", short(step.blob.digest)))
            else:
                missing.append(step)
        async with asyncio.TaskGroup() as group:
            for step in missing:
                group.create_task(self._follow(step, sources, tell))

    async def adopt(self, blob: Descriptor, below: Sequence[str], claim: Claim) -> Digest:
        """Make a layer of a blob that lies here and whose diff id nobody knows yet; returns it.

        ``below`` are the chain ids under it; ``claim`` is called with its own before it can be seen.
        Raises: LayerInvalid, DiskFull, Internal.
        """
        return await self.adopt_growing(self._fetches.kept(blob), below, claim, allowance(blob.size))

    async def adopt_growing(
        self, blob: Growing, below: Sequence[str], claim: Claim, bytes_max: int
    ) -> Digest:
        """The same while the blob is arriving. Raises also: what ``blob.grown`` raises."""
        async with self._staging() as staging:
            layer = await self._workers.unpack(
                blob, staging.path, bytes_max=bytes_max, entries_max=ENTRIES_MAX, progress=lambda _: None
            )
            chain = chain_id(below[-1] if below else None, Digest(layer.diff_id))
            await claim(chain)
            await to_the_end(self._commit, staging, chain, tuple(below), layer)
            return Digest(layer.diff_id)

    def _staging(self) -> AbstractAsyncContextManager[Staging]:
        """A directory to fill; what was not committed at the end is thrown away."""
        return acquired(lambda: self._snapshots.begin_layer(None), self._snapshots.abort_layer)

    async def _follow(
        self, step: Step, sources: Sequence[Repository], tell: Callable[[Message], None]
    ) -> None:
        while True:
            work = self._running.get(step.chain_id)
            if work is not None and not work.followers:
                # It is being given up, as nobody wanted it a moment ago: begin anew when it is gone.
                await asyncio.wait([work.task])
                await asyncio.sleep(0)
                continue
            ours = work is None
            if work is None:
                work = self._running[step.chain_id] = _Work(step)
                work.task = asyncio.create_task(self._make(work, sources))
                work.task.add_done_callback(lambda _, work=work: self._forget(work))  # type: ignore[misc]
            key = work.join(tell)
            try:
                await asyncio.shield(work.task)
                return
            except EngineError:
                # Who started it may have had less rights or a worse mirror than we have.
                if ours:
                    raise
            finally:
                del work.followers[key]
                if not work.followers and not work.task.done():
                    await ended(work.task)

    def _forget(self, work: _Work) -> None:
        if self._running.get(work.step.chain_id) is work:
            del self._running[work.step.chain_id]

    async def _make(self, work: _Work, sources: Sequence[Repository]) -> None:
        """Download and unpack one layer; once more where that can help."""
        rest = list(sources)
        while True:
            resumed = False
            try:
                async with self._fetches.follow(work.step.blob, rest, work) as blob:
                    if isinstance(blob, Download):
                        await blob.started()
                    resumed = blob.resumed
                    await self._unpack(work, blob)
                    return
            except BlobInvalid:
                # Bytes kept from an earlier try, or a mirror, may be what is wrong.
                if not resumed:
                    if len(rest) < 2:
                        raise
                    del rest[0]

    async def _unpack(self, work: _Work, blob: Kept | Download) -> None:
        step = work.step
        async with self._staging() as staging:
            layer = await self._fill(work, blob, staging)
            if layer.diff_id != step.diff_id:
                raise LayerInvalid(
                    f"failed to register layer: {short(step.blob.digest)} unpacks to {layer.diff_id}, "
                    f"the image configuration says {step.diff_id}"
                )
            below = self._running.get(step.parent) if step.parent else None
            if below is not None:
                await asyncio.shield(below.task)
            await to_the_end(self._commit, staging, step.chain_id, step.below, layer)
        work.ready()

    async def _fill(self, work: _Work, blob: Kept | Download, staging: Staging) -> Layer:
        try:
            async with asyncio.TaskGroup() as group:
                if isinstance(blob, Download):
                    group.create_task(_tell_finished(blob, work))
                else:
                    work.downloaded()
                unpacking = group.create_task(
                    self._workers.unpack(
                        blob,
                        staging.path,
                        bytes_max=allowance(work.step.blob.size),
                        entries_max=ENTRIES_MAX,
                        progress=work.extracting,
                    )
                )
        except ExceptionGroup as group_error:
            error = first_error(group_error)
            if isinstance(error, LayerInvalid):
                raise LayerInvalid(f"failed to register layer: {error.message}") from None
            raise error from None
        return unpacking.result()

    def _commit(self, staging: Staging, chain: str, under: Sequence[str], layer: Layer) -> None:
        if layer.implied:
            below = [self._snapshots.layer_path(chain_id) for chain_id in under]
            inherit_attributes(staging.path, layer.implied, below, self._snapshots.opaque_xattr)
        staging = dataclasses.replace(staging, parent=under[-1] if under else None)
        self._snapshots.commit_layer(staging, chain, layer.size_bytes)


async def _tell_finished(blob: Download, work: _Work) -> None:
    await blob.finished()
    work.downloaded()
