"""The exec sessions there are: each with its directory, its conmon's end watched, its output kept.

A session lies in `<run>/exec/<id>/`, so that it can be inspected, attached to and ended by a later engine;
like its container it does not survive a reboot.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

from runtime.api.errors import Conflict, NotFound
from runtime.containers.core import tell
from runtime.containers.exec_record import FILE, Session
from runtime.containers.foreseen import Foreseen
from runtime.containers.kept import Kept
from runtime.containers.rooms import Rooms
from runtime.containers.state import ALIVE
from runtime.containers.table import Container, Table
from runtime.oci.conmon import Conmon, ConmonHandle, ConmonStream, ExitInfo

KEPT_S = 300.0  # a session that has ended can be inspected for so long
KEPT = 128  # … if its container has not more of them
WAITING = 1024  # sessions of one container that were made and not started
FAILED_EXIT_CODE = 126  # of a session that could not be started, whatever the reason; as Docker


class ExecTable:
    """All exec sessions, by id."""

    def __init__(self, rooms: Rooms, table: Table, foreseen: Foreseen) -> None:
        self._rooms = rooms
        self._table = table
        self._foreseen = foreseen
        self._sessions: dict[str, Session] = {}
        self._stops: dict[str, Any] = {}  # how to stop watching, by session id
        self._kept: dict[str, Kept] = {}  # by session id

    def __contains__(self, exec_id: str) -> bool:
        return exec_id in self._sessions

    def get(self, exec_id: str) -> Session | None:
        return self._sessions.get(exec_id)

    def kept(self, exec_id: str) -> Kept | None:
        return self._kept.get(exec_id)

    def add(self, session: Session) -> None:
        self._rooms.exec_directory(session.id).mkdir(mode=0o700)
        self.save(session)
        self._sessions[session.id] = session

    async def exit_code(self, session: Session) -> int:
        while session.running and session.handle is not None:
            await self.conmon(session).wait_exit(session.handle)
            await asyncio.sleep(0)  # the watcher's callback is due
        return session.exit_code if session.exit_code is not None else FAILED_EXIT_CODE

    def running(self, container_id: str) -> list[str]:
        """Ids of the sessions that have not ended, oldest first."""
        return [
            session.id
            for session in self._sessions.values()
            if session.container_id == container_id and not session.ended_ns
        ]

    def forget_all(self, container_id: str) -> None:
        """The container is gone, and its sessions with it."""
        for session in self.of(container_id):
            self.forget(session.id)

    async def load(self) -> None:
        """Take over the sessions of an earlier engine; remove what belongs to nobody."""
        root = self._rooms.exec_directory("x").parent
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)  # nobody else shall learn what runs
        for entry in sorted(os.scandir(root), key=lambda entry: entry.stat().st_mtime):
            try:
                session = Session.load(root / entry.name)
                container = self._table.get(session.container_id)
            except (OSError, ValueError, KeyError, TypeError):
                container = None
            if container is None:
                await self._rooms.conmon("").abandon(root / entry.name)
                shutil.rmtree(root / entry.name, ignore_errors=True)
                continue
            self._sessions[session.id] = session
            if session.started and not session.ended_ns:
                await self._adopt(session, container)

    async def _adopt(self, session: Session, container: Container) -> None:
        conmon, directory = self.conmon(session), self._rooms.exec_directory(session.id)
        if (handle := conmon.adopt(directory)) is not None and container.record.state in ALIVE:
            self.take(session, container, handle)
            if session.keeps_output:
                with contextlib.suppress(Conflict):
                    self.keep(session, await conmon.take_up(handle))
            return
        await conmon.abandon(directory)
        info = conmon.read_exit(directory)
        session.exit_code = info.code if info else FAILED_EXIT_CODE
        self.end(session)

    def close(self) -> None:
        """Let go of running sessions; they go on."""
        for kept in self._kept.values():
            kept.close()
        self._kept.clear()
        for stop in self._stops.values():
            stop()
        self._stops.clear()

    def take(self, session: Session, container: Container, handle: ConmonHandle) -> None:
        session.handle, session.pid, session.running = handle, handle.pid, True
        container.exec_ids[session.id] = None

        def ended(info: ExitInfo) -> None:
            session.exit_code = info.code
            self.end(session)

        self._stops[session.id] = self.conmon(session).watch_exit(handle, ended)

    def end(self, session: Session) -> None:
        was_running, session.running = session.running, False
        session.pid, session.handle = 0, None
        session.ended_ns = time.time_ns()
        self._stops.pop(session.id, None)
        if kept := self._kept.pop(session.id, None):
            kept.ended()
        if (container := self._table.get(session.container_id)) is not None:
            container.exec_ids.pop(session.id, None)
        if session.id not in self._sessions:
            return
        directory = self._rooms.exec_directory(session.id)
        with contextlib.suppress(OSError):
            for entry in os.scandir(directory):
                if entry.name != FILE:
                    os.unlink(entry.path)
            self.save(session)
        if was_running:
            self.tell(session, "exec_die", exitCode=str(session.exit_code))

    def save(self, session: Session) -> None:
        session.save(self._rooms.exec_directory(session.id))

    def sweep(self, container_id: str) -> None:
        """Forget what nobody asks for any more. Raises: Conflict when too many wait to be started."""
        sessions = list(self.of(container_id))
        ended = [session for session in sessions if session.ended_ns]
        limit_ns = time.time_ns() - int(KEPT_S * 1e9)
        for session in ended[: max(0, len(ended) - KEPT)]:
            self.forget(session.id)
        for session in ended:
            if session.ended_ns < limit_ns:
                self.forget(session.id)
        if sum(not session.started for session in sessions) >= WAITING:
            raise Conflict(f"container {container_id} has {WAITING} exec sessions that were never started")

    def forget(self, exec_id: str) -> None:
        self._sessions.pop(exec_id, None)
        if stop := self._stops.pop(exec_id, None):
            stop()
        directory = self._rooms.exec_directory(exec_id)
        if (leaving := self._foreseen.dismiss(exec_id)) is not None:
            leaving.add_done_callback(lambda _: shutil.rmtree(directory, ignore_errors=True))
        else:
            shutil.rmtree(directory, ignore_errors=True)

    def of(self, container_id: str) -> Iterator[Session]:
        return (one for one in tuple(self._sessions.values()) if one.container_id == container_id)

    def find(self, exec_id: str) -> Session:
        session = self._sessions.get(exec_id)
        if session is None or session.container_id not in self._table:
            raise NotFound(f"No such exec instance: {exec_id}")
        return session

    def container(self, session: Session) -> Container:
        container = self._table.get(session.container_id)
        if container is None:
            raise NotFound(f"No such exec instance: {session.id}")
        return container

    def conmon(self, session: Session) -> Conmon:
        container = self.container(session)
        return self._rooms.conmon(container.record.host_config["Runtime"])

    def keep(self, session: Session, stream: ConmonStream) -> Kept:
        kept = self._kept[session.id] = Kept(stream, self._rooms.exec_directory(session.id))
        return kept

    def tell(self, session: Session, action: str, detail: str = "", **attributes: str) -> None:
        if (container := self._table.get(session.container_id)) is not None:
            tell(self._rooms, container.record, action + detail, execID=session.id, **attributes)
