"""The room of containers as the rest of the engine sees it: every verb, question and stream.

Wires the parts of this room together and hands each call to the one that does it.

Spec: Docker API 1.47, Container.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import TYPE_CHECKING, Any

from runtime.api.errors import Conflict, EngineError, NotFound
from runtime.containers import exits, inspect, listing
from runtime.containers.create import Creator
from runtime.containers.exec import Execs
from runtime.containers.health import Monitor
from runtime.containers.launch import Launcher
from runtime.containers.lifecycle import Lifecycle
from runtime.containers.logs import Follow, Selection
from runtime.containers.logs import read as read_log
from runtime.containers.record import Record
from runtime.containers.rooms import Rooms
from runtime.containers.roots import Roots
from runtime.containers.state import ACTIVE, ALIVE, State
from runtime.containers.streams import Attachment, Stream
from runtime.containers.table import Container, Run, Table
from runtime.containers.times import SECOND_NS
from runtime.network.endpoints import NetworkSetup

if TYPE_CHECKING:
    from runtime.network.networks import Member

log = logging.getLogger("webdock.containers")

CLOSE_TIMEOUT_S = 15.0  # for verbs that are under way when the engine stops
STARTS_AT_ONCE = 8  # containers started together with the engine

Body = dict[str, Any]
Filters = dict[str, list[str]]


class Containers:
    """All containers of one engine."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._table = Table()
        self._roots = Roots(rooms.snapshots)
        self._launcher = Launcher(rooms, self._table, self._roots)
        self._monitor = Monitor(self._save, self._tell)
        self._lifecycle = Lifecycle(rooms, self._table, self._roots, self._launcher, self._monitor)
        self._creator = Creator(rooms, self._table, self._launcher)
        self.execs = Execs(rooms, self._table)
        self._monitor.probe = self.execs.probe
        self._lifecycle.gone = self.execs.forget

    # The engine's own start and end.

    async def load(self) -> set[str]:
        """Read the records and find out what became of their containers; gives the ids of those that run.

        Nothing is started, and nothing taken down yet that needs the network room.
        """
        records, half_made = self._rooms.store.load()
        known = {
            name: frozenset(await conmon.runtime.list_ids()) for name, conmon in self._rooms.runtimes.items()
        }
        self._findings: list[tuple[Container, exits.Finding]] = []
        for record in records:
            container = Container(record)
            self._table.claim(record.name, record.id)
            self._table.add(container)
            try:
                found = await exits.investigate(
                    self._rooms, record, known.get(record.host_config["Runtime"], frozenset())
                )
            except EngineError as error:
                log.error("container %s: nothing could be found out: %s", record.short_id, error)
                found = exits.Finding()
            self._findings.append((container, found))
        ids = {record.id for record in records}
        for name, orphans in known.items():
            for id in orphans - ids:
                log.warning("removing %s, which %s knows and no record does", id[:12], name)
                await self._rooms.conmon(name).abandon(self._rooms.bundle(id))
                await self._rooms.conmon(name).runtime.delete(id, force=True)
        for id in half_made:
            await asyncio.to_thread(self._rooms.store.remove, id)
        await asyncio.to_thread(self._rooms.snapshots.reconcile, ids)
        return {container.id for container, found in self._findings if found.handle is not None}

    async def take_up(self) -> None:
        """After the network room has started: watch what runs, clean up after what ended."""
        self._rooms.networks.hosts_changed = self._hosts_changed
        for container, found in self._findings:
            if found.handle is not None:
                self._lifecycle.adopt(container, Run(found.handle), paused=found.paused)
                if (setup := self._rooms.networks.describe(container.id)) is not None:
                    self._show_network(container.record, setup)
            elif found.leftovers or container.record.state in ALIVE | {State.RESTARTING}:
                await self._launcher.dismantle(container)
        for container, found in self._findings:
            if found.handle is None and found.exit is not None:
                await self._lifecycle.found_dead(container, found.exit)
            elif found.handle is None and container.record.state is State.RESTARTING:
                container.record.state = State.EXITED
        await self.execs.load()

    def begin_restarts(self) -> None:
        """Start what restart policies want, in the background; those that join others come after them."""
        waiting = [container for container, found in self._findings if found.handle is None]
        self._findings = []
        self._rooms.actions.begin(self._restart_all(waiting), "restarts at the engine's start")

    async def _restart_all(self, containers: list[Container]) -> None:
        limit = asyncio.Semaphore(STARTS_AT_ONCE)

        async def take_up(container: Container) -> None:
            async with limit:
                await self._lifecycle.take_up(container)

        def joins(container: Container) -> bool:
            host = container.record.host_config
            return any(
                str(host[mode]).startswith("container:") for mode in ("NetworkMode", "IpcMode", "PidMode")
            )

        for group in (False, True):
            await asyncio.gather(*(take_up(one) for one in containers if joins(one) is group))

    async def close(self) -> None:
        """Finish verbs under way and let go; containers keep running."""
        self._lifecycle.close()
        self.execs.close()
        await self._rooms.actions.close(CLOSE_TIMEOUT_S)
        self._rooms.inotify.close()

    # Verbs.

    async def create(
        self, name: str | None, body: Body, platform: str | None = None
    ) -> tuple[str, list[str]]:
        return await self._creator.create(name, body, platform)

    async def start(self, ref: str, detach_keys: str | None = None) -> None:
        await self._lifecycle.start(ref)

    async def stop(self, ref: str, timeout_s: int | None = None, signal: str | None = None) -> None:
        await self._lifecycle.stop(ref, timeout_s, signal)

    async def restart(self, ref: str, timeout_s: int | None = None, signal: str | None = None) -> None:
        await self._lifecycle.restart(ref, timeout_s, signal)

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        await self._lifecycle.kill(ref, signal)

    async def pause(self, ref: str) -> None:
        await self._lifecycle.pause(ref)

    async def unpause(self, ref: str) -> None:
        await self._lifecycle.unpause(ref)

    async def rename(self, ref: str, name: str) -> None:
        await self._lifecycle.rename(ref, name)

    async def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        if link:
            await self._lifecycle.remove_link(ref)
        else:
            await self._lifecycle.remove(ref, force=force, volumes=volumes)

    def wait(self, ref: str, condition: str = "not-running") -> Awaitable[Body]:
        return self._lifecycle.wait(ref, condition)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Without a terminal there is nothing to do. Raises: Conflict when it does not run."""
        container = self._table.find(ref)
        record = container.record
        if container.run is None or record.state not in ALIVE:
            raise Conflict(f"Container {container.id} is not running")
        if record.tty:
            self._rooms.conmon(record.host_config["Runtime"]).resize(container.run.handle, height, width)
        self._tell(container, "resize", height=str(height), width=str(width))

    # Streams.

    async def attach(
        self, ref: str, *, logs: bool, stream: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> Stream:
        """The container's session, now or from its next start on; with logs, all it wrote so far first."""
        container = self._table.find(ref)
        record = container.record
        if container.removing or record.state in (State.REMOVING, State.DEAD):
            raise Conflict(f"container {container.id} is marked for removal")
        if record.state is State.PAUSED:
            raise Conflict(f"container {ref} is paused. unpause the container before attach")
        if record.state is State.RESTARTING:
            raise Conflict(f"container {ref} is restarting, wait until the container is running")
        output = None
        if logs:
            output = self._read_log(container, Selection(stdout=stdout, stderr=stderr), follow=stream)
        attachment = Attachment(
            tty=record.tty, stdin=stdin and stream, stdout=stdout, stderr=stderr, output=output
        )
        # As with Docker: a container whose input outlives its client is left when the client's input ends.
        attachment.leaves = record.tty or not record.config["StdinOnce"]
        if not stream:
            attachment.end()
        elif container.run is not None:
            if stdin or output is None:
                conmon = self._rooms.conmon(record.host_config["Runtime"])
                attachment.connect(await conmon.attach(container.run.handle, stdin=stdin))
        else:
            container.attachments.add(attachment)
            attachment.on_close = lambda: container.attachments.discard(attachment)
        self._tell(container, "attach")
        return attachment

    def detached(self, ref: str) -> None:
        """Somebody typed the detach keys."""
        try:
            self._tell(self._table.find(ref), "detach")
        except EngineError:
            pass  # it is gone meanwhile

    def logs(
        self,
        ref: str,
        *,
        stdout: bool,
        stderr: bool,
        follow: bool = False,
        since: float | None = None,
        until: float | None = None,
        timestamps: bool = False,
        tail: int | None = None,
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Raises at once: NotFound, Conflict when no log is kept. since, until: unix times."""
        container = self._table.find(ref)
        selection = Selection(
            stdout=stdout,
            stderr=stderr,
            since_ns=int((since or 0) * SECOND_NS),
            until_ns=int((until or 0) * SECOND_NS),
            timestamps=timestamps,
            tail=tail,
        )
        return self._read_log(container, selection, follow=follow)

    def _read_log(
        self, container: Container, selection: Selection, *, follow: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        record = container.record
        if record.host_config["LogConfig"]["Type"] == "none":
            raise Conflict("configured logging driver does not support reading")
        following = None
        if follow and container.run is not None:
            following = Follow(self._rooms.inotify, container.run.exited)
        return read_log(self._rooms.log_path(record.id), selection, follow=following)

    def tty(self, ref: str) -> bool:
        return self._table.find(ref).record.tty

    # Questions.

    async def inspect(self, ref: str, size: bool = False) -> Body:
        record = self._table.find(ref).record
        snapshots = self._rooms.snapshots
        log_path = self._rooms.log_path(record.id)
        body = inspect.describe(
            record,
            driver=snapshots.name,
            directories=self._directories(record),
            etc=self._rooms.etc(record.id, "hosts").parent,
            log_path=None if record.host_config["LogConfig"]["Type"] == "none" else log_path,
            exec_ids=self.execs.running(record.id),
        )
        if size:
            body |= await self._sizes(record)
        return body

    async def list(
        self,
        *,
        all: bool = False,
        limit: int | None = None,
        size: bool = False,
        filters: Filters | None = None,
    ) -> list[Body]:
        """Newest first. Raises: InvalidArgument, NotFound for a container named in a filter."""
        now_ns = time.time_ns()
        records = listing.select(
            self._table, filters or {}, self._lookups(), all=all, limit=limit, now_ns=now_ns
        )
        rows = [inspect.summarize(record, now_ns) for record in records]
        if size:
            for record, row in zip(records, rows, strict=True):
                try:
                    row |= await self._sizes(record)
                except NotFound:
                    continue  # Race: it was removed meanwhile
        return rows

    async def prune(self, filters: Filters | None = None) -> Body:
        """Remove what does not run. Raises: InvalidArgument."""
        deleted, reclaimed = [], 0
        for record in listing.prunable(self._table, filters or {}, time.time_ns()):
            try:
                size = await asyncio.to_thread(self._rooms.snapshots.usage, record.id)
                await self._lifecycle.remove(record.id, force=False, volumes=False)
            except (Conflict, NotFound):
                continue  # Race: it was started or removed meanwhile
            except EngineError as error:
                log.warning("prune: %s", error)
                continue
            deleted.append(record.id)
            reclaimed += size
        self._rooms.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
        return {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed}

    def using_image(self, image_id: str) -> builtins.list[tuple[str, bool]]:
        """(container id, whether it runs) of the containers made from an image."""
        return [
            (record.id, record.state in ACTIVE) for record in self._records() if record.image_id == image_id
        ]

    def using_volume(self, name: str) -> builtins.list[tuple[str, bool]]:
        """(container id, whether it runs) of the containers a volume is mounted in."""
        return [
            (record.id, record.state in ACTIVE)
            for record in self._records()
            if any(point.type == "volume" and point.name == name for point in record.mounts)
        ]

    def counts(self) -> dict[str, int]:
        """How many there are in all, and how many run, are paused, and are stopped."""
        states = [container.record.state for container in self._table]
        running = sum(state in (State.RUNNING, State.RESTARTING) for state in states)
        paused = states.count(State.PAUSED)
        return {
            "Containers": len(states),
            "ContainersRunning": running,
            "ContainersPaused": paused,
            "ContainersStopped": len(states) - running - paused,
        }

    # For the network room.

    def network_member(self, ref: str) -> Member:
        from runtime.network.networks import Member

        container = self._table.find(ref)
        record = container.record
        return Member(
            id=record.id,
            name=record.name,
            running=container.run is not None,
            mode=record.host_config["NetworkMode"],
            endpoints=record.endpoints,
        )

    async def save_endpoints(self, container_id: str, endpoints: dict[str, Body]) -> None:
        container = self._table.find(container_id)
        async with container.lock:
            container.record.endpoints = endpoints
            if (setup := self._rooms.networks.describe(container_id)) is not None:
                self._show_network(container.record, setup)
            else:
                old = container.record.networks
                container.record.networks = {
                    name: old.get(name, settings) for name, settings in endpoints.items()
                }
            await self._save(container)

    def _hosts_changed(self, container_id: str, setup: NetworkSetup) -> None:
        container = self._table.get(container_id)
        if container is None or container.run is None:
            return
        try:
            self._launcher.write_network_files(container.record, setup)
        except OSError as error:
            log.error("container %s: its hosts file is old: %s", container.record.short_id, error)
        self._show_network(container.record, setup)

    def _show_network(self, record: Record, setup: NetworkSetup) -> None:
        record.networks, record.ports = setup.networks, setup.ports
        record.sandbox_id, record.netns = setup.sandbox_id, str(setup.netns_path or "")

    # Inside.

    def _records(self) -> Iterator[Record]:
        """Of all containers, those being made included."""
        yield from (container.record for container in self._table)
        yield from tuple(self._creator.making.values())

    def _lookups(self) -> listing.Lookups:
        images, networks = self._rooms.images, self._rooms.networks

        def ancestors(image_id: str) -> set[str]:
            found: set[str] = set()
            parent: str | None = image_id
            while parent and parent not in found:
                found.add(parent)
                try:
                    parent = images.get(parent).parent
                except EngineError:
                    break
            return found

        return listing.Lookups(lambda ref: images.get(ref).id, networks.find_id, ancestors)

    def _directories(self, record: Record) -> dict[str, str]:
        snapshots = self._rooms.snapshots
        try:
            lowers = [str(snapshots.layer_path(chain_id)) for chain_id in reversed(record.chain)]
            upper = snapshots.upper(record.id)
        except EngineError:
            return {}
        return {
            "LowerDir": ":".join(lowers),
            "MergedDir": str(snapshots.rootfs(record.id)),
            "UpperDir": str(upper),
            "WorkDir": str(upper.parent / "work"),
        }

    async def _sizes(self, record: Record) -> Body:
        own = await asyncio.to_thread(self._rooms.snapshots.usage, record.id)
        layers = sum(self._rooms.snapshots.layer_size(chain_id) for chain_id in record.chain)
        return {"SizeRw": own, "SizeRootFs": own + layers}

    async def _save(self, container: Container) -> None:
        try:
            await self._rooms.store.save(container.record)
        except OSError as error:
            log.error("container %s: its record could not be saved: %s", container.record.short_id, error)

    def _tell(self, container: Container, action: str, **attributes: str) -> None:
        self._lifecycle.tell(container, action, **attributes)
