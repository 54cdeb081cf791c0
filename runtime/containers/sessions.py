"""Streams of containers: attach, logs, and the size of their terminals.

Spec: Docker API 1.47, ContainerAttach, ContainerLogs, ContainerResize.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from runtime.api.errors import Conflict, EngineError
from runtime.containers import logs
from runtime.containers.core import tell
from runtime.containers.rooms import Rooms
from runtime.containers.state import ALIVE, State
from runtime.containers.streams import Attachment, Stream
from runtime.containers.table import Container, Table


class Sessions:
    def __init__(self, rooms: Rooms, table: Table) -> None:
        self._rooms = rooms
        self._table = table

    async def attach(
        self, ref: str, *, replay: bool, stream: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> Stream:
        """The container's session, now or from its next start on; with replay, all it wrote so far first."""
        container = self._table.find(ref)
        record = container.record
        if container.removing or record.state in (State.REMOVING, State.DEAD):
            raise Conflict(f"container {container.id} is marked for removal")
        if record.state is State.PAUSED:
            raise Conflict(f"container {ref} is paused. unpause the container before attach")
        if record.state is State.RESTARTING:
            raise Conflict(f"container {ref} is restarting, wait until the container is running")
        output = history = None
        if replay and stream and container.run is None:
            # Race: the run that begins next is told by its session, so only what is older is read here.
            until = logs.Selection(stdout=stdout, stderr=stderr, until_ns=time.time_ns())
            history = self.log(container, until, follow=False)
        elif replay:
            output = self.log(container, logs.Selection(stdout=stdout, stderr=stderr), follow=stream)
        attachment = Attachment(
            tty=record.tty,
            stdin=stdin and stream,
            stdout=stdout,
            stderr=stderr,
            output=output,
            history=history,
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
        tell(self._rooms, record, "attach")
        return attachment

    def detached(self, ref: str) -> None:
        """Somebody typed the detach keys."""
        try:
            tell(self._rooms, self._table.find(ref).record, "detach")
        except EngineError:
            pass  # it is gone meanwhile

    def log(
        self, container: Container, selection: logs.Selection, *, follow: bool
    ) -> AsyncIterator[tuple[int, bytes]]:
        """Raises at once: Conflict when no log is kept."""
        record = container.record
        if record.host_config["LogConfig"]["Type"] == "none":
            raise Conflict("configured logging driver does not support reading")
        following = None
        if follow and container.run is not None:
            following = logs.Follow(self._rooms.inotify, container.run.exited)
        return logs.read(self._rooms.log_path(record.id), selection, follow=following)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Without a terminal there is nothing to do. Raises: Conflict when it does not run."""
        container = self._table.find(ref)
        record = container.record
        if container.run is None or record.state not in ALIVE:
            raise Conflict(f"Container {container.id} is not running")
        if record.tty:
            self._rooms.conmon(record.host_config["Runtime"]).resize(container.run.handle, height, width)
        tell(self._rooms, record, "resize", height=str(height), width=str(width))
