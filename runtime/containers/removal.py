"""Removing containers, and the volumes and links that go with them.

Spec: Docker API 1.47, ContainerDelete.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable

from runtime.api.errors import Conflict, EngineError, Internal, InvalidArgument, NotFound
from runtime.containers.core import Core
from runtime.containers.lifecycle import Lifecycle
from runtime.containers.record import Record
from runtime.containers.signals import Signals
from runtime.containers.state import ACTIVE, Change, State, can_remove
from runtime.containers.table import Container

log = logging.getLogger("webdock.containers")


class Removal:
    def __init__(
        self, core: Core, lifecycle: Lifecycle, signals: Signals, gone: Callable[[str], None]
    ) -> None:
        """gone: told the ids of removed containers."""
        self._core = core
        self._lifecycle = lifecycle
        self._signals = signals
        self._gone = gone

    async def remove(self, ref: str, *, force: bool, volumes: bool) -> None:
        """Raises: Conflict when it runs (without force) or is being removed already."""
        container = self._core.table.find(ref)
        await self._core.actions.run(
            self._remove(container, force=force, volumes=volumes), f"removal of {container.record.short_id}"
        )

    async def _remove(self, container: Container, *, force: bool, volumes: bool) -> None:
        record = container.record
        if container.removing:
            raise Conflict(f"removal of container {container.id} is already in progress")
        container.removing = True
        try:
            async with self._core.locked(container):
                run = container.run
                if record.state in ACTIVE and not force:
                    raise Conflict(_cannot_remove(record))
                if record.state is State.RESTARTING:
                    await self._lifecycle.give_up_restarting(container)
                elif run is not None:
                    record.stopped_by_user = True
                    await self._signals.send(container, signal.SIGKILL)
            if run is not None:
                await self._signals.await_death(container, run)
            async with self._core.locked(container):
                if not can_remove(record.state):
                    raise Conflict(_cannot_remove(record))
                await self._delete(container, volumes=volumes)
        except BaseException as error:
            container.removing = False
            if isinstance(error, EngineError) and not isinstance(error, Conflict | NotFound):
                container.tell_removed(error.message)
            raise
        container.tell_removed()

    async def _delete(self, container: Container, *, volumes: bool) -> None:
        record = container.record
        self._core.change(container, Change.REMOVING)
        container.end_attachments()
        try:
            await asyncio.to_thread(self._delete_files, container.id)
        except (EngineError, OSError) as error:
            self._core.change(container, Change.REMOVE_FAILED)
            record.error = str(error)
            await self._core.save(container)
            raise Internal(f"container {container.id} could not be removed: {error}") from error
        self._core.table.remove(container)
        self._gone(container.id)
        if volumes:
            await self._remove_volumes(record)
        self._core.tell(container, "destroy")
        await self._core.rooms.images.released(record.image_id)

    def _delete_files(self, id: str) -> None:
        self._core.rooms.snapshots.remove(id)
        self._core.rooms.store.remove(id)

    async def _remove_volumes(self, record: Record) -> None:
        for point in record.mounts:
            if not (point.anonymous and point.name):
                continue
            try:
                await self._core.rooms.volumes.remove(point.name, force=True)
            except Conflict:
                pass  # another container uses it, too
            except EngineError as error:
                log.warning("volume %s of container %s stays: %s", point.name, record.short_id, error)

    async def remove_link(self, ref: str) -> None:
        """Remove one of HostConfig.Links, named as "container/alias". Raises: NotFound, InvalidArgument."""
        parent, _, alias = ref.strip("/").partition("/")
        if not alias:
            raise InvalidArgument("Conflict, cannot remove the default link name of the container")
        container = self._core.table.find(parent)
        async with self._core.locked(container):
            host = container.record.host_config
            kept = [
                link for link in host["Links"] or () if link.rpartition(":")[2].rpartition("/")[2] != alias
            ]
            if len(kept) == len(host["Links"] or ()):
                raise NotFound(f"No such link: /{parent}/{alias}")
            host["Links"] = kept or None
            await self._core.save(container)

    async def after_exit(self, container: Container) -> None:
        """What `--rm` wants once its run is over."""
        try:
            await self._remove(container, force=False, volumes=True)
        except (Conflict, NotFound):
            pass  # Race: somebody else removes it, or has started it again
        except EngineError as error:
            log.error(
                "container %s could not be removed after its exit: %s", container.record.short_id, error
            )


def _cannot_remove(record: Record) -> str:
    verb = {State.PAUSED: "Unpause and then stop", State.RESTARTING: "Stop"}.get(record.state, "Stop")
    return (
        f"You cannot remove a {record.state} container {record.id}. "
        f"{verb} the container before attempting removal or force remove"
    )
