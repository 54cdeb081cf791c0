"""Leases: content that no image names yet, kept from collection while somebody works on it.

    images/leases/<key>.json    what a running or interrupted pull has fetched so far

A lease lost in a crash costs a download, nothing else; so writing one is cheap and not synced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from runtime.images.reference import Digest


@dataclass(slots=True)
class Lease:
    """Content that no image names yet."""

    key: str
    blobs: set[Digest] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    until_s: float = 0.0
    holders: int = 0  # running operations; with none it lasts until ``until_s``


class Leases:
    """What pulls have fetched and no image names yet."""

    def __init__(self, root: Path) -> None:
        self._root = root / "leases"
        self._leases: dict[str, Lease] = {}

    def load(self) -> None:
        """Read the disk, dropping what has run out. Blocks; for the start."""
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in self._root.iterdir():
            if file.name.startswith("."):
                file.unlink()
                continue
            try:
                body = json.loads(file.read_bytes())
                lease = Lease(file.stem, set(body["blobs"]), set(body["layers"]), float(body["until"]))
            except (ValueError, KeyError, TypeError):
                file.unlink()
                continue
            if lease.until_s > time.time():
                self._leases[lease.key] = lease
            else:
                file.unlink()

    def take(self, key: str, blobs: Iterable[Digest], layers: Iterable[str], until_s: float) -> Lease:
        """Keep this content while the operation runs and, if it is interrupted, until then."""
        lease = self._leases.setdefault(key, Lease(key))
        lease.blobs.update(blobs)
        lease.layers.update(layers)
        lease.until_s = until_s
        lease.holders += 1
        body = {"blobs": sorted(lease.blobs), "layers": sorted(lease.layers), "until": until_s}
        # Not worth an fsync: a lost lease costs a download.
        temporary = self._root / f".{key}"
        temporary.write_text(json.dumps(body))
        temporary.rename(self._root / f"{key}.json")
        return lease

    def leave(self, lease: Lease, *, keep: bool) -> None:
        """The operation has ended; ``keep`` what it fetched for the next try, or not."""
        lease.holders -= 1
        if not keep and not lease.holders:
            self.drop(lease.key)

    def drop(self, key: str) -> None:
        self._leases.pop(key, None)
        (self._root / f"{key}.json").unlink(missing_ok=True)

    def expire(self, now_s: float, *, all: bool = False) -> None:
        """Drop leases that have run out, or all that no operation holds."""
        for lease in list(self._leases.values()):
            if not lease.holders and (all or lease.until_s <= now_s):
                self.drop(lease.key)

    def held(self) -> tuple[set[Digest], set[str]]:
        """(blobs, layers) that must stay."""
        blobs: set[Digest] = set()
        layers: set[str] = set()
        for lease in self._leases.values():
            blobs |= lease.blobs
            layers |= lease.layers
        return blobs, layers
