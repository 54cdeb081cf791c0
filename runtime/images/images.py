"""The images of one engine: what the other rooms and the API call.

Owns the wiring of this room and the rules of Docker's image verbs. The work is done by the modules beside.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runtime.api.errors import InvalidArgument, NotFound
from runtime.api.types import ImageLayers, LayerChanges, RegistryBody, RegistryTest
from runtime.config import RegistryConfig
from runtime.events import EventHub
from runtime.images import ask
from runtime.images import platform as platforms
from runtime.images import reference as references
from runtime.images.auth import NOBODY, credentials
from runtime.images.catalog import Catalog
from runtime.images.changes import Asked
from runtime.images.collect import Collector
from runtime.images.content import ContentStore
from runtime.images.crashed import lost, mend
from runtime.images.fetch import Fetches
from runtime.images.filters import Filters
from runtime.images.layers import Layers
from runtime.images.leases import Leases
from runtime.images.load import Loader
from runtime.images.make import Maker, NewImage
from runtime.images.progress import Message, Progress, status, streamed
from runtime.images.pull import Puller
from runtime.images.push import Pusher
from runtime.images.registries import Registries, host_of
from runtime.images.remove import InUse
from runtime.images.remover import Remover
from runtime.images.saver import Saver
from runtime.images.settle import Settler
from runtime.images.store import Change, ImageRecord, ImageStore, boot_id
from runtime.images.threads import to_the_end
from runtime.images.transport import LeadsInside, Patience, Transport
from runtime.images.trial import try_registry
from runtime.images.verify import Verifier
from runtime.images.workers import Workers
from runtime.snapshots.base import Snapshotter

log = logging.getLogger(__name__)

Rows = list[dict[str, Any]]


class Images:
    """Images: fetched, named, listed, removed."""

    def __init__(
        self,
        root: Path,
        snapshots: Snapshotter,
        registries: Mapping[str, RegistryConfig],
        mirrors: Mapping[str, tuple[str, ...]],
        events: EventHub,
        in_use: InUse,
        *,
        patience: Patience | None = None,
        leads_inside: LeadsInside = lambda address, port: False,
    ) -> None:
        """``root`` becomes an OCI image layout; ``in_use`` names the containers of an image.

        ``registries`` and ``mirrors`` are engine.toml's; what is set at run time lies beside ``root``.
        ``leads_inside`` tells which ports of loopback addresses are a container's.
        """
        self._events = events
        self._in_use = in_use
        self._content = ContentStore(root)
        self._store = ImageStore(root, self._content)
        self._leases = Leases(root)
        self._collector = Collector(self._content, snapshots, self._store, self._leases)
        self.registries = Registries(root.with_name("registries.json"), registries, mirrors)
        self._transport = Transport(self.registries.configs, patience or Patience(), leads_inside)
        self.registries.on_change = self._transport.forget
        self._fetches = Fetches(self._content)
        self._workers = Workers(snapshots.opaque_xattr)
        self._layers = Layers(self._fetches, self._workers, snapshots)
        self._catalog = Catalog(self._content, self._store, snapshots, in_use)
        self._remover = Remover(self._store, self._collector, in_use, events, self._publish)
        self._saver = Saver(self._content, self._store, self._leases, self._collector, self._publish)
        self._verifier = Verifier(
            self._content, snapshots, self._collector, self._fetches, self._layers, self._workers
        )
        self._settler = Settler(self._store, snapshots)
        self._store.on_unsettled = self._settler.later
        self._puller = Puller(
            content=self._content,
            store=self._store,
            leases=self._leases,
            collector=self._collector,
            fetches=self._fetches,
            layers=self._layers,
            snapshots=snapshots,
            transport=self._transport,
            mirrors=self.registries.mirrors,
            events=events,
        )

        self._loader = Loader(
            content=self._content,
            store=self._store,
            leases=self._leases,
            collector=self._collector,
            layers=self._layers,
            snapshots=snapshots,
            events=events,
        )

        self._pusher = Pusher(
            content=self._content,
            store=self._store,
            leases=self._leases,
            collector=self._collector,
            transport=self._transport,
            events=events,
        )
        self._maker = Maker(
            content=self._content,
            store=self._store,
            leases=self._leases,
            collector=self._collector,
            layers=self._layers,
            workers=self._workers,
            snapshots=snapshots,
            events=events,
        )

    async def start(self) -> None:
        """Read the records and remove what the last run left half-written; before anything else is asked."""

        def load() -> None:
            self._content.prepare()
            for complaint in (*self.registries.load(), *self._store.load()):
                log.error("%s", complaint)
            self._leases.load()
            self._collector.clean()

        await to_the_end(load)
        await mend(lost(self._store, boot_id()), self._verifier, self._store, self._collector)
        if self._store.unsettled():
            self._settler.later()

    async def close(self) -> None:
        """Give up connections and the unpack worker; running operations must have been closed before."""
        await self._settler.close()
        await self._workers.close()
        await self._transport.close()

    # -- looking

    def get(self, ref: str) -> ImageRecord:
        """The image meant by a name, an id or a unique beginning of one.

        Raises: NotFound, InvalidArgument.
        """
        return self._store.get(ref)

    def list(
        self,
        *,
        all: bool = False,
        filters: Filters | None = None,
        shared_size: bool = False,
        manifests: bool = False,
    ) -> Rows:
        """Bodies of ``/images/json``, newest first; ``all`` also shows unnamed parents.

        Raises: InvalidArgument, NotFound for an image named in a filter.
        """
        return self._catalog.rows(
            all=all, filters=filters or {}, shared_size=shared_size, manifests=manifests
        )

    def layers(self, ref: str) -> ImageLayers:
        """The layers of an image, lowest first. Raises: NotFound, InvalidArgument."""
        return self._catalog.layers(ref)

    async def changes(self, ref: str, layer: str, asked: Asked) -> LayerChanges:
        """A page of what one layer of an image changes. Raises: NotFound, InvalidArgument."""
        return await to_the_end(self._catalog.changes, ref, layer, asked)

    def inspect(self, ref: str) -> dict[str, Any]:
        """The body of ``/images/{name}/json``. Raises: NotFound, InvalidArgument."""
        return self._catalog.inspect(ref)

    def history(self, ref: str) -> Rows:
        """The body of ``/images/{name}/history``, newest first. Raises: NotFound, InvalidArgument."""
        return self._catalog.history(ref)

    def usage(self) -> dict[str, Any]:
        """What ``/system/df`` says of images: ``{"LayersSize", "BlobsSize", "Images": [summaries]}``."""
        return self._catalog.usage()

    # -- naming

    async def tag(self, ref: str, repo: str, tag: str | None = None) -> None:
        """Give an image another name; who had it loses it. Raises: NotFound, InvalidArgument."""
        name = references.parse_with_tag(repo, tag).with_default_tag()
        if name.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        image = self.get(ref)

        def plan() -> Change:
            current = self._store.get(image.id)
            names = tuple(sorted({*current.names, name}, key=str))
            return Change([replace(current, names=names, tagged_s=time.time())])

        await self._store.change(plan)
        self._publish("tag", image, name.familiar)

    # -- fetching

    def pull(
        self,
        reference: str,
        tag: str | None = None,
        *,
        platform: str | None = None,
        auth: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[Message]:
        """Fetch an image, or every tag when none is named; Docker's progress messages.

        Closing the iterator cancels, unless somebody else is fetching the same layers; what was fetched is
        kept for a day. Raises at once: InvalidArgument; before the first message: what stands against it;
        later failures are messages.
        """
        name = references.parse_with_tag(reference, tag or None)
        wanted = platforms.parse(platform) if platform else None
        progress = Progress()
        work = self._puller.pull(
            name, credentials(auth), wanted, progress, all_tags=not name.tag and not name.digest
        )
        return streamed(progress, work)

    def push(
        self, ref: str, tag: str | None = None, *, auth: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Message]:
        """Send an image to its registry, or every tag of the repository when none is named.

        Raises at once: NotFound, InvalidArgument. Closing the iterator cancels.
        """
        name = references.parse_with_tag(ref, tag or None)
        if name.digest:
            raise InvalidArgument("cannot push a digest reference")
        names = [name]
        if not name.tag:
            names = sorted(
                {one for image in self._store for one in image.names if one.repository == name}, key=str
            )
        if not names or any(self._store.by_name(one) is None for one in names):
            raise NotFound(f"An image does not exist locally with the tag: {name.familiar_name}")
        progress = Progress()
        return streamed(progress, self._pusher.push(names, credentials(auth), progress))

    # -- asking

    async def distribution(self, ref: str, auth: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """What the registry has under a name. Raises: NotFound, InvalidArgument, Internal."""
        name = references.parse(ref)
        return await ask.distribution(name, self._puller.repositories(name, credentials(auth)))

    async def search(self, term: str, limit: int | None = None, filters: Filters | None = None) -> Rows:
        """Repositories of a registry. Raises: InvalidArgument, NotSupported, Internal."""
        return await ask.search(self._transport, term, limit, filters or {})

    async def authenticate(self, auth: Mapping[str, Any]) -> dict[str, str]:
        """Whether a registry takes these credentials. Raises: Unauthorized, Internal."""
        return await ask.authenticate(self._transport, auth)

    async def try_registry(
        self, host: str, body: RegistryBody, auth: Mapping[str, Any] | None = None
    ) -> RegistryTest:
        """Whether a registry and its mirrors answer and take these credentials, and if not, why.

        What ``body`` says counts instead of what is set. Raises: InvalidArgument.
        """
        configs, mirrors = self.registries.with_changes(host, body)
        leads_inside = self._transport.leads_inside
        return await try_registry(host_of(host), credentials(auth), configs, mirrors, leads_inside)

    # -- archives

    def load(self, body: AsyncIterator[bytes], *, quiet: bool = False) -> AsyncIterator[Message]:
        """Take in the images of an archive, as ``save`` writes it; Docker's progress messages.

        Before the first message it raises InvalidArgument for what is no such archive; later failures are
        messages. Closing the iterator cancels.
        """
        progress = Progress()
        return streamed(progress, self._loader.load(body, progress, quiet=quiet))

    def save(self, refs: Sequence[str]) -> AsyncIterator[bytes]:
        """An archive of these images. Raises at once: NotFound, InvalidArgument."""
        return self._saver.save(refs)

    def import_(
        self,
        body: AsyncIterator[bytes],
        *,
        repo: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str | None = None,
    ) -> AsyncIterator[Message]:
        """Make an image of a root file system's archive; the last message's status is its id.

        ``changes`` are Dockerfile instructions. Raises at once: InvalidArgument for a bad name or platform.
        """
        name = references.parse_with_tag(repo, tag or None).with_default_tag() if repo else None
        if name is not None and name.digest:
            raise InvalidArgument("cannot import digest reference")
        wanted = platforms.parse(platform) if platform else platforms.host()
        progress = Progress()

        async def work() -> None:
            id = await self._maker.import_archive(
                body, name, message=message, changes=changes, platform=wanted
            )
            progress.put(status(id))

        return streamed(progress, work())

    async def create_from(self, upper: Path, new: NewImage, *, repo: str = "", tag: str = "") -> str:
        """Make an image of a container's changes, for ``commit``; returns its id.

        ``upper`` is an overlay diff directory; the caller keeps it from changing meanwhile.
        Raises: NotFound, InvalidArgument, Internal.
        """
        name = references.parse_with_tag(repo, tag or None).with_default_tag() if repo else None
        if name is not None and name.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        id = await self._maker.commit(upper, new, name)
        if name is not None:
            self._publish("tag", self._store.get(id), name.familiar)
        return id

    # -- verifying

    def verify(self, refs: Sequence[str] = (), *, repair: bool = False) -> AsyncIterator[Message]:
        """Look at every byte of these images, or of all.

        ``repair`` pulls damaged blobs again from where the image came, without credentials, and makes
        damaged layers anew. Messages are progress, ``{"finding": {"image", "what", "mended"}}`` for each
        thing that is wrong, and ``{"verified": images, "findings": number}`` at the end.
        Raises at once: NotFound, InvalidArgument.
        """
        images = [self.get(ref) for ref in refs] if refs else list(self._store)
        progress = Progress()

        async def fetch(image: ImageRecord) -> None:
            platform = platforms.of_json(image.config)
            await self._puller.pull(image.sources[0], NOBODY, platform, progress)

        return streamed(progress, self._verifier.tell(images, progress, repair=repair, fetch=fetch))

    async def collect(self) -> int:
        """Remove what no image and no container needs any more; returns the bytes freed."""
        return (await self._collector.collect())[1]

    async def released(self, image_id: str) -> None:
        """A container of this image is gone: with the last one go the layers of an image removed by force."""
        if self._store.by_id(image_id) is None and not self._in_use(image_id):
            try:
                await self._collector.collect()
            except OSError as error:
                log.warning("what image %s left cannot be removed yet: %s", image_id[7:19], error)

    # -- removing

    async def remove(self, ref: str, *, force: bool = False, prune: bool = True) -> Rows:
        """Take a name away, and the image with its last one: ``[{"Untagged": …}, {"Deleted": …}]``.

        Raises: NotFound, InvalidArgument, Conflict in Docker's words.
        """
        return await self._remover.remove(ref, force=force, prune=prune)

    async def prune(self, filters: Filters | None = None) -> dict[str, Any]:
        """Remove unused images: the unnamed ones, or all with ``dangling=false``.

        Also gives up what interrupted pulls left. Raises: InvalidArgument.
        """
        return await self._remover.prune(filters)

    def _publish(self, action: str, image: ImageRecord, name: str) -> None:
        self._events.publish("image", action, image.id, {**image.labels, "name": name})
