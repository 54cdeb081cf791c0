"""Hub: one session's stream in this process, shared by everybody who looks on or types.

Owns the stream, the output kept for those who join, and the size: the smallest of those who type. The fastest
viewer sets the pace; a slow one never holds up the others. Without a viewer it stays for a while and goes on
reading. Never decodes, never asks the database while bytes flow.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from containers_app.models import TerminalSession
from containers_app.terminal_input import Input
from containers_app.terminal_viewer import WINDOW_BYTES, Viewer
from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, EngineUnreachable
from runtime.api.screens import Output
from runtime.api.streams import ClientStream
from webdock.engines.threads import carry_on, spawn

ACK_S = 0.2  # typed bytes are acknowledged so late, many at once
ALONE_BYTES_S = 8 << 20  # how fast output is taken while nobody looks on
REDRAW_S = 0.1  # between the two sizes that make a program draw its screen again

# What a terminal says by itself to a program that asked: reports, and that it has the focus. Nobody typed it.
ANSWERS = re.compile(rb"(?:\x1b\[[?>=]?[\d;$]*[Rcnxyt]|\x1b\[[IO]|\x1b[P\]][^\x07\x1b]*(?:\x07|\x1b\\))+")

logger = logging.getLogger("containers_app")


class Sink(Protocol):
    """Something that takes output and sizes at once, without waiting; a recording is one."""

    def output(self, data: bytes) -> None: ...
    def resize(self, rows: int, columns: int) -> None: ...
    async def room(self) -> None:
        """Return when it can take more."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How a stream ended: what each viewer is told, and its socket's close."""

    code: int = 1000
    reason: str = ""
    notices: tuple[dict[str, Any], ...] = ()
    over: bool = True  # the session cannot be taken up again
    error: EngineError | None = None


@dataclass
class Hub:
    """One session. ``open`` joins its stream, ``settle`` finds out why it ended."""

    session: TerminalSession
    client: EngineClient
    open: Callable[[Hub], Awaitable[ClientStream]]
    settle: Callable[[Hub], Awaitable[Outcome]]
    meet: Callable[[Hub], Coroutine[Any, Any, None]]  # the hubs of other web processes
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    output: Output = field(default_factory=Output)
    viewers: list[Viewer] = field(default_factory=list)
    sinks: list[Sink] = field(default_factory=list)
    size: tuple[int, int] | None = None  # rows and columns, once somebody who types has said theirs
    typist: str = ""  # who typed last …
    typed_at: float = 0.0  # … since when
    outcome: Outcome | None = None
    stream: ClientStream | None = None

    def __post_init__(self) -> None:
        # Of other processes' hubs, by id: when it was heard of, and its people.
        self.elsewhere: dict[str, tuple[float, list[dict[str, Any]]]] = {}
        self.changed = asyncio.Event()  # there is something they are to be told
        self.input = Input()
        self.at = 0  # where its output is, in the engine's count
        self._hungry, self._resized = asyncio.Event(), asyncio.Event()
        self._redraw = False
        self._joining = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._acks: set[str] = set()

    # Viewers

    async def join(self, viewer: Viewer, at: int | None = None) -> None:
        """Let somebody look on; joins the stream first when there is none.

        at: the position the page has seen, of this very hub. Raises: EngineError; what ``open`` raises.
        """
        await self.connect()
        viewer.begin(self.output, at)
        viewer.over = self.outcome is not None
        if self.session.kind == TerminalSession.Kind.SHELL:
            viewer.tell(_size_notice(self.output.size))
        self.viewers.append(viewer)
        self._hungry.set()
        if not self.output.whole:
            self.redraw()
        self.tell_people()

    async def connect(self) -> None:
        """Join the stream when there is none. Raises: as ``join``."""
        async with self._joining:
            if self.stream is None:
                self.outcome = None
                stream = self.stream = await self.open(self)
                stream.hand_over(self._take_at_once)
                self._tasks = [
                    spawn(work(), name=name)
                    for name, work in (
                        ("terminal output", self._run),
                        ("terminal input", lambda: self.input.write(stream)),
                        ("terminal size", self._follow_size),
                        ("terminal peers", lambda: self.meet(self)),
                    )
                ]

    def leave(self, viewer: Viewer) -> None:
        if viewer in self.viewers:
            self.viewers.remove(viewer)
            self._hungry.set()
            self._resized.set()
            self.tell_people()
            if not self.viewers and self.outcome is not None and self.outcome.over:
                self._forget_output()

    def allow(self, user_id: int, *, types: bool) -> None:
        """What a guest may do has changed."""
        for viewer in self.viewers:
            if viewer.user_id == user_id:
                viewer.types = types and self.session.kind == TerminalSession.Kind.SHELL
                viewer.tell({"type": "may", "types": viewer.types})
        self.resized()
        self.tell_people()

    def expel(self, user_id: int, code: int, reason: str) -> None:
        """A guest has to go, at once."""
        for viewer in self.viewers:
            if viewer.user_id == user_id:
                viewer.expel(code, reason)

    def tell(self, notice: dict[str, Any]) -> None:
        for viewer in self.viewers:
            viewer.tell(notice)

    def tell_people(self) -> None:
        """Something of that has changed here: whoever is anywhere is told."""
        self.changed.set()
        self.show_people()

    def show_people(self) -> None:
        """Who is there, who typed last, and who answers a program's questions to its terminal."""
        far = [(id, one) for id, (_at, people) in self.elsewhere.items() for one in people]
        first = all(self.id < id for id, one in far if one["types"])  # of all hubs with somebody who types
        speaker = next((viewer for viewer in self.viewers if viewer.types and first), None)
        people = [{"name": viewer.name, "types": viewer.types} for viewer in self.viewers]
        people += [{"name": one["name"], "types": one["types"]} for _id, one in far]
        self._resized.set()
        for viewer in self.viewers:
            notice = {"type": "people", "people": people, "typed": self.typist, "answers": viewer is speaker}
            viewer.tell(notice)

    # Output

    async def _run(self) -> None:
        outcome = Outcome(code=1011, over=False)
        try:
            await self._read()
            if self.outcome is not None:
                return  # it was ended here
            outcome = await self.settle(self)
        except EngineError as error:
            outcome = Outcome(over=False, error=error)
        except Exception:  # task entry: log the id, the viewers are told
            logger.exception("terminal %s failed", self.session.pk)
        self.finish(outcome)

    async def _read(self) -> None:
        assert self.stream is not None
        while True:
            while self._full:
                self._hungry.clear()
                await self._hungry.wait()
            try:
                piece = await self.stream.read()
            except EngineUnreachable:
                return
            if piece is None:
                return
            self.take(piece[1])
            for sink in self.sinks:
                await sink.room()
            if not self.viewers and len(piece[1]) >= 4096:
                await asyncio.sleep(len(piece[1]) / ALONE_BYTES_S)

    def take(self, data: bytes) -> None:
        """Output of the program has come."""
        self.at += len(data)
        self.output.append(data)
        for viewer in self.viewers:
            viewer.flow(self.output, data)
        for sink in self.sinks:
            sink.output(data)

    def _take_at_once(self, data: bytes) -> bool:
        if not self.viewers or self.sinks or self._full:
            return False
        self.take(data)
        return True

    @property
    def _full(self) -> bool:
        """Nobody has room for more."""
        return bool(self.viewers) and all(one.behind(self.output) >= WINDOW_BYTES for one in self.viewers)

    def credited(self) -> None:
        """A viewer has drawn something."""
        self._hungry.set()

    def finish(self, outcome: Outcome) -> None:
        """The stream is over: viewers end once they have shown what is there."""
        if self.outcome is not None:
            return
        self.outcome = outcome
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        self.input.broke()
        for task in self._tasks[1:]:
            task.cancel()
        for viewer in self.viewers:
            viewer.over = True
            viewer.wake()
        if outcome.over:
            hubs.pop(self.session.pk, None)
            for sink in self.sinks:
                carry_on(sink.close(), name="terminal sink")
            self.sinks.clear()

    # Input

    def type(self, viewer: Viewer, data: bytes) -> bool:
        """Take what somebody typed; False when the program reads too little of it."""
        if not self.input.take(viewer.token, data, self.stream):
            return False
        if viewer.token not in self._acks:
            self._acks.add(viewer.token)
            asyncio.get_running_loop().call_later(ACK_S, self._acknowledge, viewer)
        if self.typist != viewer.name and not ANSWERS.fullmatch(data):
            self.typist, self.typed_at = viewer.name, time.time()
            self.tell_people()
        return True

    def _acknowledge(self, viewer: Viewer) -> None:
        self._acks.discard(viewer.token)
        if viewer in self.viewers:
            at, place = self.input.taken.get(viewer.token, 0), self.input.places.get(viewer.token)
            viewer.tell({"type": "ack", "at": at, "place": place})

    # Size

    def resized(self) -> None:
        """Somebody's room has changed, or who types."""
        self.changed.set()
        self._resized.set()

    def redraw(self) -> None:
        """Let a program that draws the whole screen draw it again."""
        self._redraw = True
        self._resized.set()

    async def _follow_size(self) -> None:
        if self.session.kind == TerminalSession.Kind.ATTACH:
            return  # the main process is never resized: a server may take SIGWINCH for something else
        while True:
            await self._resized.wait()
            self._resized.clear()
            sizes = [viewer.size for viewer in self.viewers if viewer.types and viewer.size]
            for _at, people in self.elsewhere.values():
                sizes += [one["size"] for one in people if one["types"] and one["size"]]
            wanted = (min(one[0] for one in sizes), min(one[1] for one in sizes)) if sizes else self.size
            if wanted is None:
                continue
            if self._redraw and wanted[0] > 2:
                self._redraw = False
                await self._resize(wanted[0] - 1, wanted[1])
                await asyncio.sleep(REDRAW_S)
                await self._resize(*wanted)
            elif wanted != self.size:
                await self._resize(*wanted)
            if wanted != self.size:
                self.size = self.output.size = wanted
                for sink in self.sinks:
                    sink.resize(*wanted)
            self.tell(_size_notice(wanted))

    async def _resize(self, rows: int, columns: int) -> None:
        try:
            await self.client.exec_resize(self.session.exec_id, height=rows, width=columns)
        except EngineError:
            return  # it ended in this moment, or cannot be resized: the output goes on either way

    # The end

    async def close(self) -> None:
        """Let go of the stream; its program goes on."""
        hubs.pop(self.session.pk, None)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for sink in list(self.sinks):
            await sink.close()
        if self.stream is not None:
            self.stream.close()
            self.stream = None
        self._forget_output()

    def _forget_output(self) -> None:
        """The hub stays until the collector comes past; what floods wrote would be most of the heap."""
        self.output.replace(b"")


def _size_notice(size: tuple[int, int]) -> dict[str, Any]:
    return {"type": "size", "rows": size[0], "cols": size[1]}


hubs: dict[UUID, Hub] = {}  # of this process


async def close_hubs() -> None:
    """The process ends: sessions go on in the engine."""
    await asyncio.gather(*(hub.close() for hub in list(hubs.values())))
