"""Which host ids a container's ids stand for, and how that mapping is kept.

One instance has one mapping and one pinned user namespace (`UserNamespace` in
`runtime/snapshots/userns.py`): container id 0..size-1 is host id base..base+size-1. All mapped containers
of an instance share it, as with Docker's userns-remap, so that volumes can be shared, network namespaces
can be kept ready, and one idmapped mount of the state directory serves every container.

Spec: user_namespaces(7), mount_setattr(2) MOUNT_ATTR_IDMAP.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MAP_SIZE = 65536  # ids, what images expect to be able to use (0..65534 plus nogroup)


@dataclass(frozen=True)
class IdMap:
    """A mapped container: `IdMap(base=1_000_000_000, userns=Path("/run/webdock/userns"))`; host mode is None."""

    base: int  # host id of the container's root, for uids and gids alike
    userns: Path  # pinned namespace file: setns(2) into it to create namespaces it shall own
    size: int = MAP_SIZE

    def to_host(self, container_id: int) -> int:
        """The host id of a container's id; ids outside the mapping have none and raise ValueError."""
        if not 0 <= container_id < self.size:
            raise ValueError(f"id {container_id} is outside the mapping 0..{self.size - 1}")
        return self.base + container_id

    def oci(self) -> list[dict[str, int]]:
        """The `uidMappings`/`gidMappings` of an OCI config.json."""
        return [{"containerID": 0, "hostID": self.base, "size": self.size}]
