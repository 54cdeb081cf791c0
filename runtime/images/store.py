"""Image records: which images there are and what they are called.

    images/records/<hex>.json   one image: its manifest, digests, origin
    images/index.json           the layout's index, and the truth about tags: an image that is not in it
                                is none, however much of it lies on the disk

A change is one atomic replacement of ``index.json``; records are written before it and removed after it.
Memory follows the disk. Never touches blobs or layers beyond reading documents.

Spec: OCI image 1.1, image-layout.md "index.json"; annotation org.opencontainers.image.ref.name.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runtime.api.errors import EngineError, InvalidArgument, NotFound
from runtime.images import reference as references
from runtime.images.content import ContentStore, Descriptor, replace_file
from runtime.images.manifest import OCI_INDEX, Config, chain_ids, parse_config, parse_document
from runtime.images.manifest import Manifest as ManifestDocument
from runtime.images.reference import Digest, ImageId, Reference
from runtime.images.threads import to_the_end

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_ID = "webdock.image.id"
CANDIDATES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image as the other rooms see it."""

    id: ImageId
    config: dict[str, Any]  # the OCI image configuration
    manifest: Descriptor
    blobs: tuple[Descriptor, ...]  # layers as they were fetched, lowest first
    diff_ids: tuple[Digest, ...]
    chain: list[str]  # chain ids, lowest first
    size_bytes: int  # of the unpacked layers
    added_s: float  # when it came here
    tagged_s: float | None = None  # when it last got a name here
    parent: ImageId | None = None  # of images committed here
    boot: str | None = None  # the machine's boot in which it came, until all of it was synced to the disk
    names: tuple[Reference, ...] = ()  # tags, in full
    sources: tuple[Reference, ...] = ()  # by digest, in full

    @property
    def tags(self) -> list[str]:
        """Names as people type them: ["debian:12"]."""
        return [name.familiar for name in self.names]

    @property
    def digests(self) -> list[str]:
        """["debian@sha256:…"]"""
        return [source.familiar for source in self.sources]

    @property
    def created(self) -> str:
        """RFC 3339, or "" where the image does not say."""
        created = self.config.get("created")
        return created if isinstance(created, str) else ""

    @property
    def labels(self) -> dict[str, str]:
        labels = (self.config.get("config") or {}).get("Labels")
        return labels if isinstance(labels, dict) else {}

    @property
    def all_blobs(self) -> set[Digest]:
        """Everything of it that lies in the content store."""
        return {self.manifest.digest, Digest(self.id), *(blob.digest for blob in self.blobs)}


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the records: these are new or replaced, those are gone."""

    records: Sequence[ImageRecord] = ()
    removed: Sequence[ImageId] = ()


class ImageStore:
    """The records of one engine."""

    def __init__(self, root: Path, content: ContentStore) -> None:
        self._root = root
        self._content = content
        self._records = root / "records"
        self._images: dict[ImageId, ImageRecord] = {}
        self._names: dict[Reference, ImageId] = {}
        self._sources: dict[Reference, ImageId] = {}
        self._write = asyncio.Lock()
        self.on_unsettled: Callable[[], None] = lambda: None  # called after a change that must reach the disk

    # -- disk

    def load(self) -> list[str]:
        """Read the disk; returns what was found broken. Blocks; for the start."""
        self._records.mkdir(parents=True, exist_ok=True, mode=0o700)
        complaints: list[str] = []
        index: dict[str, Any] = {"manifests": []}
        path = self._root / "index.json"
        if path.exists():
            index = json.loads(path.read_bytes())
        names: dict[ImageId, list[Reference]] = {}
        for entry in index["manifests"]:
            annotations = entry.get("annotations") or {}
            id = ImageId(annotations.get(IMAGE_ID, ""))
            found = names.setdefault(id, [])
            if REF_NAME in annotations:
                found.append(references.parse(annotations[REF_NAME]))
        for id, image_names in names.items():
            try:
                self._take(replace(self._read(id), names=tuple(sorted(image_names))))
            except (OSError, EngineError, ValueError, KeyError, TypeError) as error:
                complaints.append(f"image {id[:19]} ({', '.join(map(str, image_names))}) is broken: {error}")
        for file in self._records.iterdir():
            if f"sha256:{file.stem}" not in self._images:
                file.unlink(missing_ok=True)
        return complaints

    def _read(self, id: ImageId) -> ImageRecord:
        body = json.loads(self._record_path(id).read_bytes())
        manifest = Descriptor(
            body["manifest"]["mediaType"], Digest(body["manifest"]["digest"]), body["manifest"]["size"]
        )
        document = parse_document(self._content.read(manifest.digest), manifest.media_type)
        if not isinstance(document, ManifestDocument):
            raise ValueError("its manifest is an index")
        config = parse_config(self._content.read(Digest(id)), len(document.layers))
        record = make_record(id, config, manifest, document, body["size"], body["added"])
        return replace(
            record,
            tagged_s=body.get("tagged"),
            parent=body.get("parent"),
            boot=body.get("boot"),
            sources=tuple(references.parse(source) for source in body["digests"]),
        )

    def _record_path(self, id: ImageId) -> Path:
        return self._records / f"{id.removeprefix('sha256:')}.json"

    def _write_record(self, record: ImageRecord) -> None:
        body = {
            "id": record.id,
            "manifest": record.manifest.to_json(),
            "size": record.size_bytes,
            "added": record.added_s,
            "tagged": record.tagged_s,
            "parent": record.parent,
            "boot": record.boot,
            "digests": [str(source) for source in record.sources],
        }
        replace_file(self._record_path(record.id), json.dumps(body, indent=1).encode())

    def _write_index(self, images: Iterable[ImageRecord]) -> None:
        entries = []
        for image in images:
            platform = {
                key: image.config[key]
                for key in ("architecture", "os", "variant")
                if isinstance(image.config.get(key), str) and image.config[key]
            }
            for name in image.names or (None,):
                annotations = {IMAGE_ID: str(image.id)}
                if name is not None:
                    annotations[REF_NAME] = name.familiar
                entry = {**image.manifest.to_json(), "annotations": annotations}
                if len(platform) > 1:
                    entry["platform"] = platform
                entries.append(entry)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        replace_file(self._root / "index.json", json.dumps(index, indent=1).encode())

    async def change(self, plan: Callable[[], Change]) -> None:
        """Make what ``plan`` returns the truth, all at once; cancelling does not tear it.

        ``plan`` is called when no other change is under way, and may raise. Names that a changed record has
        are taken from whoever had them.
        """
        await asyncio.shield(asyncio.create_task(self._change(plan)))

    async def _change(self, plan: Callable[[], Change]) -> None:
        async with self._write:
            change = plan()
            images = dict(self._images)
            taken = {name for record in change.records for name in record.names}
            for id in change.removed:
                images.pop(id, None)
            for id, image in images.items():
                if taken.intersection(image.names):
                    images[id] = replace(
                        image, names=tuple(name for name in image.names if name not in taken)
                    )
            for record in change.records:
                images[record.id] = record

            def write() -> None:
                for record in change.records:
                    self._write_record(record)
                self._write_index(images.values())
                for id in change.removed:
                    self._record_path(id).unlink(missing_ok=True)

            await to_the_end(write)
            self._images, self._names, self._sources = {}, {}, {}
            for image in images.values():
                self._take(image)
        if any(record.boot is not None for record in change.records):
            self.on_unsettled()

    def unsettled(self) -> list[ImageRecord]:
        """Images that may not be on the disk yet."""
        return [image for image in self._images.values() if image.boot is not None]

    async def settle(self, images: Iterable[ImageRecord]) -> None:
        """Everything these images are made of is on the disk."""
        async with self._write:
            current = [self._images[image.id] for image in images if image.id in self._images]
            settled = [replace(image, boot=None) for image in current]

            def write() -> None:
                for record in settled:
                    self._write_record(record)

            await to_the_end(write)
            for record in settled:
                self._images[record.id] = record

    def _take(self, record: ImageRecord) -> None:
        self._images[record.id] = record
        for name in record.names:
            self._names[name] = record.id
        for source in record.sources:
            self._sources[source] = record.id

    # -- look-up

    def __iter__(self) -> Iterator[ImageRecord]:
        return iter(tuple(self._images.values()))

    def __len__(self) -> int:
        return len(self._images)

    def by_id(self, id: str) -> ImageRecord | None:
        return self._images.get(ImageId(id))

    def by_name(self, name: Reference) -> ImageRecord | None:
        """The image with this tag or digest in full."""
        id = self._sources.get(name.with_digest(name.digest)) if name.digest else self._names.get(name)
        return self._images.get(id) if id else None

    def get(self, ref: str) -> ImageRecord:
        """The image meant by an id, a unique beginning of one, or a name.

        Raises: NotFound, InvalidArgument for an ambiguous beginning or what cannot be a reference.
        """
        return self.resolve(ref)[0]

    def resolve(self, ref: str) -> tuple[ImageRecord, Reference | None]:
        """Like ``get``, with the name by which it was found; None when by id."""
        prefix = references.id_prefix(ref)
        if prefix is not None and len(prefix) == 64:
            image = self._images.get(ImageId(f"sha256:{prefix}"))
            if image is None:
                raise NotFound(f"No such image: {ref}")
            return image, None
        name: Reference | None = None
        shown = ref
        if not ref.startswith("sha256:"):
            name = references.parse(ref).with_default_tag()
            shown = name.familiar
            image = self.by_name(name)
            if image is not None:
                return image, name.with_digest(name.digest) if name.digest else name
        if prefix is not None:
            found = [id for id in self._images if id.startswith(f"sha256:{prefix}")]
            if len(found) == 1:
                return self._images[found[0]], None
            if found:
                raise InvalidArgument(_ambiguous(ref, [self._images[id] for id in found]))
        raise NotFound(f"No such image: {shown}")

    def blob_of(self, diff_id: Digest) -> Descriptor | None:
        """A blob that unpacks to this layer and lies here, of any image."""
        for image in self._images.values():
            for blob, known in zip(image.blobs, image.diff_ids, strict=True):
                if known == diff_id and self._content.has(blob.digest):
                    return blob
        return None

    def children(self, id: ImageId) -> list[ImageRecord]:
        """Images committed on top of this one."""
        return [image for image in self._images.values() if image.parent == id]


def make_record(
    id: ImageId,
    config: Config,
    manifest: Descriptor,
    document: ManifestDocument,
    size_bytes: int,
    added_s: float,
) -> ImageRecord:
    """A record without names."""
    return ImageRecord(
        id=id,
        boot=boot_id(),
        config=config.body,
        manifest=manifest,
        blobs=document.layers,
        diff_ids=config.diff_ids,
        chain=chain_ids(config.diff_ids),
        size_bytes=size_bytes,
        added_s=added_s,
    )


def boot_id() -> str:
    """Which boot of the machine this is."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _ambiguous(ref: str, images: list[ImageRecord]) -> str:
    shown = [
        f"{image.id[7:19]} ({', '.join(image.tags) or '<none>'})"
        for image in sorted(images, key=lambda image: image.id)[:CANDIDATES_SHOWN]
    ]
    more = f" and {len(images) - CANDIDATES_SHOWN} more" if len(images) > CANDIDATES_SHOWN else ""
    return f"image id {ref} is ambiguous: it may be {', '.join(shown)}{more}"


def names_without(image: ImageRecord, gone: Reference) -> ImageRecord:
    """The record after one name was taken from it; digests go with the last tag of their repository."""
    if gone.digest:
        return replace(image, sources=tuple(source for source in image.sources if source != gone))
    names = tuple(name for name in image.names if name != gone)
    if any(name.repository == gone.repository for name in names):
        return replace(image, names=names)
    sources = tuple(source for source in image.sources if source.repository != gone.repository)
    return replace(image, names=names, sources=sources)
