"""An engine's first look at the containers it finds: what runs is watched again, the rest is put in order.

Spec: Docker API 1.47, RestartPolicy ("behaviour across engine restarts").
"""

from __future__ import annotations

import asyncio
import logging

from runtime.api.errors import EngineError
from runtime.containers import exits
from runtime.containers.addresses import forget_network, show_network
from runtime.containers.exec import Execs
from runtime.containers.launch import Launcher
from runtime.containers.lifecycle import Lifecycle
from runtime.containers.rooms import Rooms
from runtime.containers.state import ALIVE, State
from runtime.containers.table import Container, Run, Table

log = logging.getLogger("webdock.containers")

QUESTIONS_AT_ONCE = 8  # to the runtime
STARTS_AT_ONCE = 8  # containers started together with the engine


class Recovery:
    """Three steps, as other rooms start in between."""

    def __init__(
        self, rooms: Rooms, table: Table, launcher: Launcher, lifecycle: Lifecycle, execs: Execs
    ) -> None:
        self._rooms = rooms
        self._table = table
        self._launcher = launcher
        self._lifecycle = lifecycle
        self._execs = execs
        self._findings: list[tuple[Container, exits.Finding]] = []

    async def load(self) -> set[str]:
        """Read the records and find out what became of their containers; gives the ids of those that run.

        Nothing is started, and nothing taken down yet that needs the network room.
        """
        records, half_made = self._rooms.store.load()
        known = {
            name: frozenset(await conmon.runtime.list_ids()) for name, conmon in self._rooms.runtimes.items()
        }
        for record in records:
            self._table.claim(record.name, record.id)
            self._table.add(Container(record))
        limit = asyncio.Semaphore(QUESTIONS_AT_ONCE)

        async def investigate(container: Container) -> tuple[Container, exits.Finding]:
            runtime = container.record.host_config["Runtime"]
            async with limit:
                try:
                    found = await exits.investigate(
                        self._rooms, container.record, known.get(runtime, frozenset())
                    )
                except EngineError as error:
                    log.error(
                        "container %s: nothing could be found out: %s", container.record.short_id, error
                    )
                    found = exits.Finding()
            return container, found

        self._findings = list(await asyncio.gather(*(investigate(container) for container in self._table)))
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
        for container, found in self._findings:
            if found.handle is not None:
                self._lifecycle.adopt(container, Run(found.handle), paused=found.paused)
                if (setup := self._rooms.networks.describe(container.id)) is not None:
                    show_network(container.record, setup)
                continue
            forget_network(container.record)  # an engine that is older or was killed has left the last run's
            if found.leftovers or container.record.state in ALIVE | {State.RESTARTING}:
                await self._launcher.dismantle(container)
        for container, found in self._findings:
            if found.handle is None and found.exit is not None:
                await self._lifecycle.found_dead(container, found.exit)
            elif found.handle is None and container.record.state is State.RESTARTING:
                container.record.state = State.EXITED
        await self._execs.load()

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
