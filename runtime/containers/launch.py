"""From a record to a running program, and back to nothing: root, network, files, config.json, conmon.

Each step is undone when a later one fails. Changes no state and publishes nothing: that is `lifecycle.py`.

Spec: Docker API 1.47, ContainerStart; OCI runtime 1.1, Lifecycle 1 to 9.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, EngineError, Internal
from runtime.containers import devices, etc, exits, users
from runtime.containers.addresses import show_network
from runtime.containers.binds import bound
from runtime.containers.bodies import command, environment
from runtime.containers.checks import joined
from runtime.containers.mounts import Mount
from runtime.containers.record import MountPoint, Record
from runtime.containers.resources import blkio_paths
from runtime.containers.rooms import Rooms
from runtime.containers.roots import Roots
from runtime.containers.security import seccomp_option
from runtime.containers.spec import SpecContext, build_spec
from runtime.containers.state import ALIVE
from runtime.containers.table import Container, Run, Table
from runtime.idmap import IdMap
from runtime.network.definitions import split_link
from runtime.network.endpoints import EndpointRequest, NetworkSetup
from runtime.oci.conmon import Conmon
from runtime.oci.process import ToolError

log = logging.getLogger("webdock.containers")

ETC_FILES = ("hosts", "hostname", "resolv.conf")
DEFAULT_MODES = ("", "default", "bridge")
APPARMOR_PROFILE = "docker-default"
LINKS_LEAVE_OUT = ("HOME", "PATH")
SHM = "/dev/shm"  # noqa: S108 - in the container


@dataclass
class _Network:
    """What a starting container has of a network, its own or another's."""

    setup: NetworkSetup | None  # None: another container's
    netns: Path | None  # None: the host's
    owner: Container | None  # whose network and /etc files it uses


class Launcher:
    """Starts and takes down; the caller holds the container's lock."""

    def __init__(self, rooms: Rooms, table: Table, roots: Roots) -> None:
        self._rooms = rooms
        self._table = table
        self._roots = roots

    async def launch(self, container: Container, attach: Callable[[Conmon, Run], object]) -> Run:
        """Start the container's program.

        attach: called (and awaited when it gives something to await) when there is something to attach to
        and nothing was written yet. Cancelling undoes everything.
        Raises: CannotStart, InvalidArgument, Conflict, NotFound, Internal.
        """
        record, rooms = container.record, self._rooms
        conmon = rooms.conmon(record.host_config["Runtime"])
        mapping = self.mapping(record)
        async with AsyncExitStack() as undo:
            rootfs, network = await self._root_and_network(record, mapping, undo)
            self._write_files(record, network)
            await self._mount_volumes(record, undo)
            if record.host_config["IpcMode"] == "shareable":
                undo.callback(rooms.shm.unmount, record.id)
            spec = await asyncio.to_thread(self._spec, record, rootfs, mapping, network)
            bundle = rooms.bundle(record.id)
            bundle.mkdir(mode=0o700, exist_ok=True)
            (bundle / "config.json").write_text(json.dumps(spec))
            log_path = None
            if record.host_config["LogConfig"]["Type"] != "none":
                log_path = rooms.log_path(record.id)
                log_path.parent.mkdir(mode=0o700, exist_ok=True)
            undo.push_async_callback(exits.undo, conmon, record, rooms)
            handle = await conmon.create(
                id=record.id,
                bundle=bundle,
                tty=record.tty,
                stdin=record.config["OpenStdin"],
                stdin_once=record.config["StdinOnce"],
                log_path=log_path,
            )
            run = Run(handle)
            waiting = attach(conmon, run)
            if asyncio.iscoroutine(waiting):
                await waiting
            run.started_ns = time.time_ns()
            await conmon.start(handle, record.path)
            undo.pop_all()
        if network.setup is not None:
            show_network(record, network.setup)
        else:
            record.netns = str(network.netns or "")
        return run

    async def dismantle(self, container: Container) -> None:
        """Take down what a run leaves behind; every step is tried, failures are logged."""
        record = container.record
        conmon = self._rooms.conmon(record.host_config["Runtime"])

        async def each(*steps: tuple[str, Coroutine[Any, Any, None]]) -> None:
            done = await asyncio.gather(*(step for _, step in steps), return_exceptions=True)
            for (what, _), error in zip(steps, done, strict=True):
                if isinstance(error, EngineError | OSError | ToolError):
                    log.error("container %s: its %s was not cleaned up: %s", record.short_id, what, error)
                elif isinstance(error, BaseException):
                    raise error

        await each(
            ("runtime", conmon.runtime.delete(record.id, force=True)),
            ("network", self._rooms.networks.teardown(record.id)),
        )
        await each(  # only when nothing runs in it any more
            ("root file system", self._roots.drop(record.id)),
            *(("volume", self._unmount_volume(record, point)) for point in record.mounts),
        )
        if record.host_config["IpcMode"] == "shareable":
            await each(("shared memory", asyncio.to_thread(self._rooms.shm.unmount, record.id)))

    def mapping(self, record: Record) -> IdMap | None:
        """The container's id mapping. Raises: Internal when there is none any more."""
        if not record.mapped:
            return None
        if self._rooms.mapping is None:
            raise Internal(f"container {record.short_id} needs user namespaces, which do not work here now")
        return self._rooms.mapping

    def request(self, record: Record) -> EndpointRequest:
        """What the container wants of the network."""
        config, host = record.config, record.host_config
        mode, endpoints = host["NetworkMode"], record.endpoints
        if config.get("NetworkDisabled"):
            mode, endpoints = "none", {}
        if endpoints and mode in DEFAULT_MODES and not any(name in DEFAULT_MODES for name in endpoints):
            mode = next(iter(endpoints))  # as Docker: the networks named are all it joins
        return EndpointRequest(
            mode=mode,
            name=record.name,
            hostname=config["Hostname"],
            domainname=config["Domainname"],
            endpoints=endpoints,
            exposed=list(config.get("ExposedPorts") or ()),
            port_bindings=host["PortBindings"],
            publish_all=host["PublishAllPorts"],
            links=host["Links"] or (),
            mapping=self.mapping(record),
            mac_address=config.get("MacAddress") or "",
            dns=host["Dns"] or (),
            dns_search=host["DnsSearch"] or (),
            dns_options=host["DnsOptions"] or (),
            extra_hosts=host["ExtraHosts"] or (),
        )

    def write_network_files(self, record: Record, setup: NetworkSetup) -> None:
        """hosts and resolv.conf of a container with a network of its own."""
        directory = self._rooms.etc(record.id, "hosts").parent
        directory.mkdir(mode=0o755, exist_ok=True)
        base = {} if setup.netns_path is not None else {"base": etc.host_file("/etc/hosts")}
        etc.write(directory / "hosts", etc.hosts(setup.hosts, **base))
        etc.write(directory / "resolv.conf", etc.resolv_conf(setup))

    async def _root_and_network(
        self, record: Record, mapping: IdMap | None, undo: AsyncExitStack
    ) -> tuple[Path, _Network]:
        """Both at the same time: one waits for a thread, the other for the kernel."""
        root, network = await asyncio.gather(
            self._roots.take(record.id, mapping), self._network(record), return_exceptions=True
        )
        if isinstance(root, Path):
            undo.push_async_callback(self._roots.drop, record.id)
        if isinstance(network, _Network) and network.setup is not None:
            undo.push_async_callback(self._rooms.networks.teardown, record.id)
        for failed in (root, network):
            if isinstance(failed, BaseException):
                raise failed
        assert isinstance(root, Path)
        assert isinstance(network, _Network)
        return root, network

    async def _network(self, record: Record) -> _Network:
        if (ref := joined(record.host_config["NetworkMode"])) is not None:
            owner = self._table.find(ref)
            if owner.record.state not in ALIVE:
                raise Conflict(f"cannot join network of a non running container: {owner.id}")
            _check_ids(record, owner.record)
            return _Network(None, Path(f"/proc/{owner.record.pid}/ns/net"), owner)
        setup = await self._rooms.networks.setup(record.id, self.request(record))
        return _Network(setup, setup.netns_path, None)

    async def _mount_volumes(self, record: Record, undo: AsyncExitStack) -> None:
        for point in record.mounts:
            if point.type != "volume":
                continue
            undo.push_async_callback(self._unmount_volume, record, point)
            point.source = str(
                await self._rooms.volumes.mount(
                    point.name,
                    record.id,
                    destination=point.destination,
                    read_only=not point.rw,
                    propagation=point.propagation,
                )
            )

    async def _unmount_volume(self, record: Record, point: MountPoint) -> None:
        if point.type == "volume":
            await self._rooms.volumes.unmount(point.name, record.id)

    def _links(self, record: Record, setup: NetworkSetup) -> list[str]:
        """What links tell in the environment: addresses of the network, the other container's variables."""
        told = list(setup.environment)
        for link in record.host_config["Links"] or () if told else ():
            name, alias = split_link(link)
            linked = self._table.find(name).record
            prefix = alias.upper().replace("-", "_").replace(".", "_")
            told += (
                f"{prefix}_ENV_{entry}"
                for entry in linked.config["Env"] or ()
                if "=" in entry and entry.partition("=")[0] not in LINKS_LEAVE_OUT
            )
        return told

    def _write_files(self, record: Record, network: _Network) -> None:
        if network.setup is None:
            return
        self.write_network_files(record, network.setup)
        etc.write(self._rooms.etc(record.id, "hostname"), hostname(record) + "\n")

    def _spec(
        self, record: Record, rootfs: Path, mapping: IdMap | None, network: _Network
    ) -> dict[str, object]:
        """config.json; blocks on the file system."""
        config, host = record.config, record.host_config
        user = users.resolve(rootfs, config["User"], host["GroupAdd"])
        height, width = host["ConsoleSize"]
        privileged = host["Privileged"]
        links = self._links(record, network.setup) if network.setup else []
        context = SpecContext(
            id=record.id,
            rootfs=rootfs,
            args=command(config),
            user=user,
            facts=self._rooms.facts,
            cgroup_path=self._rooms.cgroup(record),
            cwd=config["WorkingDir"] or "/",
            env=environment([*links, *config["Env"]]),
            hostname=hostname(network.owner.record if network.owner else record),
            domainname=config["Domainname"],
            tty=config["Tty"],
            console_size=(height, width) if height and width else None,
            mounts=[
                *self._mounts(record, mapping),
                *self._shared_memory(record, mapping),
                *self._etc(record, network),
            ],
            devices=[
                *(devices.all_devices() if privileged else ()),
                *devices.resolve(host["Devices"] or ()),
            ],
            blkio_devices=devices.block_numbers(blkio_paths(host)),
            netns=network.netns,
            ipcns=self._namespace(record, host["IpcMode"], "ipc", "IPC"),
            pidns=self._namespace(record, host["PidMode"], "pid", "PID"),
            own_network=network.owner is None,
            mapping=mapping,
            init=self._rooms.init_program() if host.get("Init") else None,
            seccomp_profile=seccomp_option(host),
            apparmor_profile=APPARMOR_PROFILE if self._rooms.facts.apparmor and not privileged else None,
        )
        return build_spec(config, host, context)

    def _mounts(self, record: Record, mapping: IdMap | None) -> list[Mount]:
        return [bound(point, mapping) for point in record.mounts if point.type in ("bind", "volume")]

    def _shared_memory(self, record: Record, mapping: IdMap | None) -> list[Mount]:
        """What others may share, or what another shares with it, at /dev/shm."""
        mode = record.host_config["IpcMode"]
        if any(point.destination == SHM for point in record.mounts):
            return []
        if mode == "shareable":
            size_bytes = record.host_config["ShmSize"]
            return [Mount(SHM, source=str(self._rooms.shm.mount(record.id, size_bytes, mapping)))]
        if (owner := self._joined(record, mode, "IPC")) is not None:
            if owner.record.host_config["IpcMode"] != "shareable":
                raise Conflict(
                    f"can't join IPC of container {owner.id}: non-shareable IPC "
                    "(hint: use IpcMode:shareable for the donor container)"
                )
            return [Mount(SHM, source=str(self._rooms.shm.path(owner.id)))]
        return []

    def _etc(self, record: Record, network: _Network) -> list[Mount]:
        owner = network.owner.record if network.owner else record
        taken = {point.destination for point in record.mounts}
        return [
            Mount(f"/etc/{name}", source=str(self._rooms.etc(owner.id, name)))
            for name in ETC_FILES
            if f"/etc/{name}" not in taken
        ]

    def _namespace(self, record: Record, mode: str, kind: str, what: str) -> Path | None:
        owner = self._joined(record, mode, what)
        return None if owner is None else Path(f"/proc/{owner.record.pid}/ns/{kind}")

    def _joined(self, record: Record, mode: str, what: str) -> Container | None:
        if (ref := joined(mode)) is None:
            return None
        owner = self._table.find(ref)
        if owner.record.state not in ALIVE:
            raise Conflict(f"cannot join {what} of a non running container: {owner.id}")
        _check_ids(record, owner.record)
        return owner


def _check_ids(record: Record, owner: Record) -> None:
    """Namespaces belong to a user namespace. Raises: Conflict when the two have different ones."""
    if record.mapped != owner.mapped:
        raise Conflict(
            f"container {record.short_id} cannot share namespaces of {owner.name}, whose ids are others: "
            f"create it again, now that {owner.name} exists"
        )


def hostname(record: Record) -> str:
    """The container's host name; with the host's network or UTS namespace, the host's."""
    host = record.host_config
    if (host["NetworkMode"] == "host" and record.default_hostname) or host["UTSMode"] == "host":
        return socket.gethostname()
    return str(record.config["Hostname"])
