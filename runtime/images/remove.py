"""Removing images and names: what goes, what stands against it, in Docker's words; pure.

Decides over records; never touches a disk.

Spec: Docker API 1.47, ImageDelete; the engine's rules for references, children and containers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runtime.api.errors import Conflict
from runtime.images.reference import ImageId, Reference
from runtime.images.store import Change, ImageRecord, ImageStore, names_without

InUse = Callable[[str], list[tuple[str, bool]]]  # image id -> [(container id, running)]


@dataclass(slots=True)
class Removal:
    """What a removal does."""

    untagged: list[tuple[ImageRecord, Reference]] = field(default_factory=list)
    deleted: list[ImageRecord] = field(default_factory=list)
    kept: ImageRecord | None = None  # the image with the names that are left

    @property
    def change(self) -> Change:
        gone = {image.id for image in self.deleted}
        kept = [self.kept] if self.kept is not None and self.kept.id not in gone else []
        return Change(kept, sorted(gone))


class _Refusal(Conflict):
    def __init__(self, id: str, why: str, *, hard: bool, used: bool) -> None:
        force = "cannot be forced" if hard else "must be forced"
        super().__init__(f"conflict: unable to delete {_short(id)} ({force}) - {why}")
        self.used = used


def plan(
    store: ImageStore, in_use: InUse, image: ImageRecord, name: Reference | None, *, force: bool, prune: bool
) -> Removal:
    """Remove by ``name``, or by id when it is None.

    Raises: Conflict.
    """
    removal = Removal()
    quiet = False
    if name is not None:
        users = in_use(image.id)
        if not force and users and _is_single(image):
            raise Conflict(
                f'conflict: unable to remove repository reference "{name.familiar}" (must force) - '
                f"container {users[0][0][:12]} is using its referenced image {_short(image.id)}"
            )
        left = names_without(image, name)
        removal.untagged.append((image, name))
        removal.untagged += [
            (image, source) for source in image.sources if source not in left.sources and source != name
        ]
        removal.kept = image = left
        if left.names or left.sources:
            return removal
        quiet = True
    elif _is_single(image):
        # What is referenced once only loses its name with its id; the name is no reason against it.
        _check(store, in_use, image, force=force, ignore_names=True)
        removal.untagged += [(image, reference) for reference in (*image.names, *image.sources)]
        removal.kept = image = _nameless(image)
    _delete(store, in_use, image, removal, force=force, prune=prune, quiet=quiet)
    return removal


def _delete(
    store: ImageStore,
    in_use: InUse,
    image: ImageRecord,
    removal: Removal,
    *,
    force: bool,
    prune: bool,
    quiet: bool,
) -> None:
    gone = {deleted.id for deleted in removal.deleted}
    try:
        _check(store, in_use, image, force=force, gone=gone)
    except _Refusal as refusal:
        # What nothing names, nothing uses and nothing stands on should go: then the reason is told.
        if quiet and (image.names or image.sources or refusal.used or store.children(image.id)):
            return
        raise
    removal.untagged += [(image, reference) for reference in (*image.names, *image.sources)]
    removal.deleted.append(image)
    parent = store.by_id(image.parent) if image.parent else None
    if prune and parent is not None and not parent.names and not parent.sources:
        _delete(store, in_use, parent, removal, force=False, prune=True, quiet=True)


def _check(
    store: ImageStore,
    in_use: InUse,
    image: ImageRecord,
    *,
    force: bool,
    ignore_names: bool = False,
    gone: set[ImageId] | None = None,
) -> None:
    """Raises: Conflict for what stands against deleting an image."""
    if any(child.id not in (gone or ()) for child in store.children(image.id)):
        raise _Refusal(image.id, "image has dependent child images", hard=True, used=False)
    users = in_use(image.id)
    running = next((id for id, is_running in users if is_running), None)
    if running is not None:
        why = f"image is being used by running container {running[:12]}"
        raise _Refusal(image.id, why, hard=True, used=True)
    if force:
        return
    if not ignore_names and (image.names or image.sources):
        raise _Refusal(image.id, "image is referenced in multiple repositories", hard=False, used=False)
    if users:
        why = f"image is being used by stopped container {users[0][0][:12]}"
        raise _Refusal(image.id, why, hard=False, used=True)


def _nameless(image: ImageRecord) -> ImageRecord:
    for name in (*image.names, *image.sources):
        image = names_without(image, name)
    return image


def _is_single(image: ImageRecord) -> bool:
    """Whether the image has at most one tag, and digests of its repository only."""
    references: Sequence[Reference] = (*image.names, *image.sources)
    if len(references) <= 1:
        return True
    if len(image.names) > 1:
        return False
    repositories = {source.repository for source in image.sources}
    one = references[0].repository
    return repositories == {one}


def _short(id: str) -> str:
    return id.removeprefix("sha256:")[:12]
