"""Streams of containers: attach, logs, and the size of their terminals.

Spec: Docker API 1.47, ContainerAttach, ContainerLogs, ContainerResize.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from runtime.api.errors import Conflict, EngineError
from runtime.containers import logs
from runtime.containers.core import tell
from runtime.containers.joined import Past, joined
from runtime.containers.record import Record
from runtime.containers.rooms import Rooms
from runtime.containers.state import ALIVE, State
from runtime.containers.streams import Attachment
from runtime.containers.table import Container, Table


class Sessions:
    def __init__(self, rooms: Rooms, table: Table) -> None:
        self._rooms = rooms
        self._table = table

    async def attach(
        self, ref: str, *, replay: bool, history: bool, stream: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> Attachment:
        """The container's session, now or from its next start on.

        replay: all it wrote so far first, read from its log, and so is what follows. history: what draws the
        screen of this run first, and what follows comes from the session itself.
        """
        container = self._table.find(ref)
        record = container.record
        if container.removing or record.state in (State.REMOVING, State.DEAD):
            raise Conflict(f"container {container.id} is marked for removal")
        if record.state is State.PAUSED:
            raise Conflict(f"container {ref} is paused. unpause the container before attach")
        if record.state is State.RESTARTING:
            raise Conflict(f"container {ref} is restarting, wait until the container is running")
        output = earlier = past = None
        if replay and stream and container.run is None:
            # Race: the run that begins next is told by its session, so only what is older is read here.
            until = logs.Selection(stdout=stdout, stderr=stderr, until_ns=time.time_ns())
            earlier = self.log(container, until, follow=False)
        elif replay:
            output = self.log(container, logs.Selection(stdout=stdout, stderr=stderr), follow=stream)
        elif history and stream and container.run is not None and self._logs(record):
            past = await asyncio.to_thread(Past, self._rooms.log_path(record.id), record.started_ns)
        attachment = Attachment(
            tty=record.tty,
            stdin=stdin and stream,
            stdout=stdout,
            stderr=stderr,
            output=output,
            history=earlier,
        )
        # As with Docker: a container whose input outlives its client is left when the client's input ends.
        attachment.leaves = record.tty or not record.config["StdinOnce"]
        if not stream:
            attachment.end()
        elif container.run is not None:
            if stdin or output is None:
                conmon = self._rooms.conmon(record.host_config["Runtime"])
                try:
                    session = await conmon.attach(container.run.handle, stdin=stdin)
                except BaseException:
                    if past is not None:
                        past.close()
                    raise
                if past is not None:
                    attachment.on_close = past.close
                    directory = self._rooms.log_path(record.id).parent
                    attachment.begin(joined(past, session, self._rooms.inotify, directory), len(past.screen))
                attachment.connect(session)
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
        if not self._logs(record):
            raise Conflict("configured logging driver does not support reading")
        following = None
        if follow and container.run is not None:
            following = logs.Follow(self._rooms.inotify, container.run.exited)
        return logs.read(self._rooms.log_path(record.id), selection, follow=following)

    @staticmethod
    def _logs(record: Record) -> bool:
        return bool(record.host_config["LogConfig"]["Type"] != "none")

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Without a terminal there is nothing to do. Raises: Conflict when it does not run."""
        container = self._table.find(ref)
        record = container.record
        if container.run is None or record.state not in ALIVE:
            raise Conflict(f"Container {container.id} is not running")
        if record.tty:
            self._rooms.conmon(record.host_config["Runtime"]).resize(container.run.handle, height, width)
        tell(self._rooms, record, "resize", height=str(height), width=str(width))
