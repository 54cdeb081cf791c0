"""Loading archives: what ``docker save``, ``podman save``, skopeo and buildah write, streamed.

Every file of the archive becomes a blob while it arrives; what the archive is, is known at its end, as the
documents may come last. Only then layers are unpacked and images named. Nothing of an archive that turns
out broken stays.

Spec: OCI image 1.1, image-layout.md; Docker's image tarball, manifest.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.api.errors import EngineError, InvalidArgument
from runtime.events import EventHub
from runtime.images import reference as references
from runtime.images.collect import Collector
from runtime.images.compression import MAGIC_BYTES, CompressionError, decompressed, kind_of
from runtime.images.content import ContentStore, Descriptor, Ingest
from runtime.images.fetch import disk_error
from runtime.images.layers import Layers, steps
from runtime.images.layout import CONTAINERD_NAME, REF_NAME
from runtime.images.leases import Lease, Leases
from runtime.images.manifest import (
    CONFIG_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Config,
    Manifest,
    chain_ids,
    make_manifest,
    parse_config,
    parse_document,
)
from runtime.images.paths import UnpackError, clean
from runtime.images.platform import host
from runtime.images.progress import Message, Progress, bar, first_error, short
from runtime.images.reference import Digest, ImageId, Reference
from runtime.images.store import Change, ImageStore, make_record
from runtime.images.stream import BodyGone, in_thread_with
from runtime.images.tar import DIRECTORY, FILE, HARDLINK, SYMLINK, TarReader
from runtime.images.tarfields import TarError
from runtime.images.threads import in_thread, to_the_end
from runtime.snapshots.base import Snapshotter

MEMBERS_MAX = 20_000
IMAGES_MAX = 500
INDEX_DEPTH_MAX = 3


@dataclass(slots=True)
class _Contents:
    """What lay in an archive."""

    files: dict[str, Digest] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    sizes: dict[Digest, int] = field(default_factory=dict)

    def find(self, name: str) -> Digest | None:
        """The file under a name, through the links old archives have between equal layers."""
        for _ in range(8):
            if name in self.files:
                return self.files[name]
            if name not in self.links:
                return None
            name = self.links[name]
        return None


@dataclass(slots=True)
class _Found:
    """One image of an archive."""

    config: Config
    id: ImageId
    layers: tuple[Descriptor, ...]
    names: tuple[Reference, ...]
    manifest: Descriptor | None  # as it stood in the archive


class Loader:
    """Loads archives."""

    def __init__(
        self,
        *,
        content: ContentStore,
        store: ImageStore,
        leases: Leases,
        collector: Collector,
        layers: Layers,
        snapshots: Snapshotter,
        events: EventHub,
    ) -> None:
        self._content = content
        self._store = store
        self._leases = leases
        self._collector = collector
        self._layers = layers
        self._snapshots = snapshots
        self._events = events

    async def load(self, body: AsyncIterator[bytes], progress: Progress, *, quiet: bool) -> None:
        """Take in every image of the archive.

        Raises: InvalidArgument for what is no such archive; LayerInvalid, DiskFull, Internal.
        """
        async with self._collector.lock:
            lease = self._leases.take(f"load-{secrets.token_hex(8)}", (), (), time.time())
        try:
            contents = await self._read(body, lease)
            found = await in_thread(self._images, contents)
            if not found:
                raise InvalidArgument("the archive holds no image")
            for image in found:
                await self._take(image, lease, progress, quiet=quiet)
        except OSError as error:
            raise disk_error(error) from error
        finally:
            self._leases.leave(lease, keep=False)
            await self._collector.collect()

    # -- reading

    async def _read(self, body: AsyncIterator[bytes], lease: Lease) -> _Contents:
        loop = asyncio.get_running_loop()

        async def commit(ingest: Ingest) -> Descriptor:
            async with self._collector.lock:
                lease.blobs.add(ingest.found)
                return await to_the_end(ingest.commit)

        def read(chunks: Iterator[bytes]) -> _Contents:
            contents = _Contents()
            reader = TarReader(decompressed(chunks))
            members = 0
            while (entry := reader.next()) is not None:
                members += 1
                if members > MEMBERS_MAX:
                    raise InvalidArgument(f"the archive has more than {MEMBERS_MAX} members")
                name = os.fsdecode(clean(entry.name))
                if entry.kind == FILE and entry.sparse is None:
                    ingest = self._content.ingest()
                    try:
                        ingest.append(reader.data())
                        digest = asyncio.run_coroutine_threadsafe(commit(ingest), loop).result().digest
                    finally:
                        ingest.discard()
                    contents.files[name] = digest
                    contents.sizes[digest] = entry.size
                elif entry.kind in (SYMLINK, HARDLINK):
                    inside = os.path.dirname(name) if entry.kind == SYMLINK else ""
                    contents.links[name] = os.path.normpath(os.path.join(inside, os.fsdecode(entry.link)))
                elif entry.kind != DIRECTORY:
                    raise InvalidArgument(f"the archive has a member of an unexpected kind: {name!r}")
            reader.drain()
            return contents

        try:
            return await in_thread_with(body, read)
        except (TarError, CompressionError, UnpackError) as error:
            raise InvalidArgument(f"the archive cannot be read: {error}") from None
        except BodyGone:
            raise asyncio.CancelledError from None

    # -- understanding

    def _images(self, contents: _Contents) -> list[_Found]:
        found: dict[ImageId, _Found] = {}
        listed = contents.find("manifest.json")
        if listed is not None:
            for entry in self._list(listed, contents):
                self._merge(found, self._from_docker(entry, contents))
        top = contents.find("index.json")
        if top is not None:
            described = Descriptor(OCI_INDEX, top, contents.sizes[top])
            for image in self._from_index(described, contents, (), not found, 0):
                self._merge(found, image)
        if listed is None and top is None:
            raise InvalidArgument(
                "the archive has neither a manifest.json nor an index.json: it is no image archive"
            )
        if len(found) > IMAGES_MAX:
            raise InvalidArgument(f"the archive has more than {IMAGES_MAX} images")
        return list(found.values())

    def _merge(self, found: dict[ImageId, _Found], image: _Found) -> None:
        known = found.get(image.id)
        if known is None:
            found[image.id] = image
            return
        known.names = tuple(dict.fromkeys((*known.names, *image.names)))
        if known.manifest is None and image.manifest is not None:
            known.manifest, known.layers = image.manifest, image.layers

    def _list(self, digest: Digest, contents: _Contents) -> list[dict[str, Any]]:
        data = self._document(digest, contents, MANIFEST_MAX_BYTES)
        try:
            body = json.loads(data)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, list) or not all(isinstance(entry, dict) for entry in body):
            raise InvalidArgument("the archive's manifest.json is not a list of images")
        return body

    def _from_docker(self, entry: dict[str, Any], contents: _Contents) -> _Found:
        """One image as manifest.json lists it."""
        names, files = entry.get("RepoTags") or [], entry.get("Layers") or []
        if not isinstance(entry.get("Config"), str) or not all(
            isinstance(one, str) for one in [*names, *files]
        ):
            raise InvalidArgument("the archive's manifest.json is broken")
        config_digest = contents.find(os.path.normpath(entry["Config"]))
        if config_digest is None:
            raise InvalidArgument(f"the archive lacks the configuration {entry['Config'][:200]!r}")
        config = parse_config(self._document(config_digest, contents, CONFIG_MAX_BYTES), len(files))
        layers = []
        for file in files:
            digest = contents.find(os.path.normpath(file))
            if digest is None:
                raise InvalidArgument(f"the archive lacks the layer {file[:200]!r}")
            layers.append(self._layer(digest, contents))
        return _Found(config, ImageId(config_digest), tuple(layers), tuple(_names(names)), None)

    def _from_index(
        self,
        described: Descriptor,
        contents: _Contents,
        names: tuple[Reference, ...],
        needed: bool,
        depth: int,
    ) -> list[_Found]:
        """The images an index of the layout names; what is not in the archive is left out unless needed."""
        if depth > INDEX_DEPTH_MAX:
            raise InvalidArgument("the archive's index is nested too deeply")
        body = parse_document(
            self._document(described.digest, contents, MANIFEST_MAX_BYTES), described.media_type
        )
        if isinstance(body, Manifest):
            return [self._from_manifest(body, described, contents, names)]
        found = []
        entries = list(body.entries)
        if depth:
            chosen = body.choose(host())
            entries = [entry for entry in entries if entry[0] == chosen]
            if not entries and needed:
                raise InvalidArgument(f"the archive has no image for {host()}")
        raw = (
            _annotations(self._document(described.digest, contents, MANIFEST_MAX_BYTES)) if not depth else {}
        )
        for entry, _ in entries:
            if entry.digest not in contents.sizes:
                if needed:
                    raise InvalidArgument(f"the archive lacks the manifest {entry.digest}, or it is damaged")
                continue
            own = names or tuple(_names(raw.get(entry.digest, [])))
            found += self._from_index(entry, contents, own, needed, depth + 1)
        return found

    def _from_manifest(
        self, manifest: Manifest, described: Descriptor, contents: _Contents, names: tuple[Reference, ...]
    ) -> _Found:
        for blob in (manifest.config, *manifest.layers):
            if contents.sizes.get(blob.digest) != blob.size:
                raise InvalidArgument(f"the archive lacks the blob {blob.digest}, or it is damaged")
        data = self._document(manifest.config.digest, contents, CONFIG_MAX_BYTES)
        config = parse_config(data, len(manifest.layers))
        media_type = described.media_type or OCI_MANIFEST
        return _Found(
            config,
            ImageId(manifest.config.digest),
            manifest.layers,
            names,
            replace(described, media_type=media_type),
        )

    def _document(self, digest: Digest, contents: _Contents, bytes_max: int) -> bytes:
        if contents.sizes.get(digest, bytes_max + 1) > bytes_max:
            raise InvalidArgument(f"a document of the archive is longer than {bytes_max} bytes, or missing")
        return self._content.read(digest)

    def _layer(self, digest: Digest, contents: _Contents) -> Descriptor:
        with open(self._content.path(digest), "rb") as file:
            kind = kind_of(file.read(MAGIC_BYTES))
        suffixes = {"plain": "", "gzip": "+gzip", "zstd": "+zstd"}
        if kind not in suffixes:
            raise InvalidArgument(f"a layer of the archive is compressed with {kind}, which is not supported")
        return Descriptor(OCI_LAYER + suffixes[kind], digest, contents.sizes[digest])

    # -- keeping

    async def _take(self, image: _Found, lease: Lease, progress: Progress, *, quiet: bool) -> None:
        chain = chain_ids(image.config.diff_ids)
        async with self._collector.lock:
            lease.layers.update(chain)
        told: dict[str, Any] = {}

        def tell(message: Message) -> None:
            detail = message.get("progressDetail")
            if detail and not quiet:
                progress.put(bar("Loading layer", message["id"], detail["current"], detail["total"]))
                told[message["id"]] = detail["total"]
            elif message.get("status") == "Pull complete" and not quiet:
                total = told.get(message["id"], sizes.get(message["id"], 0))
                progress.put(bar("Loading layer", message["id"], total, total))

        sizes = {short(layer.digest): layer.size for layer in image.layers}
        try:
            await self._layers.ensure(steps(image.layers, image.config.diff_ids), (), tell)
        except ExceptionGroup as group:
            raise first_error(group) from None
        await self._name(image, lease)
        for name in image.names:
            progress.put({"stream": f"Loaded image: {name.familiar}\n"})
        if not image.names:
            progress.put({"stream": f"Loaded image ID: {image.id}\n"})
        labels = (image.config.body.get("config") or {}).get("Labels")
        attributes = {**(labels if isinstance(labels, dict) else {}), "name": str(image.id)}
        self._events.publish("image", "load", image.id, attributes)

    async def _name(self, image: _Found, lease: Lease) -> None:
        described, layers = image.manifest, image.layers
        if described is None:
            size = self._content.size(Digest(image.id))
            data = make_manifest(Descriptor(OCI_CONFIG, Digest(image.id), size), layers)
            async with self._collector.lock:
                digest = await to_the_end(self._content.write, data)
                lease.blobs.add(digest)
            described = Descriptor(OCI_MANIFEST, digest, len(data))
        document = Manifest(described.media_type, Descriptor(OCI_CONFIG, Digest(image.id), 0), layers)
        size_bytes = await in_thread(
            lambda: sum(self._snapshots.layer_size(chain_id) for chain_id in chain_ids(image.config.diff_ids))
        )
        record = make_record(image.id, image.config, described, document, size_bytes, time.time())

        def plan() -> Change:
            known = self._store.by_id(record.id)
            if known is None:
                return Change([replace(record, names=image.names)])
            names = tuple(sorted({*known.names, *image.names}, key=str))
            return Change([replace(known, names=names)])

        await self._store.change(plan)


def _names(values: Sequence[object]) -> list[Reference]:
    found = []
    for value in values:
        try:
            name = references.parse(str(value)).with_default_tag()
        except EngineError:
            raise InvalidArgument(
                f"the archive names an image {str(value)[:200]!r}, which is no name"
            ) from None
        if not name.digest:
            found.append(name)
    return found


def _annotations(data: bytes) -> dict[str, list[str]]:
    """Digest -> names, from an index whose structure was checked."""
    found: dict[str, list[str]] = {}
    for entry in json.loads(data).get("manifests") or []:
        annotations = entry.get("annotations")
        if not isinstance(annotations, dict):
            continue
        name = annotations.get(CONTAINERD_NAME)
        short_name = annotations.get(REF_NAME)
        if (
            not isinstance(name, str)
            and isinstance(short_name, str)
            and ("/" in short_name or ":" in short_name)
        ):
            name = short_name  # skopeo and buildah write the whole name here, or a tag that names nothing
        if isinstance(name, str) and name:
            found.setdefault(entry.get("digest"), []).append(name)
    return found
