"""What every snapshotter does: layers by chain id, and a writable root file system per container.

Calls block and may take long (copying, deleting trees): callers in the event loop use a thread. All
methods may be called from several threads; two calls for the same id are the caller's mistake, except
`commit_layer`, where the first wins and the second throws its staging away.

Layers are overlay diff directories: a deleted name is a character device 0:0, a directory that hides
what lies below carries the extended attribute `opaque_xattr` = "y". Ids in layers, and in `upper()`, are
always the container's own ids, mapped or not.

Spec: OCI image 1.0, layer "Changesets" and config "ChainID".
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from runtime.idmap import IdMap


class ChangeKind(IntEnum):
    """Docker's numbers in `GET /containers/{id}/changes`."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


@dataclass(frozen=True)
class Staging:
    """A layer being filled; it is nobody's layer until `commit_layer`."""

    path: Path  # empty directory, to be filled as an overlay diff directory
    parent: str | None  # chain id below, None for the lowest layer


class Snapshotter(Protocol):
    """Constructed as `OverlaySnapshotter(root, run)` or `CopySnapshotter(root, run)`.

    `root` is on disk, inside the engine's state directory, and survives a reboot; `run`, for mount points,
    does not.
    """

    name: str  # "overlay2" as Docker calls it, or "vfs"
    opaque_xattr: str  # "trusted.overlay.opaque", or "user.overlay.opaque" without rights

    # Layers.
    def has_layer(self, chain_id: str) -> bool: ...
    def layers(self) -> list[str]: ...
    def layer_path(self, chain_id: str) -> Path:
        """The layer's diff directory. Raises: NotFound."""
        ...

    def layer_size(self, chain_id: str) -> int:
        """Bytes as given to `commit_layer`. Raises: NotFound."""
        ...

    def begin_layer(self, parent: str | None) -> Staging:
        """Raises: NotFound when the parent is not a layer here."""
        ...

    def commit_layer(self, staging: Staging, chain_id: str, size_bytes: int) -> None:
        """Make a filled staging the layer `chain_id`, atomically; a layer already there is kept."""
        ...

    def abort_layer(self, staging: Staging) -> None:
        """Throw a staging away; also after a commit, when it does nothing."""
        ...

    def remove_layer(self, chain_id: str) -> None:
        """Raises: NotFound, Conflict while a container's snapshot stands on it."""
        ...

    def sync(self) -> None:
        """Return when everything written so far is on disk (one syncfs; call before an image is named)."""
        ...

    # Containers.
    def create(self, id: str, chain: list[str], *, volatile: bool = False) -> None:
        """Prepare a writable snapshot over `chain`, lowest layer first; nothing is mounted yet.

        volatile: the container is removed when it stops (`--rm`), so its files need not reach the disk.
        Raises: NotFound for a missing layer, Conflict when the id has a snapshot.
        """
        ...

    def exists(self, id: str) -> bool: ...
    def mount(self, id: str, mapping: IdMap | None = None) -> Path:
        """The root file system, mounted; the mount that is there when it already was.

        With a mapping its files carry host ids (container id 0 is `mapping.base`), as a mapped container
        needs it; without, the container's own ids, whoever wrote them. Raises: NotFound, Internal.
        """
        ...

    def unmount(self, id: str) -> None:
        """Idempotent; the snapshot's files stay."""
        ...

    def remove(self, id: str) -> None:
        """Unmount and delete; idempotent."""
        ...

    def rootfs(self, id: str) -> Path:
        """Where `mount` mounts, whether it is mounted or not."""
        ...

    def upper(self, id: str) -> Path:
        """The container's own changes as an overlay diff directory (for commit). Raises: NotFound."""
        ...

    def usage(self, id: str) -> int:
        """Bytes of the container's own changes. Raises: NotFound."""
        ...

    def changes(self, id: str) -> list[tuple[ChangeKind, str]]:
        """Sorted by path, as `docker diff` shows them: [(ChangeKind.ADDED, "/root/x")]. Raises: NotFound."""
        ...

    def view(self, chain: list[str]) -> AbstractContextManager[Path]:
        """The layers as one read-only tree, while the context is open."""
        ...

    def reconcile(self, live_ids: set[str]) -> None:
        """After a crash: make the mount roots ready, drop stagings, views and snapshots not in `live_ids`.

        live_ids are all containers with a record, running or not; mounts of running ones stay untouched.
        """
        ...

    def close(self) -> None:
        """Give the mount roots back, once nothing is mounted; containers that run on keep them."""
        ...
