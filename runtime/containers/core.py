"""What every verb needs: the lock, the record on disk, events, and the one place where a state changes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runtime.api.errors import NotFound
from runtime.containers.actions import Actions
from runtime.containers.record import Record
from runtime.containers.rooms import Rooms
from runtime.containers.state import Change, move
from runtime.containers.table import Container, Table
from runtime.oci.runtime import Runtime

log = logging.getLogger("webdock.containers")


class Core:
    def __init__(self, rooms: Rooms, table: Table) -> None:
        self.rooms = rooms
        self.table = table

    @property
    def actions(self) -> Actions:
        return self.rooms.actions

    def runtime(self, container: Container) -> Runtime:
        return self.rooms.conmon(container.record.host_config["Runtime"]).runtime

    @asynccontextmanager
    async def locked(self, container: Container) -> AsyncIterator[None]:
        """The container's lock, and the container still there. Raises: NotFound."""
        async with container.lock:
            if container.id not in self.table:
                raise NotFound(f"No such container: {container.id}")
            yield

    def change(self, container: Container, change: Change) -> None:
        """Move the container's state; the caller holds its lock and saves. Raises: Conflict."""
        container.record.state = move(container.record.state, change)

    async def save(self, container: Container) -> None:
        """Save the record of what has happened already: failing to would not undo it."""
        try:
            await self.rooms.store.save(container.record)
        except OSError as error:
            log.error("container %s: its record could not be saved: %s", container.record.short_id, error)

    def tell(self, container: Container, action: str, **attributes: str) -> None:
        """Publish an event with Docker's attributes: labels, image, name, and those of the action."""
        tell(self.rooms, container.record, action, **attributes)


def tell(rooms: Rooms, record: Record, action: str, **attributes: str) -> None:
    labels = record.config["Labels"]
    rooms.events.publish(
        "container", action, record.id, {**labels, "image": record.image, "name": record.name, **attributes}
    )
