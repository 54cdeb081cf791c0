"""The room of containers as the rest of the engine sees it: every verb, question and stream.

Wires the parts of this room together and hands each call to the one that does it.

Spec: Docker API 1.47, Container.
"""

from __future__ import annotations

import asyncio
import builtins
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any

from runtime.api.errors import Conflict, EngineError, NotFound
from runtime.containers import listing, logdetails, top
from runtime.containers.addresses import show_network
from runtime.containers.archive import Archives
from runtime.containers.commit import Committer
from runtime.containers.core import Core
from runtime.containers.create import Creator
from runtime.containers.exec import Execs
from runtime.containers.health import Monitor
from runtime.containers.launch import Launcher
from runtime.containers.lifecycle import Lifecycle
from runtime.containers.logs import Selection
from runtime.containers.questions import Questions
from runtime.containers.recovery import Recovery
from runtime.containers.removal import Removal
from runtime.containers.rooms import Rooms
from runtime.containers.roots import Roots
from runtime.containers.sessions import Sessions
from runtime.containers.settings import Settings
from runtime.containers.signals import Signals
from runtime.containers.streams import Attachment
from runtime.containers.table import Table
from runtime.containers.times import SECOND_NS
from runtime.network.endpoints import NetworkSetup

if TYPE_CHECKING:
    from runtime.network.networks import Member

log = logging.getLogger("webdock.containers")

CLOSE_TIMEOUT_S = 5.0  # for verbs that are under way when the engine stops

Body = dict[str, Any]
Filters = dict[str, list[str]]


class Containers:
    """All containers of one engine."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._table = Table()
        self._roots = Roots(rooms.snapshots)
        self._launcher = Launcher(rooms, self._table, self._roots)
        self._core = core = Core(rooms, self._table)
        self._monitor = Monitor(core.save, core.tell)
        self._lifecycle = Lifecycle(core, self._roots, self._launcher, self._monitor)
        self._signals = Signals(core, self._lifecycle, self._monitor)
        self._creator = Creator(rooms, self._table, self._launcher)
        self.execs = Execs(rooms, self._table)
        self._questions = Questions(rooms, self._table, self._creator, self.execs)
        self._sessions = Sessions(rooms, self._table)
        self._archives = Archives(rooms, self._roots, self._launcher)
        self._committer = Committer(rooms, self._signals)
        self._removal = Removal(core, self._lifecycle, self._signals, self.execs.forget)
        self._settings = Settings(core)
        self._recovery = Recovery(rooms, self._table, self._launcher, self._lifecycle, self.execs)
        self._monitor.probe = self.execs.probe
        self._lifecycle.after_exit = self._removal.after_exit

    # The engine's own start and end.

    async def load(self) -> set[str]:
        """Read the records; gives the ids of what runs. Nothing is started yet, nothing taken down."""
        return await self._recovery.load()

    async def take_up(self) -> None:
        """After the network room has started: watch what runs, clean up after what ended."""
        self._rooms.networks.hosts_changed = self._hosts_changed
        await self._recovery.take_up()

    def begin_restarts(self) -> None:
        """Start what restart policies want, in the background."""
        self._recovery.begin_restarts()

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
        await self._signals.stop(ref, timeout_s, signal)

    async def restart(self, ref: str, timeout_s: int | None = None, signal: str | None = None) -> None:
        await self._signals.restart(ref, timeout_s, signal)

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        await self._signals.kill(ref, signal)

    async def pause(self, ref: str) -> None:
        await self._signals.pause(ref)

    async def unpause(self, ref: str) -> None:
        await self._signals.unpause(ref)

    async def rename(self, ref: str, name: str) -> None:
        await self._settings.rename(ref, name)

    async def update(self, ref: str, body: Body) -> Body:
        """Change limits and restart policy: {"Warnings": [...]}."""
        return {"Warnings": await self._settings.update(ref, body)}

    async def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        if link:
            await self._removal.remove_link(ref)
        else:
            await self._removal.remove(ref, force=force, volumes=volumes)

    def wait(self, ref: str, condition: str = "not-running") -> Awaitable[Body]:
        return self._questions.wait(ref, condition)

    async def resize(self, ref: str, height: int, width: int) -> None:
        await self._sessions.resize(ref, height, width)

    # Streams.

    async def attach(
        self,
        ref: str,
        *,
        logs: bool,
        history: bool = False,
        stream: bool,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    ) -> Attachment:
        return await self._sessions.attach(
            ref,
            replay=logs,
            history=history,
            stream=stream,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )

    def detached(self, ref: str) -> None:
        self._sessions.detached(ref)

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
        details: bool = False,
        tail: int | None = None,
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Raises at once: NotFound, Conflict when no log is kept. since, until: unix times."""
        container = self._table.find(ref)
        record = container.record
        selection = Selection(
            stdout=stdout,
            stderr=stderr,
            since_ns=int((since or 0) * SECOND_NS),
            until_ns=int((until or 0) * SECOND_NS),
            timestamps=timestamps,
            details=logdetails.details(record.config, record.host_config) if details else b"",
            tail=tail,
        )
        return self._sessions.log(container, selection, follow=follow)

    def tty(self, ref: str) -> bool:
        return self._table.find(ref).record.tty

    # Questions.

    async def inspect(self, ref: str, size: bool = False) -> Body:
        return await self._questions.inspect(ref, size)

    async def list(
        self,
        *,
        all: bool = False,
        limit: int | None = None,
        size: bool = False,
        filters: Filters | None = None,
    ) -> list[Body]:
        return await self._questions.list(all=all, limit=limit, size=size, filters=filters or {})

    async def top(self, ref: str, ps_args: str = top.DEFAULT_ARGUMENTS) -> Body:
        return await self._questions.top(ref, ps_args)

    def stats(self, ref: str, *, stream: bool, one_shot: bool) -> AsyncIterator[Body]:
        return self._questions.stats(ref, stream=stream, one_shot=one_shot)

    async def usage(self, ids: builtins.list[str]) -> dict[str, builtins.list[int]]:
        return await self._questions.usage(ids)

    async def shells(self, ref: str) -> builtins.list[str]:
        """Paths of the shells it has. Raises: NotFound, Conflict when it does not run."""
        return await self._questions.shells(ref)

    async def changes(self, ref: str) -> builtins.list[Body]:
        return await self._questions.changes(ref)

    async def prune(self, filters: Filters | None = None) -> Body:
        """Remove what does not run. Raises: InvalidArgument."""
        deleted, reclaimed = [], 0
        for record in listing.prunable(self._table, filters or {}, time.time_ns()):
            try:
                size = await asyncio.to_thread(self._rooms.snapshots.usage, record.id)
                await self._removal.remove(record.id, force=False, volumes=False)
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
        return self._questions.using_image(image_id)

    def using_volume(self, name: str) -> builtins.list[tuple[str, bool]]:
        return self._questions.using_volume(name)

    def counts(self) -> dict[str, int]:
        return self._questions.counts()

    # Files.

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """The root file system as an archive, without what is mounted in it."""
        container = self._table.find(ref)
        chunks = await self._archives.export(container)
        self._core.tell(container, "export")
        return chunks

    async def archive_head(self, ref: str, path: str) -> Body:
        """Docker's PathStat. Raises: NotFound."""
        return await self._archives.stat(self._table.find(ref), path)

    async def archive_get(self, ref: str, path: str) -> tuple[Body, AsyncIterator[bytes]]:
        """(PathStat, archive). Raises: NotFound."""
        container = self._table.find(ref)
        answer = await self._archives.get(container, path)
        self._core.tell(container, "archive-path")
        return answer

    async def image_archive(self, ref: str, path: str) -> tuple[Body, AsyncIterator[bytes]]:
        """(PathStat, archive) of what its image has at the path. Raises: NotFound."""
        return await self._archives.get_from_image(self._table.find(ref), path)

    async def archive_put(
        self,
        ref: str,
        path: str,
        data: AsyncIterator[bytes],
        *,
        no_overwrite_dir_non_dir: bool = False,
        copy_uid_gid: bool = False,
    ) -> None:
        """Raises: NotFound, InvalidArgument, Forbidden where the container cannot write."""
        container = self._table.find(ref)
        await self._archives.put(container, path, data, careful=no_overwrite_dir_non_dir, own=copy_uid_gid)
        self._core.tell(container, "extract-to-dir")

    async def commit(self, ref: str, **wishes: Any) -> str:
        """Make an image of a container; gives its id. See `commit.Committer.commit`."""
        return await self._committer.commit(self._table.find(ref), **wishes)

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
                show_network(container.record, setup)
            else:
                old = container.record.networks
                container.record.networks = {
                    name: old.get(name, settings) for name, settings in endpoints.items()
                }
            await self._core.save(container)

    def _hosts_changed(self, container_id: str, setup: NetworkSetup) -> None:
        container = self._table.get(container_id)
        if container is None or container.run is None:
            return
        try:
            self._launcher.write_network_files(container.record, setup)
        except OSError as error:
            log.error("container %s: its hosts file is old: %s", container.record.short_id, error)
        show_network(container.record, setup)
