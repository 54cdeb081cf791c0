"""Which host ids a container's ids stand for, and where our files are seen with container ids.

One instance has one mapping and one pinned user namespace, made by `runtime.snapshots.userns`. All mapped
containers of an instance share it (as with Docker's userns-remap), so that volumes can be shared, network
namespaces can be kept ready, and one idmapped mount of the state directory serves every container at no cost
per start. On disk, all ids are the container's own.

Spec: user_namespaces(7); mount_setattr(2), MOUNT_ATTR_IDMAP.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534
MAP_SIZE = 65536  # ids, what images expect to be able to use (0..65534 and nobody)


@dataclass(frozen=True)
class IdMap:
    """Container id 0..size-1 is host id base..base+size-1, for users and groups alike; host mode is None."""

    base: int  # host id of the container's root
    userns: Path  # pinned namespace file: setns(2) into it to create namespaces it shall own
    home: Path  # the engine's state directory
    view: Path  # the same directory again, with container ids
    size: int = MAP_SIZE

    def to_host(self, container_id: int) -> int:
        """The host id of a container's id. Raises: ValueError for an id outside the mapping."""
        if not 0 <= container_id < self.size:
            raise ValueError(f"id {container_id} is outside the mapping 0..{self.size - 1}")
        return self.base + container_id

    def to_container(self, host_id: int) -> int:
        """The container's id of a host id; what has none is nobody (65534), as the kernel shows it."""
        return host_id - self.base if self.base <= host_id < self.base + self.size else NOBODY

    def holds(self, path: Path | str) -> bool:
        """Whether a path is in the state directory, so that `seen` knows it."""
        return Path(path).is_relative_to(self.home)

    def seen(self, path: Path | str) -> Path:
        """Where a path in the state directory is to be handed to a mapped container from."""
        return self.view / Path(path).relative_to(self.home)

    def oci(self) -> list[dict[str, int]]:
        """The `uidMappings` and `gidMappings` of an OCI config.json."""
        return [{"containerID": 0, "hostID": self.base, "size": self.size}]
