"""One engine: its rooms, wired, and the order in which they start and stop.

Start, before any socket opens: what the machine can do, images, containers held against what runs, networks,
then everything that follows from it. Stop lets go of containers; they keep running.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any

from runtime import cgroups, system
from runtime.api.errors import EngineError, NotSupported
from runtime.config import EngineConfig
from runtime.containers.containers import Containers
from runtime.containers.exec import Execs
from runtime.containers.facts import HostFacts, host_facts
from runtime.containers.rooms import Rooms
from runtime.containers.store import ContainerStore
from runtime.containers.volumefiles import VolumeFiles
from runtime.events import EventHub
from runtime.idmap import IdMap
from runtime.images.images import Images
from runtime.network import networks
from runtime.network.networks import Networks
from runtime.oci.conmon import Conmon
from runtime.oci.process import ToolError, run
from runtime.oci.runtime import FALLBACKS, Probe, Runtime, probe
from runtime.snapshots import userns
from runtime.snapshots.overlay import OverlaySnapshotter
from runtime.snapshots.shm import SharedMemory
from runtime.volumes.store import Volumes

log = logging.getLogger("webdock.engine")

Body = dict[str, Any]


class Engine:
    """The rooms exist after `start`; `events` and `config` before."""

    containers: Containers
    execs: Execs
    images: Images
    networks: Networks
    volumes: Volumes
    volume_files: VolumeFiles

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.events = EventHub()
        self._rooms: Rooms | None = None
        self._machine: system.Machine | None = None

    async def start(self) -> None:
        """Make the state on disk, in the kernel and in memory agree.

        Raises: Unavailable when no runtime works, Internal when the network cannot be set up.
        """
        config = self.config
        config.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.run.mkdir(mode=0o711, parents=True, exist_ok=True)  # mapped containers go through it
        facts = host_facts()
        found = await probe(config.runtime, config.run, f"/{config.instance}")
        mapping, complaint = await asyncio.to_thread(_mapping, config)
        runtimes = _runtimes(config, found)
        snapshots = OverlaySnapshotter(config.home / "snapshots", config.run)
        userns.shut_out(config.run, mapping)
        self.images = Images(
            config.home / "images",
            snapshots,
            config.registries,
            config.mirrors,
            self.events,
            lambda image_id: self.containers.using_image(image_id),
            leads_inside=lambda address, port: self.networks.listeners.leads_inside(address, port),
        )
        self.volumes = Volumes(
            config.home / "volumes",
            config.run / "volumes",
            self.events,
            lambda name: self.containers.using_volume(name),
        )
        self.networks = Networks(config, self.events, config.home / "networks")
        rooms = Rooms(
            config=config,
            events=self.events,
            images=self.images,
            networks=self.networks,
            volumes=self.volumes,
            snapshots=snapshots,
            shm=SharedMemory(config.run),
            store=ContainerStore(config.home / "containers"),
            facts=facts,
            runtimes=runtimes,
            mapping=mapping,
        )
        self.containers = Containers(rooms)
        self.volume_files = VolumeFiles(rooms)
        self.execs = self.containers.execs
        self._machine = system.Machine(
            id=_identity(config.home / "engine-id"),
            config=config,
            facts=facts,
            probe=found,
            runtimes={name: conmon.runtime.binary for name, conmon in runtimes.items()},
            conmon=await _conmon_version(),
            driver=snapshots.name,
            warnings=(*found.reasons, *complaint, *_lacking(facts)),
        )
        for warning in self._machine.warnings:
            log.warning("%s", warning)
        await self.images.start()
        live = await self.containers.load()
        await self.volumes.start()
        await self.networks.start(live, mapping)
        self.networks.containers = self.containers
        await self.containers.take_up()
        self._rooms = rooms
        self.containers.begin_restarts()

    async def close(self) -> None:
        """Let go of everything; containers keep running."""
        if self._rooms is None:
            return
        await self.containers.close()
        await self.networks.close()
        await self.volumes.close()
        await self.images.close()
        for conmon in self._rooms.runtimes.values():
            conmon.close()
        self.events.close()
        self._rooms = None

    def version(self) -> Body:
        """The body of GET /version."""
        return system.version(self._known())

    def info(self) -> Body:
        """The body of GET /info."""
        return system.info(
            self._known(),
            counts=self.containers.counts(),
            images=len(self.images.list(all=False)),
            registries=self.images.registries.rows(),
            listeners=self.events.followers,
            now_ns=time.time_ns(),
            mapped=self._rooms is not None and self._rooms.mapping is not None,
        )

    async def disk_usage(self) -> Body:
        """The body of GET /system/df."""
        images = self.images.usage()
        return {
            "LayersSize": images["LayersSize"],
            "Images": images["Images"],
            "Containers": await self.containers.list(all=True, size=True),
            "Volumes": await self.volumes.usage(),
            "BuildCache": [],
            "BuilderSize": 0,
        }

    def _known(self) -> system.Machine:
        if self._machine is None:
            raise RuntimeError("expected a started engine, got one that was not")
        return self._machine


def purge(config: EngineConfig) -> None:
    """Take away what an instance keeps in the kernel: networks, mounts, control groups.

    Only with its engine stopped; files below home and run stay. A container that still runs loses its network
    and keeps its files. Blocks. Raises: OSError, NftError.
    """
    networks.purge(config)
    if (config.run / "mounts").is_dir():
        snapshots, shm = OverlaySnapshotter(config.home / "snapshots", config.run), SharedMemory(config.run)
        for name in os.listdir(config.run / "mounts"):
            shm.unmount(name.removeprefix("shm-"))
            snapshots.unmount(name)
        snapshots.close()
    userns.release(config.run)
    cgroups.remove(f"/{config.instance}")


def _mapping(config: EngineConfig) -> tuple[IdMap | None, tuple[str, ...]]:
    """The instance's id mapping, or why there is none."""
    if config.userns != "auto":
        return None, ()
    try:
        return userns.prepare(config.home, config.run, config.instance), ()
    except NotSupported as error:
        return None, (f"containers run with host user ids: {error.message}",)


def _runtimes(config: EngineConfig, found: Probe) -> dict[str, Conmon]:
    """The runtime that works, and the others that are installed, by name."""
    runtimes = {found.name: Conmon(Runtime(found.path, config.run / found.name))}
    for name in FALLBACKS:
        if name not in runtimes and shutil.which(name):
            runtimes[name] = Conmon(Runtime(name, config.run / name))
    return runtimes


def _identity(path: Path) -> str:
    """This engine's id, made at its first start."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.write_text(f"{uuid.uuid4()}\n")
        os.chmod(path, 0o600)
        return path.read_text().strip()


async def _conmon_version() -> str:
    try:
        stdout, _ = await run(["conmon", "--version"])
    except (ToolError, EngineError) as error:
        log.error("conmon does not answer: %s", error)
        return "unknown"
    return stdout.split()[2] if len(stdout.split()) > 2 else "unknown"


def _lacking(facts: HostFacts) -> tuple[str, ...]:
    """Docker's warnings about what cannot be limited here."""
    return tuple(
        f"WARNING: No {what} support"
        for feature, what in (
            ("memory", "memory limit"),
            ("swap", "swap limit"),
            ("cpu-cfs", "cpu cfs quota"),
            ("cpu-shares", "cpu shares"),
            ("cpuset", "cpuset"),
            ("pids", "pids limit"),
        )
        if feature not in facts.features
    )
