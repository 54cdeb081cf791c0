"""What the containers room works with: the other rooms and the machine's facts, in one place."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.api.errors import InvalidArgument, NotSupported
from runtime.config import EngineConfig
from runtime.containers.actions import Actions
from runtime.containers.facts import HostFacts
from runtime.containers.inotify import Inotify
from runtime.containers.record import Record
from runtime.containers.store import ContainerStore
from runtime.events import EventHub
from runtime.idmap import IdMap
from runtime.oci.conmon import Conmon
from runtime.snapshots.base import Snapshotter
from runtime.snapshots.shm import SharedMemory

if TYPE_CHECKING:
    from runtime.images.images import Images
    from runtime.network.networks import Networks
    from runtime.volumes.store import Volumes

_ALIASES = {"io.containerd.runc.v2": "runc"}  # containerd's word for it
INITS = ("docker-init", "catatonit", "tini-static")  # static programs only: they run in the container's root


@dataclass
class Rooms:
    """Wired by the engine before containers are loaded."""

    config: EngineConfig
    events: EventHub
    images: Images
    networks: Networks
    volumes: Volumes
    snapshots: Snapshotter
    shm: SharedMemory
    store: ContainerStore
    facts: HostFacts
    runtimes: dict[str, Conmon]  # by the runtime's name; the default one is first
    mapping: IdMap | None  # None: containers run with host ids
    inotify: Inotify = field(default_factory=Inotify)
    actions: Actions = field(default_factory=Actions)

    @property
    def default_runtime(self) -> str:
        return next(iter(self.runtimes))

    def conmon(self, runtime: str) -> Conmon:
        """The conmon of a container's runtime. Raises: InvalidArgument in Docker's words."""
        try:
            return self.runtimes[_ALIASES.get(runtime, runtime) or self.default_runtime]
        except KeyError:
            raise InvalidArgument(f"unknown or invalid runtime name: {runtime}") from None

    def init_program(self) -> Path:
        """Raises: NotSupported when the machine has none."""
        for name in INITS:
            if path := shutil.which(name):
                return Path(path)
        raise NotSupported(f"no init program is installed; one of {', '.join(INITS)} is needed")

    # Places. Paths below `config.home` are seen with container ids by mapped containers.

    def directory(self, id: str) -> Path:
        return self.store.directory(id)

    def bundle(self, id: str) -> Path:
        return self.store.directory(id) / "bundle"

    def log_path(self, id: str) -> Path:
        return self.store.directory(id) / "log" / "container.log"

    def cgroup(self, record: Record) -> str:
        """The container's control group."""
        parent = record.host_config["CgroupParent"] or self.config.instance
        return f"/{parent.strip('/')}/{record.id}"

    def etc(self, id: str, name: str) -> Path:
        """The container's own "hosts", "hostname" or "resolv.conf"."""
        return self.store.directory(id) / "etc" / name

    def exec_directory(self, exec_id: str) -> Path:
        return self.config.run / "exec" / exec_id
