"""TerminalConsumer: one browser at a session's hub, bytes both ways.

Never decodes the bytes, never asks the database or a channel layer while they flow. Output goes out while
less than a window is uncredited: the browser gives credit back when xterm has drawn it, so a flood stops at
the PTY and Ctrl-C bites at once. Who looks on sends nothing: what comes is dropped here, whatever the page
thinks. What is typed reaches a main process only after control was taken over this very socket.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any
from uuid import UUID

from django.utils.translation import gettext as _

from containers_app import recording
from containers_app.models import TerminalGuest, TerminalSession
from containers_app.terminal_hub import Hub
from containers_app.terminal_stream import end, hub_of, linger, note_size
from containers_app.terminal_viewer import Viewer
from runtime.api.errors import EngineError
from webdock.engines.audit import audited
from webdock.engines.consumers import (
    CLOSE_FORBIDDEN,
    CLOSE_GONE,
    CLOSE_SLOW,
    Closed,
    SocketConsumer,
    whole,
)
from webdock.engines.threads import in_thread
from webdock.engines.wording import explain
from webdock.people import holding

SIZE_MAX = 1000  # columns or rows
EARLY_MAX = 16  # messages that may come before the session is joined
CREDIT = re.compile(r'\{"type": ?"credit", ?"bytes": ?([0-9]{1,12})\}')  # as pages write it
TOKEN = re.compile(r"[0-9a-zA-Z-]{8,64}")


class TerminalConsumer(SocketConsumer):
    """/ws/terminal/<session>/?page=<token>&hub=<id>&at=<position>&acked=…&place=…&handed=…

    The last three: how far this page's typing was acknowledged, where that is in the session's input, and how
    many bytes it sent since, when nobody else typed meanwhile.
    """

    right = "terminal"  # with "control" or "shell", as the session needs, once that is known

    def prepare(self) -> None:
        self._end_asked = asyncio.Event()
        self._control_asked = asyncio.Event()
        self._viewer: Viewer | None = None  # once the session is joined
        self._early: list[bytes | dict[str, Any]] = []  # what came before that
        self._hub: Hub
        self._guest: TerminalGuest | None = None
        self._telling: asyncio.Task[None] | None = None  # where the shell is

    async def run(self) -> None:
        found = await admitted(self.kwargs["session"], self.user.pk)
        if found is None:
            raise Closed(CLOSE_GONE, _("This terminal was closed."))
        session, self._guest = found
        self._session = session
        types = "control" if session.kind == TerminalSession.Kind.ATTACH else "shell"
        looks_on = self._guest is not None and not self._guest.types
        await self.narrow(self.right if looks_on else types, ("container", session.container_id))
        hub = self._hub = hub_of(session)
        page = self.query.get("page", "")
        viewer = Viewer(
            self.user.pk,
            self.user.get_username(),
            f"{self.user.pk} {page if TOKEN.fullmatch(page) else id(self)}",
            types=session.kind == TerminalSession.Kind.SHELL and (self._guest is None or self._guest.types),
        )
        at = whole(self.query.get("at"), -1, 1 << 60, -1) if self.query.get("hub") == hub.id else -1
        try:
            await hub.join(viewer, at if at >= 0 else None)
            if "place" in self.query:
                hub.input.recall(viewer.token, *(self._count(name) for name in ("acked", "place", "handed")))
            try:
                await self.send_json(self._ready(viewer))
                await recording.begin(hub)
                viewer.tell({"type": "recording", "on": recording.recorder_of(hub) is not None})
                self._viewer = viewer
                for one in self._early:
                    await (self.receive_bytes(one) if isinstance(one, bytes) else self.receive_text(one))
                self.tasks.create_task(
                    self._end() if self._guest is None else self._stay(), name="end or stay"
                )
                self.tasks.create_task(self._take_control(), name="control")
                if self.direct is not None:
                    viewer.at_once, self.direct.take = self.direct.send, self._take_at_once
                await self._send_output(viewer)
                await self._tell_end()
            finally:
                if self.direct is not None:
                    viewer.at_once = self.direct.take = None
                hub.leave(viewer)
                if not hub.viewers:
                    linger(hub)
                    await note_size(session, hub.size)
        except EngineError as error:
            await self.send_json({"type": "error", "message": explain(error)})
            raise

    def _ready(self, viewer: Viewer) -> dict[str, Any]:
        session, hub = self._session, self._hub
        return {
            "type": "ready",
            "title": session.title,
            "kind": session.kind,
            "tty": session.tty,
            "types": viewer.types,
            "own": self._guest is None,
            "owner": session.user.get_username(),
            "may": self._guest is None or self._guest.types,
            "hub": hub.id,
            "at": viewer.position,
            "taken": hub.input.taken.get(viewer.token),  # of what this page typed; None: not known here
            "place": hub.input.place,  # where these end in the session's input, when that is known
            "lost": hub.input.lost.pop(viewer.token, 0),  # of that, bytes which may not have arrived
        }

    def _count(self, name: str) -> int:
        return whole(self.query.get(name), 0, 1 << 60, 0)

    async def receive_bytes(self, data: bytes) -> None:
        viewer = self._viewer
        if viewer is None:
            return self._keep(data)
        if not viewer.types:
            return
        viewer.typed()
        if self._hub.outcome is None and not self._hub.type(viewer, data):
            raise Closed(CLOSE_SLOW, _("The program does not read its input."))

    async def receive_text(self, message: dict[str, Any]) -> None:
        viewer, kind = self._viewer, message.get("type")
        if viewer is None:
            return self._keep(message)
        if kind == "credit":
            viewer.credit(whole(message.get("bytes"), 0, 1 << 40, 0), self._hub.output)
            self._hub.credited()
        elif kind == "resize":
            columns, rows = (whole(message.get(side), 0, SIZE_MAX, 0) for side in ("cols", "rows"))
            if columns and rows:
                viewer.size = (rows, columns)
                self._hub.resized()
        elif kind == "control":
            self._control_asked.set()
        elif kind == "where" and (self._telling is None or self._telling.done()):
            self._telling = self.tasks.create_task(self._tell_where(viewer), name="where")
        elif kind == "end":
            self._end_asked.set()

    def _keep(self, message: bytes | dict[str, Any]) -> None:
        if len(self._early) >= EARLY_MAX:
            raise Closed(CLOSE_SLOW, _("The terminal is not open yet."))
        self._early.append(message)

    def _take_at_once(self, message: bytes | str) -> bool:
        """What is typed, and credit, without the turns of the loop a task takes."""
        viewer, hub = self._viewer, self._hub
        if viewer is None or viewer.expelled is not None or hub.outcome is not None:
            return False
        if isinstance(message, bytes):
            if viewer.types:
                viewer.typed()
                return hub.type(viewer, message)
            return True
        if (credit := CREDIT.fullmatch(message)) is None:
            return False
        viewer.credit(int(credit[1]), hub.output)
        hub.credited()
        return True

    async def _send_output(self, viewer: Viewer) -> None:
        """Until the stream ends or breaks."""
        while (item := await viewer.next(self._hub.output)) is not None:
            await (self.send_json(item) if isinstance(item, dict) else self.send_bytes(item))

    async def _tell_end(self) -> None:
        """Raises: Closed, or the error that ended the stream."""
        outcome, viewer = self._hub.outcome, self._viewer
        if viewer is not None and viewer.expelled is not None:
            raise Closed(*viewer.expelled)
        if outcome is None:
            raise RuntimeError("expected the outcome of a stream that is over, got none")
        for notice in outcome.notices:
            await self.send_json(notice)
        if outcome.error is not None:
            raise outcome.error
        raise Closed(outcome.code, outcome.reason)

    async def _take_control(self) -> None:
        """Once the person takes control of the main process: note it, then let through what is typed."""
        await self._control_asked.wait()
        session, viewer = self._session, self._viewer
        if session.kind != TerminalSession.Kind.ATTACH or viewer is None:
            return
        if self._guest is not None and not self._guest.types:
            return
        async with audited(self.actor, "container.control", **session.audit_object):
            viewer.types = True
        viewer.tell({"type": "control"})
        self._hub.tell_people()

    async def _tell_where(self, viewer: Viewer) -> None:
        """The directory of the program that has the terminal, null when the engine cannot tell it."""
        path = None
        if self._session.exec_id:
            try:
                path = (await self._hub.client.exec_inspect(self._session.exec_id)).get("CurrentDirectory")
            except EngineError:
                pass  # the page falls back to what else it knows
        viewer.tell({"type": "where", "path": path})

    async def _end(self) -> None:
        """Once the person closes it: its processes get HUP, then KILL; attach just lets go."""
        await self._end_asked.wait()
        await end(self._hub, self._session)
        raise Closed(1000)

    async def _stay(self) -> None:
        """A guest stays while invited; another process may have taken the invitation back."""
        while True:
            await asyncio.sleep(holding.RECHECK_S)
            if await admitted(self._session.pk, self.user.pk) is None:
                raise Closed(CLOSE_FORBIDDEN, _("This terminal is not shared with you any more."))


@in_thread
def admitted(id: UUID, user_id: int) -> tuple[TerminalSession, TerminalGuest | None] | None:
    """A person's own open session, or one they are a guest of; somebody else's does not exist."""
    session = TerminalSession.objects.select_related("engine", "user").filter(pk=id, ended_at=None).first()
    if session is None or session.user_id == user_id:
        return None if session is None else (session, None)
    guest = TerminalGuest.objects.filter(session=session, user_id=user_id).first()
    return None if guest is None else (session, guest)
