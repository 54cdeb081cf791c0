"""Layers by chain id and records of snapshots on them, as both snapshotters keep them on disk.

    root/layers/<digest>/diff        a layer; `layer.json` beside it: chain id, parent, size
    root/staging/<random>            a layer or snapshot being made, or something being deleted
    root/containers/<id>             a snapshot; `snapshot.json`: chain, volatile

A layer or snapshot is renamed into its place when it is whole, and out of it before it is deleted, so a
crash leaves at most rubbish in staging.

Spec: OCI image 1.0, config "ChainID".
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from runtime.api.errors import Conflict, Internal, InvalidArgument, NotFound
from runtime.snapshots import mount
from runtime.snapshots.base import Staging

_CHAIN_ID = re.compile(r"^sha256:([0-9a-f]{64})$")


@dataclass(frozen=True)
class Snapshot:
    """What is recorded of a container's snapshot."""

    chain: list[str]  # lowest layer first
    volatile: bool


class LayerStore(ABC):
    """The part of a snapshotter that does not depend on how containers see the layers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._uses: dict[str, set[str]] = {}  # chain id -> snapshots on it
        for part in ("layers", "staging", "containers"):
            (root / part).mkdir(mode=0o711, parents=True, exist_ok=True)
        for id in self.ids():
            for chain_id in self.snapshot(id).chain:
                self._uses.setdefault(chain_id, set()).add(id)

    # Layers.

    def has_layer(self, chain_id: str) -> bool:
        return self.diff(chain_id).is_dir()

    def layers(self) -> list[str]:
        return sorted(f"sha256:{entry.name}" for entry in os.scandir(self.root / "layers"))

    def layer_path(self, chain_id: str) -> Path:
        if not self.has_layer(chain_id):
            raise NotFound(f"no layer {chain_id}")
        return self.diff(chain_id)

    def layer_size(self, chain_id: str) -> int:
        return int(json.loads((self.layer_path(chain_id).parent / "layer.json").read_bytes())["size"])

    def begin_layer(self, parent: str | None) -> Staging:
        if parent is not None:
            self.layer_path(parent)
        path = self.root / "staging" / secrets.token_hex(8) / "diff"
        path.mkdir(parents=True)
        return Staging(path, parent)

    def commit_layer(self, staging: Staging, chain_id: str, size_bytes: int) -> None:
        facts = {"chain_id": chain_id, "parent": staging.parent, "size": size_bytes}
        (staging.path.parent / "layer.json").write_text(json.dumps(facts))
        try:
            os.rename(staging.path.parent, self.diff(chain_id).parent)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise Internal(f"cannot keep layer {chain_id}: {error}") from error
            self.abort_layer(staging)  # Race: another pull finished the same layer first; both are the same

    def abort_layer(self, staging: Staging) -> None:
        shutil.rmtree(staging.path.parent, ignore_errors=True)

    def remove_layer(self, chain_id: str) -> None:
        path = self.layer_path(chain_id).parent
        with self._lock:
            if users := self._uses.get(chain_id):
                raise Conflict(f"layer {chain_id} is used by container {min(users)[:12]}")
            doomed = self._doom(path)
        self.delete(doomed)

    def sync(self) -> None:
        mount.sync(self.root)

    def diff(self, chain_id: str) -> Path:
        match = _CHAIN_ID.match(chain_id)
        if match is None:
            raise InvalidArgument(f"{chain_id!r} is not a chain id")
        return self.root / "layers" / match[1] / "diff"

    # Snapshots.

    def exists(self, id: str) -> bool:
        return self.container(id).is_dir()

    def claim(self, id: str, chain: list[str], made: Path) -> None:
        """Make a finished directory the snapshot of `id`. Raises: NotFound, Conflict, Internal."""
        with self._lock:
            for chain_id in chain:
                self.layer_path(chain_id)
            try:
                os.rename(made, self.container(id))
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    raise Conflict(f"container {id} has a snapshot already") from error
                raise Internal(f"cannot make the snapshot of container {id}: {error}") from error
            for chain_id in chain:
                self._uses.setdefault(chain_id, set()).add(id)

    def remove(self, id: str) -> None:
        self.unmount(id)
        with self._lock:
            for users in self._uses.values():
                users.discard(id)
            try:
                doomed = self._doom(self.container(id))
            except FileNotFoundError:
                return
        self.delete(doomed)

    @abstractmethod
    def unmount(self, id: str) -> None:
        """Idempotent; the snapshot's files stay."""

    def snapshot(self, id: str) -> Snapshot:
        try:
            return Snapshot(**json.loads((self.container(id) / "snapshot.json").read_bytes()))
        except FileNotFoundError as error:
            raise NotFound(f"container {id} has no snapshot") from error
        except (ValueError, TypeError) as error:
            raise Internal(f"the snapshot record of container {id} cannot be read: {error}") from error

    def container(self, id: str) -> Path:
        if not id or "/" in id or id.startswith("."):
            raise InvalidArgument(f"{id!r} is not a container id")
        return self.root / "containers" / id

    def ids(self) -> list[str]:
        return [entry.name for entry in os.scandir(self.root / "containers")]

    def sweep(self) -> None:
        """Delete what earlier engines left in staging."""
        for entry in list(os.scandir(self.root / "staging")):
            self.delete(Path(entry.path))

    def delete(self, tree: Path) -> None:
        """Remove a tree; what cannot be removed stays in staging and is tried again at the next start."""
        shutil.rmtree(tree, ignore_errors=True)

    def _doom(self, path: Path) -> Path:
        doomed = self.root / "staging" / secrets.token_hex(8)
        os.rename(path, doomed)
        return doomed
