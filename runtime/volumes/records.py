"""One volume as it lies on disk.

Spec: Docker API 1.47, Volume.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runtime.volumes.options import MountPlan, parse_options

FILE = "record.json"
VERSION = 1


@dataclass(slots=True, eq=False)
class Volume:
    """A volume; what is mounted for it follows from its options."""

    name: str
    directory: Path  # <home>/volumes/<name>
    mountpoint: Path  # where its files are, while it is used
    created: str  # RFC 3339
    options: dict[str, str]
    labels: dict[str, str] | None
    plan: MountPlan | None
    filling: bool = False  # an image's files are being copied in
    driver: str = "local"

    @classmethod
    def new(
        cls,
        name: str,
        directory: Path,
        run: Path,
        options: dict[str, str],
        labels: dict[str, str] | None,
        plan: MountPlan | None,
    ) -> Volume:
        created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        mountpoint = directory / "_data" if plan is None else run / name
        return cls(name, directory, mountpoint, created, options, labels, plan)

    @property
    def anonymous(self) -> bool:
        return "com.docker.volume.anonymous" in (self.labels or {})

    def describe(self) -> dict[str, Any]:
        """Docker's Volume."""
        return {
            "CreatedAt": self.created,
            "Driver": self.driver,
            "Labels": None if self.labels is None else dict(self.labels),
            "Mountpoint": str(self.mountpoint),
            "Name": self.name,
            "Options": dict(self.options) or None,
            "Scope": "local",
        }


def read(directory: Path, run: Path) -> Volume:
    """Raises: OSError, ValueError, KeyError, TypeError."""
    body = json.loads((directory / FILE).read_bytes())
    if body["version"] > VERSION:
        raise ValueError(f"its record has version {body['version']}, this engine reads up to {VERSION}")
    plan = parse_options(body["options"])
    return Volume(
        name=directory.name,
        directory=directory,
        mountpoint=directory / "_data" if plan is None else run / directory.name,
        created=body["created"],
        options=body["options"],
        labels=body["labels"],
        plan=plan,
        filling=body["filling"],
    )


def write(volume: Volume, directory: Path | None = None) -> None:
    """Replace the record; on return it is on disk."""
    place = directory or volume.directory
    body = {
        "version": VERSION,
        "created": volume.created,
        "options": volume.options,
        "labels": volume.labels,
        "filling": volume.filling,
    }
    beside = place / f".{FILE}.new"
    with beside.open("w") as opened:
        json.dump(body, opened)
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(place / FILE)
    sync(place)


def sync(directory: Path) -> None:
    """Have a directory's entries on disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
