"""TerminalConsumer: a browser's socket and one exec or attach stream, bytes both ways.

Never decodes the bytes, never asks the database or a channel layer while they flow. Output goes out while
less than a window is uncredited: the browser gives credit back when xterm has drawn it, so a flood stops at
the PTY and Ctrl-C bites at once. The main process is never resized: a server may take SIGWINCH for something
else; and what is typed reaches it only after control was taken over this very socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, ClassVar
from uuid import UUID

from django.utils import timezone
from django.utils.translation import gettext as _

from containers_app.models import TerminalSession
from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, EngineUnreachable, NotFound, NotSupported
from runtime.api.streams import ClientStream
from webdock.engines.audit import audited
from webdock.engines.clients import client as client_of
from webdock.engines.consumers import (
    CLOSE_ENGINE,
    CLOSE_GONE,
    CLOSE_SLOW,
    CLOSE_STATE,
    Closed,
    SocketConsumer,
    whole,
)
from webdock.engines.models import Engine
from webdock.engines.threads import carry_on, in_thread
from webdock.engines.wording import explain

FLOOD_GAP_S, FLOOD_PIECES = 0.002, 8  # that many pieces that close together are a flood
GATHER_S = 0.003  # in a flood small pieces wait this long for each other; echoed keys never do
WINDOW_BYTES = 256 << 10  # output the browser has not drawn yet
INPUT_MAX_BYTES = 4 << 20  # input the process has not read yet
SIZE_MAX = 1000  # columns or rows
EXIT_NOTED_S = 2.0  # how long after a stream's end its exit is waited for
END_GRACE_S = 2.0  # HUP, then KILL
CTRL_C, CTRL_D, CTRL_U = b"\x03", b"\x04", b"\x15"


class TerminalConsumer(SocketConsumer):
    """/ws/terminal/<session>/"""

    right = "terminal"  # with "control" or "shell", as the session needs, once that is known
    live: ClassVar[dict[UUID, TerminalConsumer]] = {}  # of this process: a session has one socket at a time

    def prepare(self) -> None:
        self._uncredited = 0
        self._credited = asyncio.Event()
        self._input: deque[bytes] = deque()
        self._input_bytes = 0
        self._typed = asyncio.Event()
        self._streak = 0  # pieces of output that came close together, with no key in between
        self._size: tuple[int, int] | None = None
        self._resized = asyncio.Event()
        self._end_asked = asyncio.Event()
        self._control_asked = asyncio.Event()
        self._watching = False  # only looks on: what is typed goes nowhere
        self._over = False  # the stream ended by itself

    async def run(self) -> None:
        session = await _session(self.kwargs["session"], self.user.pk)
        if session is None:
            raise Closed(CLOSE_GONE, _("This terminal was closed."))
        self._session = session
        self._watching = session.kind == TerminalSession.Kind.ATTACH
        await self.narrow("control" if self._watching else "shell")
        self._client: EngineClient = client_of(session.engine.alias)
        before = self.live.get(session.id)
        if before is not None:
            before.tasks.create_task(before.replaced(), name="replaced")
        self.live[session.id] = self
        try:
            self._stream = await self._join()
            try:
                await self.send_json(
                    {"type": "ready", "title": session.title, "kind": session.kind, "tty": self._stream.tty}
                )
                self.tasks.create_task(self._write_input(), name="input")
                self.tasks.create_task(self._follow_size(), name="size")
                self.tasks.create_task(self._end(), name="end")
                self.tasks.create_task(self._take_control(), name="control")
                await self._send_output()
                self._over = True
                await self._tell_end()
            finally:
                self._leave()
        except EngineError as error:
            await self.send_json({"type": "error", "message": explain(error)})
            raise
        finally:
            if self.live.get(session.id) is self:
                del self.live[session.id]

    def _leave(self) -> None:
        """Let go of the stream; the shell goes on and can be taken up again.

        Differs: other engines cannot take an exec up again, so its shell would live on with nobody to end it;
        there it is told to go.
        """
        session = self._session
        if (
            session.engine.kind == Engine.Kind.NATIVE
            or session.kind == TerminalSession.Kind.ATTACH
            or self._over
        ):
            self._stream.close()
        else:
            carry_on(_part(self._stream, session), name="part")

    async def replaced(self) -> None:
        """Another window took the session up."""
        raise Closed(CLOSE_STATE, _("This terminal was taken up in another window."))

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns as the browser last said, None before it did."""
        return self._size

    def end(self) -> None:
        """Ask for the end of the session, as its own End button does."""
        self._end_asked.set()

    async def receive_bytes(self, data: bytes) -> None:
        if self._watching:
            return
        self._input_bytes += len(data)
        if self._input_bytes > INPUT_MAX_BYTES:
            raise Closed(CLOSE_SLOW, _("The program does not read its input."))
        self._streak = 0
        self._input.append(data)
        self._typed.set()

    async def receive_text(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "credit":
            self._uncredited = max(0, self._uncredited - whole(message.get("bytes"), 0, 1 << 40, 0))
            if self._uncredited < WINDOW_BYTES:
                self._credited.set()
        elif kind == "resize":
            columns, rows = (
                whole(message.get("cols"), 1, SIZE_MAX, 0),
                whole(message.get("rows"), 1, SIZE_MAX, 0),
            )
            if columns and rows:
                self._size = (rows, columns)
                self._resized.set()
        elif kind == "control":
            self._control_asked.set()
        elif kind == "end":
            self.end()

    async def _join(self) -> ClientStream:
        """Start the exec, take it up again, or attach.

        Raises: Closed when the session is over; EngineError.
        """
        session = self._session
        if session.kind == TerminalSession.Kind.ATTACH:
            return await self._client.container_attach(session.container_id, tty=session.tty)
        if await _claim_start(session):
            size = (session.rows, session.columns)
            return await self._client.exec_start(session.exec_id, tty=session.tty, console_size=size)
        try:
            return await self._client.exec_attach(session.exec_id, tty=session.tty)
        except (NotFound, NotSupported, Conflict):
            await note_end(session, None)
            raise Closed(CLOSE_GONE, _("This terminal has ended.")) from None

    async def _send_output(self) -> None:
        """Until the stream ends or breaks."""
        clock = asyncio.get_running_loop().time
        sent_at = 0.0
        while True:
            while self._uncredited >= WINDOW_BYTES:
                self._credited.clear()
                await self._credited.wait()
            try:
                piece = await self._stream.read()
            except EngineUnreachable:
                return
            if piece is None:
                return
            self._uncredited += len(piece[1])
            await self.send_bytes(piece[1])
            self._streak = self._streak + 1 if clock() - sent_at < FLOOD_GAP_S else 0
            if self._streak >= FLOOD_PIECES:
                await asyncio.sleep(GATHER_S)
            sent_at = clock()

    async def _write_input(self) -> None:
        if self._watching:  # typed before it was known what this is
            self._input.clear()
            self._input_bytes = 0
        while True:
            await self._typed.wait()
            self._typed.clear()
            while self._input:
                data = self._input.popleft()
                try:
                    await self._stream.write(data)
                except EngineUnreachable:
                    return  # the output side finds out why
                self._input_bytes -= len(data)

    async def _follow_size(self) -> None:
        if self._session.kind == TerminalSession.Kind.ATTACH:
            return
        while True:
            await self._resized.wait()
            self._resized.clear()
            if self._size is None:
                continue
            rows, columns = self._size
            try:
                await self._client.exec_resize(self._session.exec_id, height=rows, width=columns)
            except EngineError:
                continue  # it ended in this moment, or cannot be resized: the output goes on either way

    async def _take_control(self) -> None:
        """Once the person takes control of the main process: note it, then let through what is typed."""
        await self._control_asked.wait()
        session = self._session
        if session.kind != TerminalSession.Kind.ATTACH:
            return
        async with audited(
            self.actor,
            "container.control",
            engine=session.engine.alias,
            kind="container",
            id=session.container_id,
            name=session.title,
        ):
            self._watching = False
        await self.send_json({"type": "control"})

    async def _tell_end(self) -> None:
        """The stream is over: say why, in the words of what is true now.

        Raises: Closed.
        """
        session = self._session
        code: int | None = None
        if session.kind == TerminalSession.Kind.SHELL:
            code = await self._exec_code()
        try:
            state = (await self._client.container_inspect(session.container_id)).get("State") or {}
        except NotFound:
            await note_end(session, code)
            await self.send_json({"type": "error", "message": _("The container was removed.")})
            raise Closed(CLOSE_GONE, _("The container was removed.")) from None
        if not state.get("Running"):
            await note_end(session, code)
            shown = state.get("ExitCode") if code is None else code
            await self.send_json({"type": "exit", "code": shown})
            raise Closed(CLOSE_STATE, _("The container stopped."))
        if session.kind == TerminalSession.Kind.ATTACH:
            await self.send_json({"type": "exit", "code": None})
            raise Closed(CLOSE_ENGINE, _("The engine let go of the terminal."))
        await note_end(session, code)
        await self.send_json({"type": "exit", "code": code})
        raise Closed(1000)

    async def _exec_code(self) -> int | None:
        """The exit code of the exec, None when it is forgotten.

        Raises: Closed when it still runs: only the connection broke, the session can be taken up again.
        """
        deadline = asyncio.get_running_loop().time() + EXIT_NOTED_S
        while True:
            try:
                answer = await self._client.exec_inspect(self._session.exec_id)
            except NotFound:
                return None
            if not answer.get("Running"):
                return answer.get("ExitCode")
            # Race: an engine may close the stream a moment before it notes the exit.
            if asyncio.get_running_loop().time() > deadline:
                raise Closed(CLOSE_ENGINE, _("The connection to the engine broke."))
            await asyncio.sleep(0.05)

    async def _end(self) -> None:
        """Once the person closes it: the shell gets HUP, and KILL when it stays; attach just lets go."""
        await self._end_asked.wait()
        session = self._session
        if session.kind == TerminalSession.Kind.SHELL:
            try:
                await hang_up(self._client, session)
            except (NotFound, NotSupported, Conflict):
                await say_goodbye(self._stream)
        await note_end(session, None)
        raise Closed(1000)


async def hang_up(client: EngineClient, session: TerminalSession) -> None:
    """HUP to the session's shell, and KILL when it stays.

    Raises: NotFound, NotSupported or Conflict when it cannot be signalled or has ended; other EngineErrors.
    """
    await client.exec_kill(session.exec_id, signal="HUP")
    await asyncio.sleep(END_GRACE_S)  # the output side closes the socket before this, normally
    await client.exec_kill(session.exec_id, signal="KILL")


async def _part(stream: ClientStream, session: TerminalSession) -> None:
    await say_goodbye(stream)
    stream.close()
    await note_end(session, None)


async def say_goodbye(stream: ClientStream) -> None:
    """Ask a shell to go, for engines that cannot signal an exec: interrupt, end of input, ``exit``."""
    try:
        await stream.write(CTRL_C + CTRL_U + CTRL_D)
        await stream.write(b"exit\r")
        await stream.close_stdin()
    except EngineUnreachable:
        return  # it is gone already, which is what was wanted


@in_thread
def _session(id: UUID, user_id: int) -> TerminalSession | None:
    """The person's own open session; somebody else's does not exist."""
    return (
        TerminalSession.objects.select_related("engine").filter(pk=id, user_id=user_id, ended_at=None).first()
    )


@in_thread
def _claim_start(session: TerminalSession) -> bool:
    """True for the one socket that starts the exec."""
    return bool(TerminalSession.objects.filter(pk=session.pk, started=False).update(started=True))


@in_thread
def note_end(session: TerminalSession, code: int | None) -> None:
    """The session is over and cannot be taken up again."""
    TerminalSession.objects.filter(pk=session.pk, ended_at=None).update(
        ended_at=timezone.now(), exit_code=code
    )
