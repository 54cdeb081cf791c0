"""Looking at images: lists, inspections, histories, and how much room they take.

Reads records and layer sizes; changes nothing.

Spec: Docker API 1.47, ImageList, ImageInspect, ImageHistory, SystemDataUsage.
"""

from __future__ import annotations

import time
from typing import Any

from runtime.api.errors import NotFound
from runtime.api.types import ImageLayer, ImageLayers, LayerChanges
from runtime.images import bodies
from runtime.images.changes import Asked, changes
from runtime.images.content import ContentStore
from runtime.images.filters import Filters, created_s, matching_names, select
from runtime.images.manifest import LAYERS_MAX
from runtime.images.reference import Digest
from runtime.images.remove import InUse
from runtime.images.store import ImageRecord, ImageStore
from runtime.snapshots.base import Snapshotter

Rows = list[dict[str, Any]]


class Catalog:
    """What there is."""

    def __init__(
        self, content: ContentStore, store: ImageStore, snapshots: Snapshotter, in_use: InUse
    ) -> None:
        self._content = content
        self._store = store
        self._snapshots = snapshots
        self._in_use = in_use

    def rows(self, *, all: bool, filters: Filters, shared_size: bool, manifests: bool) -> Rows:
        """Bodies of ``/images/json``, newest first; ``all`` also shows unnamed parents.

        Raises: InvalidArgument, NotFound for an image named in a filter.
        """
        found = select(self._store, filters, self._store.get, time.time())
        found.sort(key=lambda image: (created_s(image), image.added_s), reverse=True)
        shared = self._shared_layers() if shared_size else None
        rows: Rows = []
        for image in found:
            if not all and not image.names and not image.sources and self._store.children(image.id):
                continue
            patterns = filters.get("reference")
            rows.append(
                bodies.summary(
                    image,
                    containers=-1,
                    shared_bytes=-1 if shared is None else self._shared_bytes(image, shared),
                    names=matching_names(image, patterns) if patterns else None,
                )
            )
            if manifests:
                rows[-1]["Manifests"] = [self._manifest(image)]
        return rows

    def _manifest(self, image: ImageRecord) -> dict[str, Any]:
        """The one manifest that is kept of an image: its own platform's."""
        config = Digest(image.id)
        documents = image.manifest.size + (self._content.size(config) if self._content.has(config) else 0)
        users = [container for container, _ in self._in_use(image.id)]
        packed = documents + sum({blob.digest: blob.size for blob in image.blobs}.values())
        return bodies.manifest(image, packed_bytes=packed, containers=users)

    def inspect(self, ref: str) -> dict[str, Any]:
        """The body of ``/images/{name}/json``. Raises: NotFound, InvalidArgument."""
        image = self._store.get(ref)
        paths = [str(self._snapshots.layer_path(chain_id)) for chain_id in reversed(image.chain)]
        directories = {"UpperDir": paths[0]} if paths else {}
        if len(paths) > 1:
            directories["LowerDir"] = ":".join(paths[1:])
        return bodies.inspect(image, driver=self._snapshots.name, directories=directories)

    def history(self, ref: str) -> Rows:
        """The body of ``/images/{name}/history``, newest first. Raises: NotFound, InvalidArgument."""
        image = self._store.get(ref)
        sizes = [self._snapshots.layer_size(chain_id) for chain_id in image.chain]
        return bodies.history(image, sizes, {one.id: one.tags for one in self._store})

    def layers(self, ref: str) -> ImageLayers:
        """The layers of an image with what is known of each. Raises: NotFound, InvalidArgument."""
        image = self._store.get(ref)
        shared = self._shared_bytes(image, self._shared_layers())
        told = bodies.made_by(image)
        rows: list[ImageLayer] = []
        for at, chain_id in enumerate(image.chain):
            blob = image.blobs[at]
            rows.append(
                {
                    "DiffID": image.diff_ids[at],
                    "ChainID": chain_id,
                    "Digest": blob.digest,
                    "MediaType": blob.media_type,
                    "Size": blob.size,
                    "Unpacked": self._snapshots.layer_size(chain_id),
                    "Images": sum(chain_id in other.chain for other in self._store),
                    **told[at],
                }
            )
        return {
            "Id": image.id,
            "Size": image.size_bytes,
            "SharedSize": shared,
            "UniqueSize": image.size_bytes - shared,
            "Layers": rows,
        }

    def changes(self, ref: str, layer: str, asked: Asked) -> LayerChanges:
        """A page of what a layer, named by its place from 0 on or its diff id, changes. Blocks.

        Raises: NotFound, InvalidArgument.
        """
        image = self._store.get(ref)
        if layer.isdecimal() and len(layer) <= len(str(LAYERS_MAX)):
            at = int(layer)
        else:
            at = image.diff_ids.index(Digest(layer)) if layer in image.diff_ids else len(image.chain)
        if at >= len(image.chain):
            raise NotFound(f"No such layer: {layer[:80]} of image {image.id[7:19]}")
        lowers = [self._snapshots.layer_path(chain_id) for chain_id in reversed(image.chain[:at])]
        top = self._snapshots.layer_path(image.chain[at])
        return changes(top, lowers, asked, self._snapshots.opaque_xattr)

    def usage(self) -> dict[str, Any]:
        """What ``/system/df`` says of images: ``{"LayersSize": bytes, "Images": [summaries]}``."""
        shared = self._shared_layers()
        # All that lie here: also those a container stands on whose image was removed by force.
        layers = self._snapshots.layers()
        return {
            "LayersSize": sum(self._snapshots.layer_size(chain_id) for chain_id in layers),
            "BlobsSize": sum(size for _, size in self._content.blobs()),
            "Images": [
                bodies.summary(
                    image,
                    containers=len(self._in_use(image.id)),
                    shared_bytes=self._shared_bytes(image, shared),
                )
                for image in self._store
            ],
        }

    def _shared_layers(self) -> set[str]:
        """Layers that stand in more than one image."""
        once: set[str] = set()
        shared: set[str] = set()
        for image in self._store:
            shared |= once.intersection(image.chain)
            once.update(image.chain)
        return shared

    def _shared_bytes(self, image: ImageRecord, shared: set[str]) -> int:
        return sum(self._snapshots.layer_size(chain_id) for chain_id in shared.intersection(image.chain))
