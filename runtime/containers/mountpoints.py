"""Binds, Mounts, Volumes and VolumesFrom of a create request as one list of mount points; pure.

Owns Docker's spellings and which of two mounts at one place wins. Creates no volume and looks at no path;
options of tmpfs are `mounts.py`'s.

Spec: Docker API 1.47, HostConfig.Binds, Mount, MountPoint.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runtime.api.errors import InvalidArgument, NotSupported
from runtime.containers.record import MountPoint

Body = dict[str, Any]

PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
PATH_BYTES = 4096

_VOLUME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$")


@dataclass(frozen=True)
class Wish:
    """A mount point as asked; the caller finds the volume or checks the source."""

    point: MountPoint
    copy: bool = True  # fill an empty volume with what the image has there
    create_source: bool = False  # make a missing host directory, as `-v` does
    labels: Mapping[str, str] = field(default_factory=dict)  # of a new volume
    driver: str = ""  # of a new volume
    driver_options: Mapping[str, str] = field(default_factory=dict)


def plan(config: Body, host: Body, inherited: Iterable[MountPoint]) -> list[Wish]:
    """Every mount point of a new container, in order of destination.

    inherited: what VolumesFrom brings. Raises: InvalidArgument in Docker's words, NotSupported.
    """
    tmpfs = {_clean(path): options for path, options in (host.get("Tmpfs") or {}).items()}
    wishes = {point.destination: Wish(replace(point, anonymous=False), copy=False) for point in inherited}
    given: set[str] = set()
    for text in host["Binds"] or ():
        wish = parse_bind(text, host["VolumeDriver"])
        _take(wish, wishes, given, tmpfs)
    for body in host.get("Mounts") or ():
        wish = parse_mount(body)
        _take(wish, wishes, given, tmpfs)
    for path in config["Volumes"] or ():
        destination = _absolute(path, path)
        if destination not in wishes and destination not in tmpfs:
            wishes[destination] = Wish(MountPoint("volume", destination, driver="local", anonymous=True))
    return [wishes[destination] for destination in sorted(wishes)]


def parse_bind(text: str, volume_driver: str = "") -> Wish:
    """ "/host:/container:ro", "volume:/container", "/container". Raises: InvalidArgument."""
    if "\0" in text or len(text) > 3 * PATH_BYTES:
        raise InvalidArgument(f"invalid volume specification: '{text[:80]!r}'")
    parts = text.split(":")
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise InvalidArgument(f"invalid volume specification: '{text[:200]}'")
    mode = parts[2] if len(parts) == 3 else ""
    words = mode.split(",") if mode else []
    source, destination = ("", parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    destination = _absolute(destination, text)
    _check_mode(mode, words, bind=source.startswith("/"))
    read_only = "ro" in words
    propagation = next((word for word in words if word in PROPAGATIONS), "")
    if source.startswith("/"):
        point = MountPoint(
            "bind",
            destination,
            source=posixpath.normpath(source),
            mode=mode,
            rw=not read_only,
            propagation=propagation or "rprivate",
        )
        return Wish(point, create_source=True)
    if source and not _VOLUME.match(source):
        raise InvalidArgument(
            f"invalid volume specification: '{text[:200]}': "
            f'"{source[:80]}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )
    point = MountPoint(
        "volume",
        destination,
        name=source,
        driver=volume_driver or "local",
        mode=mode or ("z" if source else ""),
        rw=not read_only,
        anonymous=not source,
    )
    return Wish(point, copy="nocopy" not in words)


def parse_mount(body: Body) -> Wish:
    """One of HostConfig.Mounts. Raises: InvalidArgument in Docker's words, NotSupported."""
    kind = body.get("Type") or "volume"
    target, source = body.get("Target") or "", body.get("Source") or ""
    if kind not in ("bind", "volume", "tmpfs"):
        if kind in ("npipe", "cluster", "image"):
            raise NotSupported(f"mount type {kind} is not supported here")
        raise InvalidArgument(f'invalid mount config for type "{kind[:40]}": mount type unknown')

    def wrong(why: str) -> InvalidArgument:
        return InvalidArgument(f'invalid mount config for type "{kind}": {why}')

    if not target:
        raise wrong("field Target must not be empty")
    if not target.startswith("/"):
        raise wrong(f"invalid mount path: '{target[:200]}' mount path must be absolute")
    if _clean(target) == "/":
        raise wrong("invalid specification: destination can't be '/'")
    for other, field_name in (
        ("bind", "BindOptions"),
        ("volume", "VolumeOptions"),
        ("tmpfs", "TmpfsOptions"),
    ):
        if other != kind and body.get(field_name):
            raise wrong(f"field {field_name} must not be specified")
    if "\0" in target + source or len(target) + len(source) > 2 * PATH_BYTES:
        raise wrong("a path has a NUL byte or is too long")
    read_only = bool(body.get("ReadOnly"))
    if kind == "bind":
        return _bind_mount(body, target, source, read_only, wrong)
    if kind == "volume":
        return _volume_mount(body, target, source, read_only, wrong)
    if source:
        raise wrong("field Source must not be specified")
    return Wish(MountPoint("tmpfs", _clean(target), rw=not read_only, from_mounts=True))


def _bind_mount(body: Body, target: str, source: str, read_only: bool, wrong: Any) -> Wish:
    options = body.get("BindOptions") or {}
    if not source:
        raise wrong("field Source must not be empty")
    if not source.startswith("/"):
        raise wrong(f"invalid mount path: '{source[:200]}' mount path must be absolute")
    propagation = options.get("Propagation") or "rprivate"
    if propagation not in PROPAGATIONS:
        raise wrong(f"invalid propagation mode: {propagation[:40]}")
    point = MountPoint(
        "bind",
        _clean(target),
        source=posixpath.normpath(source),
        rw=not read_only,
        propagation=propagation,
        recursive=not options.get("NonRecursive"),
        from_mounts=True,
    )
    return Wish(point, create_source=bool(options.get("CreateMountpoint")))


def _volume_mount(body: Body, target: str, source: str, read_only: bool, wrong: Any) -> Wish:
    options = body.get("VolumeOptions") or {}
    driver = options.get("DriverConfig") or {}
    if source and not _VOLUME.match(source):
        raise wrong(
            f'"{source[:80]}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed'
        )
    subpath = options.get("Subpath") or ""
    if subpath and (subpath.startswith("/") or ".." in subpath.split("/")):
        raise wrong("subpath must be a relative path within the volume")
    point = MountPoint(
        "volume",
        _clean(target),
        name=source,
        driver=driver.get("Name") or "local",
        mode="z",
        rw=not read_only,
        subpath=subpath,
        anonymous=not source,
        from_mounts=True,
    )
    return Wish(
        point,
        copy=not options.get("NoCopy") and not subpath,
        labels=options.get("Labels") or {},
        driver=driver.get("Name") or "",
        driver_options=driver.get("Options") or {},
    )


def parse_volumes_from(text: str) -> tuple[str, str]:
    """(container, mode) of "name:ro". Raises: InvalidArgument."""
    name, _, mode = text.partition(":")
    words = mode.split(",") if mode else []
    if not name:
        raise InvalidArgument("malformed volumes-from specification: ''")
    _check_mode(mode, words, bind=True)
    if any(word in PROPAGATIONS or word == "nocopy" for word in words):
        raise InvalidArgument(f"invalid mode: {mode[:40]}")
    return name, mode


def inherit(points: Iterable[MountPoint], mode: str) -> list[MountPoint]:
    """Mount points of another container as VolumesFrom takes them over."""
    words = mode.split(",") if mode else []
    return [
        replace(
            point,
            rw=point.rw and "ro" not in words,
            mode=mode or point.mode,
            from_mounts=False,
        )
        for point in points
        if point.type != "tmpfs"
    ]


def _take(wish: Wish, wishes: dict[str, Wish], given: set[str], tmpfs: Mapping[str, str]) -> None:
    destination = wish.point.destination
    if destination in given or destination in tmpfs:
        raise InvalidArgument(f"Duplicate mount point: {destination}")
    given.add(destination)
    wishes[destination] = wish


def _absolute(path: str, text: str) -> str:
    """A clean destination. Raises: InvalidArgument."""
    if not path.startswith("/"):
        raise InvalidArgument(
            f"invalid volume specification: '{text[:200]}': invalid mount config for type "
            f'"{"bind" if text.startswith("/") else "volume"}": '
            f"invalid mount path: '{path[:200]}' mount path must be absolute"
        )
    if "\0" in path or len(path.encode()) > PATH_BYTES:
        raise InvalidArgument("invalid volume specification: the path has a NUL byte or is too long")
    if (clean := _clean(path)) == "/":
        raise InvalidArgument(
            f"invalid volume specification: '{text[:200]}': invalid specification: destination can't be '/'"
        )
    return clean


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _check_mode(mode: str, words: list[str], *, bind: bool) -> None:
    allowed = {"ro", "rw", "z", "Z", "nocopy", *PROPAGATIONS}
    groups = (("ro", "rw"), ("z", "Z"), PROPAGATIONS, ("nocopy",))
    crowded = any(sum(word in group for word in words) > 1 for group in groups)
    misplaced = not bind and any(word in PROPAGATIONS for word in words)
    if not set(words) <= allowed or crowded or misplaced or (bind and "nocopy" in words):
        raise InvalidArgument(f"invalid mode: {mode[:80]}")
