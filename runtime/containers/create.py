"""Creating a container: checks, image defaults, name, volumes, writable layer, record; all or nothing.

Spec: Docker API 1.47, ContainerCreate.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import time
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

from runtime import cgroups
from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound
from runtime.containers import admission, bodies, checks, devices, resources, users
from runtime.containers.binds import make_source
from runtime.containers.core import tell
from runtime.containers.launch import Launcher
from runtime.containers.mountpoints import Wish, inherit, parse_volumes_from, plan
from runtime.containers.names import clean_name, new_id
from runtime.containers.record import MountPoint, Record
from runtime.containers.rooms import Rooms
from runtime.containers.table import Container, Table
from runtime.snapshots import userns

log = logging.getLogger("webdock.containers")

CONTAINERS_MAX = 10_000  # of one engine; ids and names are looked through one by one

Body = dict[str, Any]


class Creator:
    def __init__(self, rooms: Rooms, table: Table, launcher: Launcher) -> None:
        self._rooms = rooms
        self._table = table
        self._launcher = launcher
        self.making: dict[str, Record] = {}  # not in the table yet, but their image and volumes are in use

    async def create(self, name: str | None, body: Body, platform: str | None) -> tuple[str, list[str]]:
        """(id, warnings). body: POST /containers/create, decoded, types checked.

        Raises: InvalidArgument, NotFound (image, network, other container), Conflict (name), NotSupported.
        """
        plain = clean_name(name) if name else None
        if not body.get("Image"):
            raise InvalidArgument("no image given: Image cannot be empty")
        image = self._rooms.images.get(body["Image"])
        warnings = _platform_warnings(image.config, platform, body["Image"])
        config = bodies.container_config(body, image.config.get("config") or {})
        host = bodies.host_config(
            body.get("HostConfig") or {},
            runtime=self._rooms.default_runtime,
            cgroup_version=self._rooms.facts.cgroup_version,
        )
        checks.check_config(config)
        checks.check_host_config(config, host)
        self._rooms.conmon(host["Runtime"])
        self._check_others(host)
        self._check_realtime(host)
        if host.get("Init"):
            self._rooms.init_program()
        devices.resolve(host["Devices"] or ())
        devices.block_numbers(resources.blkio_paths(host))
        host, more = resources.adapt(host, self._rooms.facts)
        more += admission.check(config, host, self._rooms.facts)
        warnings += dict.fromkeys(more)
        if len(self._table) >= CONTAINERS_MAX:
            raise Conflict(f"this engine has {CONTAINERS_MAX} containers already")
        id = new_id()
        record = Record(
            id=id,
            name="",
            created_ns=time.time_ns(),
            image_id=image.id,
            chain=list(image.chain),
            path=bodies.command(config)[0],
            args=bodies.command(config)[1:],
            config=config,
            host_config=host,
            endpoints=_endpoints(body),
            mounts=[],
            mapped=False,  # decided below, when its mounts are known
        )
        if not config["Hostname"] and checks.joined(host["NetworkMode"]) is None:
            config["Hostname"] = socket.gethostname() if host["NetworkMode"] == "host" else record.short_id
            record.default_hostname = True
        wishes = plan(config, host, self._inherited(host["VolumesFrom"] or ()))
        self._check_mounts(wishes)
        record.mapped = await asyncio.to_thread(self._mapped, host, [wish.point for wish in wishes])
        self._check_network(record)
        return await self._rooms.actions.run(
            self._make(record, plain, wishes, warnings), f"creation of {record.short_id}"
        )

    async def _make(
        self, record: Record, name: str | None, wishes: list[Wish], warnings: list[str]
    ) -> tuple[str, list[str]]:
        async with AsyncExitStack() as undo:
            undo.callback(self._rooms.volumes.release, record.id)
            self.making[record.id] = record
            undo.callback(self.making.pop, record.id, None)
            record.name = self._table.claim(name, record.id)
            undo.callback(self._table.release, record.name, record.id)
            self._rooms.store.make(record.id)
            undo.push_async_callback(asyncio.to_thread, self._rooms.store.remove, record.id)
            await asyncio.to_thread(
                self._rooms.snapshots.create, record.id, record.chain, volatile=record.auto_remove
            )
            undo.push_async_callback(asyncio.to_thread, self._rooms.snapshots.remove, record.id)
            for wish in wishes:
                record.mounts.append(await self._mount_point(record, wish, undo))
            record.networks = {
                name: dict(settings) for name, settings in self._known_networks(record).items()
            }
            await self._rooms.store.save(record)
            undo.pop_all()
        self._table.add(Container(record))
        self.making.pop(record.id)
        self._rooms.volumes.release(record.id)
        tell(self._rooms, record, "create")
        return record.id, warnings

    async def _mount_point(self, record: Record, wish: Wish, undo: AsyncExitStack) -> MountPoint:
        point, volumes = wish.point, self._rooms.volumes
        if point.type != "volume":
            return point
        volume = await volumes.ensure(
            point.name or None,
            holder=record.id,
            driver=wish.driver or point.driver,
            options=wish.driver_options,
            labels=wish.labels,
        )
        point.name, point.source, point.driver = volume.name, str(volume.mountpoint), volume.driver
        if point.anonymous:
            undo.push_async_callback(self._forget_volume, record, point)
        if wish.copy:
            await self._fill(record, point)
        return point

    async def _forget_volume(self, record: Record, point: MountPoint) -> None:
        self._rooms.volumes.release(record.id)
        try:
            await self._rooms.volumes.remove(point.name, force=True)
        except EngineError as error:
            log.warning("volume %s stays after a failed creation: %s", point.name, error)

    async def _fill(self, record: Record, point: MountPoint) -> None:
        """Put what the image has at this place into an empty volume, with its owner and mode."""
        with ExitStack() as stack:

            def find() -> int | None:
                rootfs = stack.enter_context(self._rooms.snapshots.view(record.chain))
                try:
                    fd = users.open_inside(rootfs, point.destination)
                except OSError:
                    return None  # the image has nothing there
                stack.callback(os.close, fd)
                return fd if stat.S_ISDIR(os.fstat(fd).st_mode) else None

            if (fd := await asyncio.to_thread(find)) is not None:
                source = Path(os.readlink(f"/proc/self/fd/{fd}"))  # nobody can change the view meanwhile
                await self._rooms.volumes.populate(point.name, source, record.id)

    def _check_network(self, record: Record) -> None:
        """A network that is not there is left to the start, as Docker does: clients take "not found" for the
        image's."""
        if checks.joined(record.host_config["NetworkMode"]) is not None:
            return
        try:
            self._rooms.networks.check(self._launcher.request(record))
        except NotFound:
            pass

    def _check_others(self, host: Body) -> None:
        """Raises: InvalidArgument when a container is missing that it links to or shares namespaces with.

        As Docker, its start says so of a network namespace.
        """
        for link in host["Links"] or ():
            name = link.partition(":")[0]
            try:
                self._table.find(name)
            except NotFound as error:
                raise InvalidArgument(f"could not get container for {name}: {error.message}") from None
        for field in ("IpcMode", "PidMode"):
            if (ref := checks.joined(host[field])) is not None:
                try:
                    self._table.find(ref)
                except NotFound as error:
                    raise InvalidArgument(error.message) from None

    def _check_realtime(self, host: Body) -> None:
        """Raises: InvalidArgument when the group its own will be made in has less real-time than is asked."""
        asked = int(host["CpuRealtimeRuntime"] or 0)
        parent = host["CgroupParent"] or self._rooms.config.instance
        if asked > 0 and cgroups.realtime_us(parent) < asked:
            raise InvalidArgument(
                f"cpu real-time runtime of {asked} us cannot be given: its parent cgroup {parent} has "
                f"{cgroups.realtime_us(parent)} us; write more into its cpu.rt_runtime_us"
            )

    def _mapped(self, host: Body, points: list[MountPoint]) -> bool:
        """Whether its ids are mapped: as those it shares namespaces with, or by its own needs."""
        mode, why = admission.userns_mode(host, "auto" if self._rooms.mapping is not None else "host")
        if mode == "auto" and (why := self._unmappable(host, points)):
            mode = "host"
        mapped: set[bool] = set()
        for field in ("NetworkMode", "IpcMode", "PidMode"):
            if (ref := checks.joined(host[field])) is not None:
                try:
                    mapped.add(self._table.find(ref).record.mapped)
                except NotFound:
                    pass  # as Docker, its start will say so
        if not mapped:
            return mode == "auto"
        if len(mapped) > 1 or (mapped == {True} and mode == "host" and self._rooms.mapping is not None):
            raise InvalidArgument(
                f"it cannot share namespaces of containers with other user ids{f': {why}' if why else ''}; "
                "create those with UsernsMode host"
            )
        return mapped.pop()

    def _unmappable(self, host: Body, points: list[MountPoint]) -> str:
        """What it binds that would show nobody's ids in a mapped container; "" when there is nothing.

        Blocks on the file systems.
        """
        mapping = self._rooms.mapping
        for point in points:
            if point.type != "bind" or mapping is None or mapping.holds(point.source):
                continue
            if self._rooms.conmon(host["Runtime"]).runtime.name == "runc":
                return f"it binds {point.source}, and runc maps no binds"
            source, recursive = Path(point.source), point.recursive
            while not source.exists():  # its start makes what is missing
                source, recursive = source.parent, False
            if not userns.mappable(source, mapping, recursive=recursive):
                return f"it binds {point.source}, whose file system cannot map ids"
        return ""

    def _inherited(self, specifications: Any) -> list[MountPoint]:
        points: list[MountPoint] = []
        for text in specifications:
            ref, mode = parse_volumes_from(text)
            try:
                points += inherit(self._table.find(ref).record.mounts, mode)
            except NotFound as error:
                # Differs: Docker answers 404, which its own client takes for the image's.
                raise InvalidArgument(error.message) from None
        return points

    def _check_mounts(self, wishes: list[Wish]) -> None:
        for wish in wishes:
            point = wish.point
            if point.type == "bind" and not wish.create_source and not os.path.exists(point.source):
                raise InvalidArgument(
                    f'invalid mount config for type "bind": bind source path does not exist: {point.source}'
                )
            if point.type == "bind" and wish.create_source and point.from_mounts:
                make_source(Path(point.source))

    def _known_networks(self, record: Record) -> Body:
        """What inspect shows before the first start: the networks by name, without addresses."""
        host = record.host_config
        if checks.joined(host["NetworkMode"]) is not None:
            return {}
        mode = self._launcher.request(record).mode or "bridge"
        found: Body = {"bridge" if mode == "default" else mode: {}}
        return found | record.endpoints


def _endpoints(body: Body) -> Body:
    """The networks to join by name; "default" is what clients call the bridge."""
    asked = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    return {"bridge" if name == "default" else name: settings for name, settings in asked.items()}


def _platform_warnings(image: Body, platform: str | None, name: str) -> list[str]:
    """Raises: NotFound when another platform was asked for than the image has."""
    if not platform:
        return []
    asked = platform.split("/")
    has = [image.get("os") or "linux", image.get("architecture") or "", image.get("variant") or ""]
    if any(want and want != got for want, got in zip(asked, has, strict=False)):
        shown = "/".join(part for part in has if part)
        raise NotFound(
            f"image with reference {name} was found but its platform ({shown}) does not match the specified "
            f"platform ({platform})"
        )
    return []
