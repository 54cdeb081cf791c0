"""Changing what a container is called and may use.

Spec: Docker API 1.47, ContainerRename, ContainerUpdate.
"""

from __future__ import annotations

from typing import Any

from runtime.api.errors import Conflict, InvalidArgument
from runtime.containers import devices
from runtime.containers.core import Core
from runtime.containers.names import clean_name
from runtime.containers.resources import blkio_paths, oci_resources
from runtime.containers.state import ALIVE, State
from runtime.containers.table import Container
from runtime.containers.update import merge, touches_resources


class Settings:
    def __init__(self, core: Core) -> None:
        self._core = core

    async def rename(self, ref: str, name: str) -> None:
        """Raises: InvalidArgument, Conflict when another container has the name."""
        container = self._core.table.find(ref)
        if not name.removeprefix("/"):
            raise InvalidArgument("Neither old nor new names may be empty")
        plain = clean_name(name)
        await self._core.actions.run(self._rename(container, plain), f"rename of {container.record.short_id}")

    async def _rename(self, container: Container, name: str) -> None:
        record = container.record
        async with self._core.locked(container):
            old = record.name
            if name == old:
                raise InvalidArgument("Renaming a container with the same name as its current name")
            self._core.table.claim(name, container.id)
            record.name = name
            try:
                await self._core.rooms.store.save(record)
                await self._core.rooms.networks.rename(container.id, name)
            except BaseException:
                record.name = old
                self._core.table.release(name, container.id)
                await self._core.save(container)
                raise
            self._core.table.release(old, container.id)
            self._core.tell(container, "rename", oldName=f"/{old}")

    async def update(self, ref: str, body: dict[str, Any]) -> list[str]:
        """Change limits, of a running container at once, and the restart policy; gives warnings.

        Raises: InvalidArgument, Conflict while it is removed.
        """
        container = self._core.table.find(ref)
        return await self._core.actions.run(
            self._update(container, body), f"update of {container.record.short_id}"
        )

    async def _update(self, container: Container, body: dict[str, Any]) -> list[str]:
        record = container.record
        async with self._core.locked(container):
            if container.removing or record.state in (State.REMOVING, State.DEAD):
                raise Conflict(
                    f"Cannot update container {container.id}: container is marked for removal and cannot be "
                    '"update"'
                )
            merged, warnings = merge(record.host_config, body, self._core.rooms.facts)
            if record.state in ALIVE and touches_resources(body):
                runtime = self._core.runtime(container)
                numbers = devices.block_numbers(blkio_paths(merged))
                await runtime.update(record.id, oci_resources(merged, numbers))
            record.host_config = merged
            await self._core.save(container)
            self._core.tell(container, "update")
            return warnings
