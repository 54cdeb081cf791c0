"""Pulling: from a reference to an image in the store, with Docker's words on the way.

Owns the order of things: resolve, fetch the documents, make the layers, name the image. Blobs, layers and
records are each their own module's.

Spec: Docker API 1.47, ImageCreate with fromImage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from runtime.api.errors import EngineError, Internal, InvalidArgument, NotFound, Unauthorized
from runtime.events import EventHub
from runtime.images.answers import NoCredentials, RegistryAnswer, WrongCredentials
from runtime.images.auth import Credentials
from runtime.images.collect import Collector
from runtime.images.content import BlobInvalid, ContentStore, Descriptor
from runtime.images.fetch import Fetches, disk_error
from runtime.images.layers import Layers, Step, steps
from runtime.images.leases import Lease, Leases
from runtime.images.manifest import (
    CONFIG_MAX_BYTES,
    OCI_CONFIG,
    OCI_MANIFEST,
    Config,
    Index,
    Manifest,
    chain_ids,
    make_manifest,
    parse_config,
    parse_document,
)
from runtime.images.platform import Platform, fit, host
from runtime.images.progress import Progress, status
from runtime.images.reference import Digest, ImageId, Reference
from runtime.images.registry import FetchedManifest, Repository
from runtime.images.session import Session, endpoints
from runtime.images.store import Change, ImageRecord, ImageStore, make_record
from runtime.images.threads import in_thread, to_the_end
from runtime.images.transport import Refused, Transport, Unreachable
from runtime.snapshots.base import Snapshotter

INDEX_DEPTH_MAX = 3  # an index may name an index, but not for ever
LEASE_S = 24 * 3600.0  # what an interrupted pull fetched is kept this long


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference turned out to be."""

    digest: Digest  # of what the reference names, perhaps an index
    fetched: FetchedManifest
    manifest: Manifest
    sources: tuple[Repository, ...]  # in the order in which blobs are asked for


class _Silent:
    """A listener for documents too small for a bar."""

    def downloading(self, current: int, total: int) -> None: ...
    def verifying(self) -> None: ...
    def waiting(self, seconds: float) -> None: ...


class Puller:
    """Pulls images."""

    def __init__(
        self,
        *,
        content: ContentStore,
        store: ImageStore,
        leases: Leases,
        collector: Collector,
        fetches: Fetches,
        layers: Layers,
        snapshots: Snapshotter,
        transport: Transport,
        mirrors: Mapping[str, tuple[str, ...]],
        events: EventHub,
    ) -> None:
        self._content = content
        self._store = store
        self._leases = leases
        self._collector = collector
        self._fetches = fetches
        self._layers = layers
        self._snapshots = snapshots
        self._transport = transport
        self._mirrors = mirrors
        self._events = events

    def repositories(self, reference: Reference, credentials: Credentials) -> list[Repository]:
        """Where to look, mirrors first; only the registry itself gets the credentials."""
        return [
            Repository(
                Session(self._transport, endpoint)
                if endpoint.is_mirror
                else Session(self._transport, endpoint, credentials),
                reference.path,
            )
            for endpoint in endpoints(self._transport, self._mirrors, reference.domain)
        ]

    async def pull(
        self,
        reference: Reference,
        credentials: Credentials,
        platform: Platform | None,
        progress: Progress,
        *,
        all_tags: bool = False,
    ) -> None:
        """Fetch one image, or every tag of a repository.

        Raises: EngineError, in Docker's words.
        """
        sources = self.repositories(reference, credentials)
        try:
            if not all_tags:
                await self._pull_one(reference, sources, platform, progress)
                return
            for tag in await _first(sources, lambda source: source.tags()):
                await self._pull_one(reference.with_tag(tag), sources, platform, progress)
        except (RegistryAnswer, Unreachable, Refused) as error:
            raise translated(error, reference) from error
        except OSError as error:
            raise disk_error(error) from error

    async def _pull_one(
        self, reference: Reference, sources: list[Repository], platform: Platform | None, progress: Progress
    ) -> None:
        resolved = await self.resolve(reference, sources, platform)
        progress.put(status(f"Pulling from {reference.path}", reference.digest or reference.tag))
        known = self._store.by_name(reference)
        if known is not None and known.id == ImageId(resolved.manifest.config.digest) and self._whole(known):
            if reference.with_digest(resolved.digest) not in known.sources:
                await self._name(known, reference, resolved)
            self._finish(reference, resolved, progress, downloaded=False)
            return
        await self._fetch(reference, resolved, platform, progress)
        self._finish(reference, resolved, progress, downloaded=True)

    def _whole(self, image: ImageRecord) -> bool:
        """Whether nothing of it has to be fetched again after a damage."""
        return all(map(self._content.has, image.all_blobs)) and all(
            map(self._snapshots.has_layer, image.chain)
        )

    def _finish(
        self, reference: Reference, resolved: Resolved, progress: Progress, *, downloaded: bool
    ) -> None:
        progress.put(status(f"Digest: {resolved.digest}"))
        what = "Downloaded newer image" if downloaded else "Image is up to date"
        progress.put(status(f"Status: {what} for {reference.familiar}"))
        image = self._store.by_id(resolved.manifest.config.digest)
        labels = image.labels if image is not None else {}
        self._events.publish("image", "pull", reference.familiar, {**labels, "name": reference.familiar_name})

    # -- resolving

    async def resolve(
        self,
        reference: Reference,
        sources: Sequence[Repository],
        platform: Platform | None,
    ) -> Resolved:
        """The manifest for a platform, from the first place that has the reference.

        Raises: RegistryAnswer, Unreachable, Refused, InvalidArgument, NotFound.
        """
        wanted = platform or host()
        asked = reference.digest or reference.tag or ""
        failure: EngineError | None = None
        for at, source in enumerate(sources):
            try:
                top = await source.manifest(asked)
                fetched, manifest = await self._descend(reference, source, top, wanted)
            except (RegistryAnswer, Unreachable, Refused, InvalidArgument, NotFound) as error:
                # A mirror may be away, behind, or wrong; the registry's own answer is the one that counts.
                failure = error
                continue
            return Resolved(top.digest, fetched, manifest, tuple(sources[at:]))
        assert failure is not None
        raise failure

    async def _descend(
        self, reference: Reference, source: Repository, fetched: FetchedManifest, wanted: Platform
    ) -> tuple[FetchedManifest, Manifest]:
        seen = {fetched.digest}
        for _ in range(INDEX_DEPTH_MAX):
            document = parse_document(fetched.data, fetched.media_type)
            if isinstance(document, Manifest):
                return fetched, document
            chosen = document.choose(wanted)
            if chosen is None:
                raise NotFound(
                    f"no matching manifest for {wanted} in the manifest list entries of "
                    f"{reference.familiar}; it has {_offered(document)}"
                )
            if chosen.digest in seen:
                raise InvalidArgument(f"the index of {reference.familiar} names itself")
            seen.add(chosen.digest)
            fetched = await source.manifest(chosen.digest)
            if len(fetched.data) != chosen.size:
                raise BlobInvalid(
                    f"manifest {chosen.digest} is {len(fetched.data)} bytes long, "
                    f"its index says {chosen.size}"
                )
        raise InvalidArgument(f"the index of {reference.familiar} is nested too deeply")

    # -- fetching

    async def _fetch(
        self, reference: Reference, resolved: Resolved, platform: Platform | None, progress: Progress
    ) -> None:
        manifest, fetched = resolved.manifest, resolved.fetched
        blobs = {fetched.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers)}
        key = fetched.digest.partition(":")[2]
        async with self._collector.lock:
            lease = self._leases.take(key, blobs, (), time.time() + LEASE_S)
        keep, done = True, False
        try:
            config = await self._config(reference, resolved, platform)
            async with self._collector.lock:
                lease.layers.update(chain_ids(config.diff_ids))
            await self._make_layers(steps(manifest.layers, config.diff_ids), resolved.sources, progress)
            here = await self._blobs(resolved, config, lease)
            await self._keep(reference, resolved, config, here)
            done, keep = True, False
        except EngineError as error:
            # Otherwise another try would fare no better, or needs the room.
            keep = isinstance(error, (RegistryAnswer, Unreachable)) and error.passing
            raise
        finally:
            self._leases.leave(lease, keep=keep)
            if not keep and not done:
                await self._collector.collect()

    async def _make_layers(
        self, wanted: Sequence[Step], sources: Sequence[Repository], progress: Progress
    ) -> None:
        try:
            await self._layers.ensure(wanted, sources, progress.put)
        except ExceptionGroup as group:
            raise _worst(group) from None

    async def _config(self, reference: Reference, resolved: Resolved, platform: Platform | None) -> Config:
        described = resolved.manifest.config
        if described.size > CONFIG_MAX_BYTES:
            raise InvalidArgument(f"the image configuration is {described.size} bytes long")
        await self._blob(described, resolved.sources)
        data = await in_thread(self._content.read, described.digest)
        config = parse_config(data, len(resolved.manifest.layers))
        if platform is not None and fit(platform, config.platform) is None:
            raise NotFound(
                f"image with reference {reference.familiar} was found but does not match the specified "
                f"platform: wanted {platform}, actual: {config.platform}"
            )
        if config.platform.os not in ("", "linux"):
            raise InvalidArgument(
                f'operating system "{config.platform.os[:32]}" cannot be used on this platform'
            )
        return config

    async def _blobs(self, resolved: Resolved, config: Config, lease: Lease) -> list[Descriptor]:
        """The layers' blobs as they lie here: a layer that was there may have come packed otherwise."""
        here = []
        for layer, diff_id in zip(resolved.manifest.layers, config.diff_ids, strict=True):
            async with self._collector.lock:
                other = None if self._content.has(layer.digest) else self._store.blob_of(diff_id)
                if other is not None:
                    lease.blobs.add(other.digest)
            if other is None:
                await self._blob(layer, resolved.sources)
            here.append(other or layer)
        return here

    async def _blob(self, described: Descriptor, sources: Sequence[Repository]) -> None:
        async with self._fetches.follow(described, sources, _Silent()) as blob:
            await blob.finished()

    async def _keep(
        self, reference: Reference, resolved: Resolved, config: Config, blobs: Sequence[Descriptor]
    ) -> None:
        """Make the image known and give it its name."""
        document, data = resolved.manifest, resolved.fetched.data
        if tuple(blobs) != document.layers:
            data = make_manifest(replace(document.config, media_type=OCI_CONFIG), blobs)
            document = Manifest(OCI_MANIFEST, document.config, tuple(blobs))

        def write() -> tuple[Descriptor, int]:
            digest = self._content.write(
                data, resolved.fetched.digest if data is resolved.fetched.data else None
            )
            size = sum(self._snapshots.layer_size(chain_id) for chain_id in chain_ids(config.diff_ids))
            return Descriptor(document.media_type, digest, len(data)), size

        described, size_bytes = await to_the_end(write)
        id = ImageId(document.config.digest)
        record = make_record(id, config, described, document, size_bytes, time.time())
        await self._name(record, reference, resolved)

    async def _name(self, record: ImageRecord, reference: Reference, resolved: Resolved) -> None:
        def plan() -> Change:
            known = self._store.by_id(record.id)
            names = set(known.names) if known else set()
            sources = set(known.sources) if known else set()
            sources.add(reference.with_digest(resolved.digest))
            if not reference.digest and reference.tag:
                names.add(reference)
            return Change(
                [
                    replace(
                        record,
                        names=tuple(sorted(names, key=str)),
                        sources=tuple(sorted(sources, key=str)),
                        added_s=known.added_s if known else record.added_s,
                        parent=known.parent if known else None,
                        tagged_s=known.tagged_s if known else None,
                    )
                ]
            )

        await self._store.change(plan)


def translated(error: EngineError, reference: Reference) -> EngineError:
    """What a registry's refusal means for who wanted ``reference``, in Docker's words."""
    if isinstance(error, WrongCredentials):
        return Unauthorized(error.message)
    if isinstance(error, RegistryAnswer):
        if error.code == "MANIFEST_UNKNOWN" or (error.status_seen == 404 and error.code == "NOT_FOUND"):
            return NotFound(f"manifest for {reference.familiar} not found: {error.message}")
        if error.code == "NAME_UNKNOWN":
            return NotFound(f"repository {reference.familiar_name} not found: {error.message}")
        if isinstance(error, NoCredentials) or error.code in ("DENIED", "UNAUTHORIZED"):
            return NotFound(
                f"pull access denied for {reference.familiar_name}, repository does not exist or may require "
                f"'docker login': {error.message}"
            )
        return Internal(error.message)
    return error


async def _first(sources: Sequence[Repository], ask: Callable[[Repository], object]) -> list[str]:
    failure: EngineError | None = None
    for source in sources:
        try:
            found: list[str] = await ask(source)  # type: ignore[misc]
            return found
        except (RegistryAnswer, Unreachable, Refused) as error:
            failure = error
    assert failure is not None
    raise failure


def _worst(group: BaseExceptionGroup[BaseException]) -> EngineError:
    """Of several layers' failures the one to tell: a definite one before one that may pass."""
    found: list[EngineError] = []

    def gather(error: BaseException) -> None:
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                gather(inner)
        elif isinstance(error, EngineError):
            found.append(error)
        else:
            raise error

    gather(group)
    definite = [error for error in found if not isinstance(error, (RegistryAnswer, Unreachable))]
    return (definite or found)[0]


def _offered(index: Index) -> str:
    names = sorted({str(platform) for _, platform in index.entries if platform is not None})
    return ", ".join(names[:12]) or "no images"
