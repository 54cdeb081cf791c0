"""Pushing: an image's blobs and manifest into a registry, with Docker's words on the way.

Spec: Docker API 1.47, ImagePush.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from isal import isal_zlib

from runtime.api.errors import EngineError, Internal, NotFound, Unauthorized
from runtime.events import EventHub
from runtime.images.answers import NoCredentials, RegistryAnswer, WrongCredentials
from runtime.images.auth import Credentials
from runtime.images.collect import Collector
from runtime.images.content import ContentStore, Descriptor, Ingest, digest_of
from runtime.images.fetch import disk_error
from runtime.images.leases import Lease, Leases
from runtime.images.manifest import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    make_manifest,
)
from runtime.images.progress import BAR_S, Progress, bar, first_error, short, status
from runtime.images.reference import Digest, Reference
from runtime.images.registry import Repository
from runtime.images.session import Session, origin
from runtime.images.store import Change, ImageRecord, ImageStore
from runtime.images.threads import acquired, finished, in_thread, to_the_end
from runtime.images.transport import Refused, Transport, Unreachable
from runtime.images.upload import Uploader

UPLOADS = 5  # at once, of one push; Docker's max-concurrent-uploads
READ_BYTES = 1 << 20
COMPRESSION_LEVEL = 1  # isal: several hundred MB/s, near zlib's 6 in size
GZIP_WINDOW = 31  # zlib's way to say: with a gzip header


class Pusher:
    """Pushes images."""

    def __init__(
        self,
        *,
        content: ContentStore,
        store: ImageStore,
        leases: Leases,
        collector: Collector,
        transport: Transport,
        events: EventHub,
    ) -> None:
        self._content = content
        self._store = store
        self._leases = leases
        self._collector = collector
        self._transport = transport
        self._events = events

    async def push(self, names: Sequence[Reference], credentials: Credentials, progress: Progress) -> None:
        """Push the images under these names, all of one repository.

        Raises: EngineError, in Docker's words.
        """
        repository = names[0].repository
        session = Session(self._transport, origin(self._transport, repository.domain), credentials)
        progress.put(status(f"The push refers to repository [{repository.name}]"))
        try:
            for name in names:
                await self._push_one(name, session, progress)
        except (RegistryAnswer, Unreachable, Refused) as error:
            raise _translated(error, repository) from error
        except OSError as error:
            raise disk_error(error) from error

    async def _push_one(self, name: Reference, session: Session, progress: Progress) -> None:
        image = self._store.by_name(name)
        if image is None:
            raise NotFound(f"tag does not exist: {name.familiar}")
        async with self._collector.lock:
            lease = self._leases.take(
                f"push-{os.urandom(8).hex()}", image.all_blobs, image.chain, time.time()
            )
        try:
            image = await self._travelling(image, lease)
            await self._upload(name, image, session, progress)
        finally:
            self._leases.leave(lease, keep=False)

    async def _upload(
        self, name: Reference, image: ImageRecord, session: Session, progress: Progress
    ) -> None:
        repository = Repository(session, name.path, actions="pull,push")
        siblings = [
            source.path
            for source in image.sources
            if source.domain == name.domain and source.path != name.path
        ]
        repository.extra_scopes = [f"repository:{path}:pull" for path in dict.fromkeys(siblings)]
        uploader = Uploader(repository)
        lines: dict[Digest, tuple[Descriptor, str]] = {}
        for blob, diff_id in zip(image.blobs, image.diff_ids, strict=True):
            lines.setdefault(blob.digest, (blob, short(diff_id)))
        for _, line in lines.values():
            progress.put(status("Preparing", line))
        slots = asyncio.Semaphore(UPLOADS)

        async def layer(blob: Descriptor, line: str) -> None:
            async with slots:
                await self._layer(uploader, blob, line, siblings, progress)

        try:
            async with asyncio.TaskGroup() as group:
                for blob, line in lines.values():
                    group.create_task(layer(blob, line))
        except ExceptionGroup as failed:
            raise first_error(failed) from None
        config = Descriptor(OCI_CONFIG, Digest(image.id), self._content.size(Digest(image.id)))
        if not await uploader.has(config.digest):
            await self._blob(uploader, config, lambda _: None)
        data = await self._manifest(uploader, name, image)
        digest = digest_of(data)
        await self._remember(name, image, digest)
        progress.put(status(f"{name.tag}: digest: {digest} size: {len(data)}"))
        progress.put({"progressDetail": {}, "aux": {"Tag": name.tag, "Digest": digest, "Size": len(data)}})
        self._events.publish("image", "push", name.familiar, {"name": name.familiar_name})

    async def _layer(
        self, uploader: Uploader, blob: Descriptor, line: str, siblings: Sequence[str], progress: Progress
    ) -> None:
        if await uploader.has(blob.digest):
            progress.put(status("Layer already exists", line))
            return
        for path in siblings:
            if await uploader.mount(blob.digest, path):
                progress.put(status(f"Mounted from {path}", line))
                return
        noted_at = 0.0

        def step(current: int) -> None:
            nonlocal noted_at
            now = time.monotonic()
            if now - noted_at >= BAR_S or current == blob.size:
                noted_at = now
                progress.put(bar("Pushing", line, current, blob.size))

        await self._blob(uploader, blob, step)
        progress.put(status("Pushed", line))

    async def _blob(self, uploader: Uploader, blob: Descriptor, step: Any) -> None:
        try:
            descriptor = os.open(self._content.path(blob.digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Internal(f"blob {blob.digest} is missing; pull the image again") from None
        try:
            await uploader.blob(blob, descriptor, step)
        finally:
            os.close(descriptor)

    async def _manifest(self, uploader: Uploader, name: Reference, image: ImageRecord) -> bytes:
        """Upload the manifest, in Docker's words where the registry does not know OCI's."""
        data = await in_thread(self._content.read, image.manifest.digest)
        media_type = image.manifest.media_type
        try:
            await uploader.manifest(name.tag or "", data, media_type)
        except RegistryAnswer as error:
            old = as_docker(data) if media_type == OCI_MANIFEST else None
            if old is None or not (error.status_seen == 415 or error.code == "MANIFEST_INVALID"):
                raise
            data = old
            await uploader.manifest(name.tag or "", data, DOCKER_MANIFEST)
        return data

    async def _remember(self, name: Reference, image: ImageRecord, digest: Digest) -> None:
        """The image is known under this digest from now on, as after a pull."""

        def plan() -> Change:
            current = self._store.by_id(image.id)
            if current is None:
                return Change()
            sources = {*current.sources, name.with_digest(digest)}
            return Change([replace(current, sources=tuple(sorted(sources, key=str)))])

        await self._store.change(plan)

    # -- compression

    async def _travelling(self, image: ImageRecord, lease: Lease) -> ImageRecord:
        """The image with layers as they should travel: those that came as plain archives are compressed.

        The compressed blobs take the place of the plain ones in the store as well.
        """
        plain = [blob for blob in image.blobs if not blob.media_type.endswith(("gzip", "zstd"))]
        if not plain:
            return image
        packed: dict[Digest, Descriptor] = {}
        for blob in plain:
            if blob.digest not in packed:
                packed[blob.digest] = await self._compress(blob, lease)
        blobs = tuple(packed.get(blob.digest, blob) for blob in image.blobs)
        config = Descriptor(OCI_CONFIG, Digest(image.id), self._content.size(Digest(image.id)))
        data = make_manifest(config, blobs)
        async with self._collector.lock:
            digest = await to_the_end(self._content.write, data)
            lease.blobs.add(digest)
        manifest = Descriptor(OCI_MANIFEST, digest, len(data))

        def plan() -> Change:
            current = self._store.by_id(image.id)
            if current is None or current.manifest != image.manifest:
                return Change()
            return Change([replace(current, manifest=manifest, blobs=blobs)])

        await self._store.change(plan)
        return replace(image, manifest=manifest, blobs=blobs)

    async def _compress(self, blob: Descriptor, lease: Lease) -> Descriptor:
        stopped = False

        def work(ingest: Ingest) -> None:
            packer = isal_zlib.compressobj(COMPRESSION_LEVEL, wbits=GZIP_WINDOW)
            with open(self._content.path(blob.digest), "rb") as file:
                while (data := file.read(READ_BYTES)) and not stopped:
                    ingest.append([packer.compress(data)])
            ingest.append([packer.flush()])

        async with acquired(self._content.ingest, Ingest.discard) as ingest:
            working = in_thread(work, ingest)
            try:
                await asyncio.shield(working)
            finally:
                stopped = True
                await finished(working)
            return replace(await self._commit(ingest, lease), media_type=OCI_LAYER + "+gzip")

    async def _commit(self, ingest: Ingest, lease: Lease) -> Descriptor:
        async with self._collector.lock:
            lease.blobs.add(ingest.found)
            return await to_the_end(ingest.commit)


def as_docker(data: bytes) -> bytes | None:
    """An OCI manifest in the words of Docker's schema 2; None where it has none."""
    body = json.loads(data)
    suffixes = {OCI_LAYER: "", OCI_LAYER + "+gzip": ".gzip"}
    layers = body.get("layers") or []
    if any(layer["mediaType"] not in suffixes for layer in layers):
        return None
    converted = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": {**_plain(body["config"]), "mediaType": DOCKER_CONFIG},
        "layers": [
            {**_plain(layer), "mediaType": DOCKER_LAYER + suffixes[layer["mediaType"]]} for layer in layers
        ],
    }
    return json.dumps(converted, separators=(",", ":")).encode()


def _plain(descriptor: dict[str, Any]) -> dict[str, Any]:
    return {key: descriptor[key] for key in ("mediaType", "size", "digest")}


def _translated(error: EngineError, repository: Reference) -> EngineError:
    if isinstance(error, WrongCredentials):
        return Unauthorized(error.message)
    if isinstance(error, NoCredentials):
        return Internal(error.message)
    if isinstance(error, RegistryAnswer):
        if error.code in ("DENIED", "UNAUTHORIZED"):
            return Internal("denied: requested access to the resource is denied")
        return Internal(error.message)
    return error
