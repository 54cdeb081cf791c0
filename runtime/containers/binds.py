"""Where a bind or a volume comes from on the host, as it stands at this start."""

from __future__ import annotations

import os
from pathlib import Path

from runtime.api.errors import InvalidArgument
from runtime.containers import users
from runtime.containers.mounts import Mount
from runtime.containers.record import MountPoint
from runtime.idmap import IdMap
from runtime.snapshots import userns


def bound(point: MountPoint, mapping: IdMap | None) -> Mount:
    """What config.json says of a bind or a volume. Raises: InvalidArgument when its source is not there."""
    source = Path(point.source)
    if point.subpath:
        source = _inside(source, point.subpath)
    elif not source.exists():
        if point.type == "volume" or point.from_mounts:
            raise InvalidArgument(
                f'invalid mount config for type "{point.type}": '
                f"{point.type} source path does not exist: {source}"
            )
        make_source(source)  # as Docker, for `-v`
    # Spec: OCI runtime 1.1, Mounts: a link is followed. Race: crun does not follow one when it maps ids,
    # so what stands there at this start is asked once, here.
    source = Path(os.path.realpath(source))
    ours = mapping is not None and mapping.holds(str(source))
    return Mount(
        point.destination,
        source=str(source),
        read_only=not point.rw,
        propagation=point.propagation or "rprivate",
        recursive=point.recursive,
        idmap=mapping is not None
        and not ours
        and userns.mappable(source, mapping, recursive=point.recursive),
    )


def make_source(source: Path) -> None:
    """Make a host directory that is to be bound and missing, as Docker does.

    Raises: InvalidArgument, also where a link leads nowhere.
    """
    try:
        source.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(
            f"error while creating mount source path '{source}': {error.strerror}"
        ) from None


def _inside(volume: Path, subpath: str) -> Path:
    """A directory or file in a volume, reached without leaving it. Raises: InvalidArgument."""
    try:
        fd = users.open_inside(volume, subpath)
    except OSError as error:
        raise InvalidArgument(
            f"cannot access path {subpath[:200]} in the volume: {error.strerror}"
        ) from error
    try:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)
