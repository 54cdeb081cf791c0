"""Making an image of a container.

Spec: Docker API 1.47, ImageCommit.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from runtime.api.errors import Conflict
from runtime.containers.bodies import container_config
from runtime.containers.core import tell
from runtime.containers.inspect import quoted_command
from runtime.containers.rooms import Rooms
from runtime.containers.signals import Signals
from runtime.containers.state import State
from runtime.containers.table import Container
from runtime.images.make import NewImage
from runtime.images.reference import parse_with_tag

Body = dict[str, Any]

# Of a container, not of an image made of it.
_NOT_KEPT = (
    "Hostname",
    "Domainname",
    "AttachStdin",
    "AttachStdout",
    "AttachStderr",
    "Tty",
    "OpenStdin",
    "StdinOnce",
)


class Committer:
    def __init__(self, rooms: Rooms, signals: Signals) -> None:
        self._rooms = rooms
        self._signals = signals

    async def commit(
        self,
        container: Container,
        *,
        repo: str = "",
        tag: str = "",
        comment: str = "",
        author: str = "",
        pause: bool = True,
        changes: list[str] | None = None,
        config: Body | None = None,
    ) -> str:
        """The new image's id.

        config: a ContainerConfig that goes before the container's own. changes: Dockerfile instructions.
        The container is frozen meanwhile unless pause is False.
        """
        return await self._rooms.actions.run(
            self._commit(container, repo, tag, comment, author, pause, changes or [], config or {}),
            f"commit of {container.record.short_id}",
        )

    async def _commit(
        self,
        container: Container,
        repo: str,
        tag: str,
        comment: str,
        author: str,
        pause: bool,
        changes: list[str],
        config: Body,
    ) -> str:
        record = container.record
        own = {key: value for key, value in record.config.items() if key not in _NOT_KEPT}
        merged = container_config(config, own) if config else own
        new = NewImage(
            config={**merged, "Image": record.image_id},
            parent=record.image_id,
            author=author,
            comment=comment,
            created_by=quoted_command(record),
            changes=[line for text in changes for line in text.splitlines() if line.strip()],
            extra={"container": record.id, "container_config": record.config},
        )
        frozen = pause and record.state is State.RUNNING
        if frozen:
            try:
                await self._signals.pause(container.id)
            except Conflict:
                frozen = False  # Race: it has ended or was paused meanwhile, and so is still
        try:
            upper = await asyncio.to_thread(self._rooms.snapshots.upper, record.id)
            image_id = await self._rooms.images.create_from(upper, new, repo=repo, tag=tag)
        finally:
            if frozen:
                with contextlib.suppress(Conflict):  # Race: somebody ended or unpaused it
                    await self._signals.unpause(container.id)
        name = parse_with_tag(repo, tag or None).with_default_tag().familiar if repo else ""
        tell(self._rooms, record, "commit", comment=comment, imageID=image_id, imageRef=name)
        return image_id
