"""Images made on this machine: of an archive (``import``) and of a container's changes (``commit``).

Owns the new configuration and its history. Fetches nothing.

Spec: Docker API 1.47, ImageCreate with fromSrc, ImageCommit; OCI image 1.1, config.md.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.events import EventHub
from runtime.images.arriving import Arriving
from runtime.images.collect import Collector
from runtime.images.compression import MAGIC_BYTES, CompressionError, decompressed, kind_of
from runtime.images.content import ContentStore, Descriptor, Ingest
from runtime.images.dockerfile import apply_changes
from runtime.images.fetch import disk_error
from runtime.images.layers import (
    UNPACKED_FLOOR_BYTES,
    UNPACKED_MAX_BYTES,
    Claim,
    Layers,
    allowance,
)
from runtime.images.leases import Lease, Leases
from runtime.images.manifest import (
    LAYERS_MAX,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Manifest,
    chain_ids,
    make_manifest,
    parse_config,
)
from runtime.images.platform import Platform, host
from runtime.images.reference import Digest, ImageId, Reference
from runtime.images.store import Change, ImageRecord, ImageStore, make_record
from runtime.images.stream import BodyGone, in_thread_with
from runtime.images.threads import acquired, ended, to_the_end
from runtime.images.times import rfc3339
from runtime.images.workers import LayerInvalid, Workers
from runtime.snapshots.base import Snapshotter

EMPTY_DIFF_ID = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"  # 1024 zero bytes
_SUFFIXES = {"plain": "", "gzip": "+gzip", "zstd": "+zstd"}


@dataclass(frozen=True, slots=True)
class NewImage:
    """What a committed image says of itself, besides its files."""

    config: dict[str, Any]  # Docker-shaped; what containers of it will run with
    parent: str | None = None  # image id
    author: str = ""
    comment: str = ""
    created_by: str = ""  # the container's command
    changes: Sequence[str] = ()  # Dockerfile instructions
    extra: dict[str, Any] = field(default_factory=dict)  # e.g. "container", "container_config"


class Maker:
    """Makes images."""

    def __init__(
        self,
        *,
        content: ContentStore,
        store: ImageStore,
        leases: Leases,
        collector: Collector,
        layers: Layers,
        workers: Workers,
        snapshots: Snapshotter,
        events: EventHub,
    ) -> None:
        self._content = content
        self._store = store
        self._leases = leases
        self._collector = collector
        self._layers = layers
        self._workers = workers
        self._snapshots = snapshots
        self._events = events

    async def import_archive(
        self,
        body: AsyncIterator[bytes],
        name: Reference | None,
        *,
        message: str,
        changes: Sequence[str],
        platform: Platform,
    ) -> ImageId:
        """An image of one layer, made of a root file system's archive, compressed or not.

        Raises: InvalidArgument, LayerInvalid, DiskFull.
        """
        config = apply_changes({}, changes)
        async with self._lease() as lease:
            blob, diff_id = await self._receive(body, lease)
            now = rfc3339(time.time())
            document = {
                "created": now,
                "architecture": platform.architecture,
                "os": platform.os,
                **({"variant": platform.variant} if platform.variant else {}),
                "comment": message or "Imported from -",
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": [diff_id]},
                "history": [{"created": now, "comment": message or "Imported from -"}],
            }
            record = await self._keep(document, [blob], lease, name, parent=None)
        self._events.publish("image", "import", record.id, {**record.labels, "name": str(record.id)})
        return record.id

    async def commit(self, upper: Path, new: NewImage, name: Reference | None) -> ImageId:
        """An image of a container's changes on top of the image it was made of.

        Raises: NotFound, InvalidArgument, LayerInvalid, DiskFull.
        """
        config = apply_changes(new.config, new.changes)
        parent = self._store.get(new.parent) if new.parent else None
        async with self._lease() as lease:
            below = parent.chain if parent else []
            if len(below) >= LAYERS_MAX:
                raise InvalidArgument(f"the image would have more than {LAYERS_MAX} layers")
            if parent is not None:
                async with self._collector.lock:
                    lease.layers.update(parent.chain)
                    lease.blobs.update(parent.all_blobs)
            blob = await self._pack(upper, lease)
            now = rfc3339(time.time())
            blobs = list(parent.blobs) if parent else []
            diff_ids = list(parent.diff_ids) if parent else []
            entry: dict[str, Any] = {"created": now, "created_by": new.created_by}
            entry |= {
                key: value for key, value in (("author", new.author), ("comment", new.comment)) if value
            }
            if blob.digest == EMPTY_DIFF_ID:
                entry["empty_layer"] = True
            else:
                diff_ids.append(await self._layers.adopt(blob, below, self._claim(lease)))
                blobs.append(blob)
            platform = host()
            before = parent.config if parent else {"architecture": platform.architecture, "os": platform.os}
            document = {
                **{key: before[key] for key in ("architecture", "os", "variant") if before.get(key)},
                **new.extra,
                "created": now,
                "author": new.author,
                "config": config,
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
                "history": [*_history(parent), entry],
            }
            if new.comment:
                document["comment"] = new.comment
            record = await self._keep(document, blobs, lease, name, parent=parent.id if parent else None)
        return record.id

    # -- blobs

    async def _receive(self, body: AsyncIterator[bytes], lease: Lease) -> tuple[Descriptor, Digest]:
        """The archive as a blob, unpacked while it comes: (blob, diff id)."""
        async with acquired(self._content.ingest, Ingest.discard) as ingest:
            arriving = Arriving(ingest)
            kind: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            unpacking = asyncio.create_task(self._unpack(arriving, kind, lease))
            try:
                try:
                    await self._read(body, arriving, kind)
                except BaseException as error:
                    arriving.end(error)
                    raise
                arriving.end()
                # Who sends is heard out, also when the archive turned out broken: then it reads our answer.
                found = (await asyncio.gather(unpacking, return_exceptions=True))[0]
                blob = await self._commit_blob(ingest, kind.result(), lease)
            finally:
                await ended(unpacking)
                arriving.close()
        if isinstance(found, LayerInvalid) and allowance(blob.size) > UNPACKED_FLOOR_BYTES:
            # It may only have been larger than what is given to an archive of unknown size.
            return blob, await self._layers.adopt(blob, (), self._claim(lease))
        if isinstance(found, BaseException):
            raise found
        return blob, found

    async def _unpack(self, arriving: Arriving, kind: asyncio.Future[str], lease: Lease) -> Digest:
        # What is not compressed cannot become larger than it is.
        bytes_max = UNPACKED_MAX_BYTES if await kind == "plain" else UNPACKED_FLOOR_BYTES
        return await self._layers.adopt_growing(arriving, (), self._claim(lease), bytes_max)

    async def _read(self, body: AsyncIterator[bytes], arriving: Arriving, kind: asyncio.Future[str]) -> None:
        """Take in the archive; what a layer cannot be compressed with is unpacked on the way."""
        loop = asyncio.get_running_loop()

        def tell(found: str) -> None:
            if not kind.done():  # cancelled with whoever waited for it
                kind.set_result(found)

        def read(chunks: Iterator[bytes]) -> None:
            start = b""
            while len(start) < MAGIC_BYTES and (more := next(chunks, b"")):
                start += more
            found = kind_of(start)
            kept = found in _SUFFIXES
            loop.call_soon_threadsafe(tell, found if kept else "plain")
            if kept:
                arriving.append([start])
                arriving.append(chunks)
            else:
                arriving.append(decompressed(chunks, start))

        try:
            await in_thread_with(body, read)
        except CompressionError as error:
            raise InvalidArgument(f"the archive cannot be read: {error}") from None
        except BodyGone:
            raise asyncio.CancelledError from None

    def _claim(self, lease: Lease) -> Claim:
        async def claim(chain: str) -> None:
            async with self._collector.lock:
                lease.layers.add(chain)

        return claim

    async def _pack(self, upper: Path, lease: Lease) -> Descriptor:
        async with acquired(self._content.ingest, Ingest.discard) as ingest:
            await self._workers.pack(upper, ingest.descriptor)
            await to_the_end(ingest.take_up)
            return await self._commit_blob(ingest, "plain", lease)

    async def _commit_blob(self, ingest: Ingest, kind: str, lease: Lease) -> Descriptor:
        async with self._collector.lock:
            lease.blobs.add(ingest.found)
            found = await to_the_end(ingest.commit)
        return replace(found, media_type=OCI_LAYER + _SUFFIXES[kind])

    # -- records

    async def _keep(
        self,
        document: dict[str, Any],
        blobs: Sequence[Descriptor],
        lease: Lease,
        name: Reference | None,
        *,
        parent: ImageId | None,
    ) -> ImageRecord:
        data = json.dumps(document, separators=(",", ":")).encode()
        config = parse_config(data, len(blobs))
        chain = chain_ids(config.diff_ids)

        def write() -> tuple[Descriptor, Descriptor, int]:
            described = Descriptor(OCI_CONFIG, self._content.write(data), len(data))
            manifest = make_manifest(described, blobs)
            kept = Descriptor(OCI_MANIFEST, self._content.write(manifest), len(manifest))
            return described, kept, sum(self._snapshots.layer_size(chain_id) for chain_id in chain)

        async with self._collector.lock:
            described, manifest, size_bytes = await to_the_end(write)
            lease.blobs.update((described.digest, manifest.digest))
        record = make_record(
            ImageId(described.digest),
            config,
            manifest,
            Manifest(OCI_MANIFEST, described, tuple(blobs)),
            size_bytes,
            time.time(),
        )
        record = replace(record, parent=parent)

        def plan() -> Change:
            known = self._store.by_id(record.id)
            names = {*(known.names if known else ()), *((name,) if name else ())}
            return Change([replace(known or record, names=tuple(sorted(names, key=str)))])

        await self._store.change(plan)
        return record

    @asynccontextmanager
    async def _lease(self) -> AsyncIterator[Lease]:
        """Content that only this operation knows; collected when it fails."""
        async with self._collector.lock:
            lease = self._leases.take(f"make-{secrets.token_hex(8)}", (), (), time.time())
        try:
            yield lease
        except OSError as error:
            raise disk_error(error) from error
        finally:
            self._leases.leave(lease, keep=False)
            await self._collector.collect()


def _history(parent: ImageRecord | None) -> list[dict[str, Any]]:
    if parent is None:
        return []
    history = parent.config.get("history") or []
    # A history that does not account for every layer would shift what is added to it.
    fits = sum(not entry.get("empty_layer") for entry in history) == len(parent.diff_ids)
    return list(history) if fits else [{"created_by": ""} for _ in parent.diff_ids]
