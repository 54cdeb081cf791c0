"""Exec sessions: one more program in a running container, by a conmon of its own. What is asked of them.

Spec: Docker API 1.47, ContainerExec, ExecStart, ExecInspect, ExecResize. `attach` and `kill` are our own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import signal
from pathlib import Path
from typing import Any

from runtime.api.errors import Conflict, Internal, InvalidArgument
from runtime.containers import users
from runtime.containers.checks import parse_signal
from runtime.containers.core import tell
from runtime.containers.exec_record import Session, detach_keys
from runtime.containers.exec_table import FAILED_EXIT_CODE, ExecTable
from runtime.containers.foreground import current_directory
from runtime.containers.foreseen import Foreseen
from runtime.containers.hangup import hang_up
from runtime.containers.rooms import Rooms
from runtime.containers.spec import exec_process
from runtime.containers.state import State
from runtime.containers.streams import Attachment, Stream
from runtime.containers.table import Container, Table
from runtime.containers.tools import COMMAND, Tools
from runtime.oci.conmon import ConmonHandle, ConmonStream
from runtime.oci.process import alive, parent

log = logging.getLogger("webdock.containers")

EXIT_AFTER_OUTPUT_S = 1.0  # how long the end of a session's output waits for its program's exit
START_S = 20.0  # how long the end of a session waits for its start, which is under way
END_TIMEOUT_S = 0.5  # for a container that ends to be seen ended

Body = dict[str, Any]


class Execs:
    """All exec sessions."""

    def __init__(self, rooms: Rooms, table: Table) -> None:
        self._rooms = rooms
        self._table = table
        self._starting: dict[str, asyncio.Task[Attachment | None]] = {}  # by session id
        self._foreseen = Foreseen(rooms.actions)
        self._known = ExecTable(rooms, table, self._foreseen)
        self._tools = Tools()

    async def create(self, ref: str, body: Body) -> str:
        """Make a session to be started. Raises: NotFound, Conflict, InvalidArgument."""
        container = self._table.find(ref)
        self._check_running(container)
        if body.get("DebugShell"):
            body = self._debug_shell(body)
        if not body.get("Cmd"):
            raise InvalidArgument("No exec command specified")
        if any("\0" in word for word in (*body["Cmd"], *(body.get("Env") or ()))):
            raise InvalidArgument("invalid exec command: it contains a NUL byte")
        cwd = body.get("WorkingDir") or "/"
        if not cwd.startswith("/"):
            raise InvalidArgument(
                f"the working directory '{cwd[:200]}' is invalid, it needs to be an absolute path"
            )
        self._known.sweep(container.id)
        session = Session(
            secrets.token_hex(32), container.id, body, detach_keys(body.get("DetachKeys") or "")
        )
        self._known.add(session)
        conmon, directory = self._known.conmon(session), self._rooms.exec_directory(session.id)
        self._foreseen.add(
            session.id,
            lambda: conmon.foresee_exec(
                id=container.id,
                exec_id=session.id,
                dir=directory,
                tty=session.tty,
                third=self._third(session),
                stdin=bool(body.get("AttachStdin")),
            ),
            lambda: session.id in self._known and not session.started,
        )
        self._known.tell(session, "exec_create", _shown(body["Cmd"]))
        return session.id

    def _debug_shell(self, body: Body) -> Body:
        """Raises: InvalidArgument, NotSupported."""
        if not body.get("Tty"):
            raise InvalidArgument("a debug shell needs a terminal: Tty")
        self._tools.directory()
        return {**body, "Cmd": list(COMMAND)}

    def _third(self, session: Session) -> Path | None:
        return self._tools.directory() if session.body.get("DebugShell") else None

    async def start(
        self, exec_id: str, *, detach: bool, tty: bool, console_size: list[int] | None = None
    ) -> Attachment | None:
        """Start the program; the stream was connected before its first byte, None when detached.

        Raises: NotFound, Conflict, CannotStart (then `inspect` has its exit code).
        """
        session = self._known.find(exec_id)
        container = self._known.container(session)
        if session.started:
            what = "already running" if session.running else "has already run"
            raise Conflict(f"Error: Exec command {session.id} {what}")
        self._check_running(container)
        session.started = True
        starting = self._rooms.actions.begin(
            self._start(session, container, detach=detach, console_size=console_size),
            f"start of exec {session.id[:12]}",
        )
        self._starting[session.id] = starting
        starting.add_done_callback(lambda _: self._starting.pop(session.id, None))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(_leave)  # the client has gone; the session goes on without it
            raise

    async def _start(
        self, session: Session, container: Container, *, detach: bool, console_size: list[int] | None
    ) -> Attachment | None:
        run = container.run
        if run is None:
            raise Conflict(f"Container {container.id} is not running")
        try:
            # Without the container's lock: a session that begins must not hold up a stop.
            stream = await self._launch(
                session, container, attach=not detach or session.keeps_output, console_size=console_size
            )
        except BaseException as error:
            if isinstance(error, Internal):
                # Race: the container ended or was paused under it; that is what the runtime complains about.
                # Kernel: what is in a pid namespace is killed before the end of its first process is seen.
                await asyncio.wait({run.exited}, timeout=END_TIMEOUT_S)
                if container.run is not run or not alive(run.handle.pid):
                    error = Conflict(f"Container {container.id} is not running")
                elif container.record.state is State.PAUSED or "is paused" in error.message:
                    error = Conflict(f"Container {container.id} is paused, unpause the container before exec")
            session.exit_code = FAILED_EXIT_CODE
            self._known.end(session)
            raise error from None
        self._known.tell(session, "exec_start", _shown(session.body["Cmd"]))
        if stream is not None and session.keeps_output:
            kept = self._known.keep(session, stream)
            view: Stream | None = None if detach else kept.view(history=True)
        else:
            view = stream
        if view is None:
            return None
        attachment = self._attachment(session)
        attachment.connect(view)
        return attachment

    async def _launch(
        self, session: Session, container: Container, *, attach: bool, console_size: list[int] | None
    ) -> ConmonStream | None:
        record = container.record
        body = session.body
        size = console_size or body.get("ConsoleSize")

        def process() -> Body:
            spec = json.loads((self._rooms.bundle(record.id) / "config.json").read_bytes())
            rootfs = self._rooms.snapshots.rootfs(record.id)
            user = users.resolve(
                rootfs, body.get("User") or record.config["User"], record.host_config["GroupAdd"]
            )
            return exec_process(
                body,
                user,
                spec,
                self._rooms.facts,
                console_size=(size[0], size[1]) if size and all(size) else None,
            )

        handle, stream = await self._known.conmon(session).exec(
            id=record.id,
            exec_id=session.id,
            dir=self._rooms.exec_directory(session.id),
            process=process,
            tty=session.tty,
            stdin=bool(body.get("AttachStdin")),
            attach=attach,
            lasting=session.keeps_output,
            foreseen=await self._foreseen.take(session.id),
        )
        self._known.take(session, container, handle)
        self._known.save(session)
        if session.tty and size and all(size):
            # Race: crun sets the size beside the program it has started, which may look first and see none;
            # set once more, it tells the program of a change.
            with contextlib.suppress(Conflict):
                if stream is None or not stream.resize(size[0], size[1]):
                    self._known.conmon(session).resize(handle, size[0], size[1])
        return stream

    async def attach(self, exec_id: str, *, history: bool = False) -> Attachment:
        """Take up a running session again; several can be attached at once.

        history: of a session that keeps its output, first what draws its screen as it is now.
        Raises: NotFound, Conflict.
        """
        session = self._known.find(exec_id)
        if not session.running or session.handle is None:
            raise Conflict(f"exec session {exec_id} is not running")
        attachment = self._attachment(session)
        if (kept := self._known.kept(exec_id)) is not None:
            view = kept.view(history=history)
            attachment.past, attachment.place = view.past, view.place
            attachment.connect(view)
        else:
            stdin = bool(session.body.get("AttachStdin"))
            attachment.connect(await self._known.conmon(session).attach(session.handle, stdin=stdin))
        return attachment

    async def inspect(self, exec_id: str) -> Body:
        """Raises: NotFound."""
        session = self._known.find(exec_id)
        described = session.describe()
        if session.tty and session.running and (path := current_directory(session.pid)) is not None:
            described["CurrentDirectory"] = path
        return described

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Without a terminal there is nothing to do. Raises: NotFound, Conflict when it does not run."""
        session = self._known.find(exec_id)
        if not session.running or session.handle is None:
            raise Conflict(f"exec session {exec_id} is not running")
        kept = self._known.kept(exec_id)
        if session.tty and not (kept is not None and kept.resize(height, width)):
            self._known.conmon(session).resize(session.handle, height, width)

    async def kill(self, exec_id: str, signal_name: str) -> None:
        """Send a signal to the session's program. Raises: NotFound, Conflict when it does not run."""
        number = parse_signal(signal_name)
        session = self._known.find(exec_id)
        if not session.running or session.handle is None:
            raise Conflict(f"exec session {exec_id} is not running")
        _signal(session.handle.pid, number)

    async def end(self, exec_id: str) -> None:
        """HUP to every process of the session, KILL to those that stay; returns when none is left.

        In a paused container that is as soon as it goes on. Raises: NotFound, Conflict when it does not run.
        """
        session = self._known.find(exec_id)
        # Race: the answer to a start comes before its program is there; without this it would stay for good.
        if (starting := self._starting.get(exec_id)) is not None:
            await asyncio.wait({starting}, timeout=START_S)
        handle = session.handle
        if not session.running or handle is None or parent(handle.pid) != handle.conmon_pid:
            raise Conflict(f"exec session {exec_id} is not running")
        await self._rooms.actions.run(self._hang_up(session, handle), f"end of exec {exec_id[:12]}")

    async def _hang_up(self, session: Session, handle: ConmonHandle) -> None:
        frozen = self._known.container(session).record.state is State.PAUSED
        try:
            await hang_up(handle.pid, frozen=frozen)
        except TimeoutError as error:
            raise Internal(f"exec session {session.id}: {error}; one may hang in the kernel") from error
        if not frozen:
            with contextlib.suppress(TimeoutError):  # what it wrote last may wait for who does not read it
                async with asyncio.timeout(EXIT_AFTER_OUTPUT_S):
                    await self._known.exit_code(session)

    def detached(self, exec_id: str) -> None:
        """Somebody typed the detach keys."""
        if (session := self._known.get(exec_id)) and (container := self._table.get(session.container_id)):
            tell(self._rooms, container.record, "exec_detach", execID=session.id)

    async def probe(
        self, container: Container, command: list[str], timeout_s: float, output_bytes: int
    ) -> tuple[int | None, bytes]:
        """Run a health check: (exit code, beginning of its output); no exit code when it took too long.

        Raises: EngineError when it could not be started.
        """
        body = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
        session_id = await self.create(container.id, body)
        session = self._known.find(session_id)
        output = bytearray()
        try:
            stream = await self.start(session_id, detach=False, tty=False)
            assert stream is not None
            try:
                async with asyncio.timeout(timeout_s):
                    while (item := await stream.read()) is not None:
                        output += item[1][: max(0, output_bytes - len(output))]
                    return await self._known.exit_code(session), bytes(output)
            except TimeoutError:
                return None, bytes(output)
            finally:
                stream.close()
        finally:
            if session.running and session.handle is not None:
                with contextlib.suppress(Conflict):
                    _signal(session.handle.pid, signal.SIGKILL)
            else:
                self._known.forget(session_id)

    def running(self, container_id: str) -> list[str]:
        """Ids of the sessions that have not ended, oldest first."""
        return self._known.running(container_id)

    def forget(self, container_id: str) -> None:
        """The container is gone, and its sessions with it."""
        self._known.forget_all(container_id)

    async def load(self) -> None:
        """Take over the sessions of an earlier engine; remove what belongs to nobody."""
        await self._known.load()

    def close(self) -> None:
        """Let go of running sessions; they go on."""
        self._foreseen.close()
        self._tools.close()
        self._known.close()

    def _attachment(self, session: Session) -> Attachment:
        body = session.body
        attachment = Attachment(
            tty=session.tty,
            stdin=bool(body.get("AttachStdin")),
            stdout=bool(body.get("AttachStdout")),
            stderr=bool(body.get("AttachStderr")),
        )

        async def settle() -> None:
            # Race: clients inspect the session as soon as its output ends, and take its exit code then.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EXIT_AFTER_OUTPUT_S):
                    await self._known.exit_code(session)

        attachment.before_end = settle
        return attachment

    def _check_running(self, container: Container) -> None:
        record = container.record
        if record.state is State.PAUSED:
            raise Conflict(f"Container {container.id} is paused, unpause the container before exec")
        if record.state is State.RESTARTING:
            raise Conflict(f"Container {container.id} is restarting, wait until the container is running")
        if record.state is not State.RUNNING or container.removing:
            raise Conflict(f"Container {container.id} is not running")


def _leave(starting: asyncio.Task[Attachment | None]) -> None:
    if (
        not starting.cancelled()
        and starting.exception() is None
        and (stream := starting.result()) is not None
    ):
        stream.close()


def _shown(command: list[str]) -> str:
    """The command in an event's action, with Docker's blank after the program even when nothing follows."""
    return f": {command[0]} {' '.join(command[1:])}"


def _signal(pid: int, number: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except (ProcessLookupError, OSError) as error:
        raise Conflict("the session's program has ended") from error
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        pass  # Race: it has just ended
    finally:
        os.close(pidfd)
