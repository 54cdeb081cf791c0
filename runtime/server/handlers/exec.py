"""Endpoints of exec sessions; attach, kill and end are this engine's own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

from aiohttp import web

from runtime.api.client import PAST_HEADER, PLACE_HEADER
from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound
from runtime.api.frames import STDOUT
from runtime.server.answer import empty_answer, json_answer, stream_type
from runtime.server.call import Call
from runtime.server.detach import DEFAULT_KEYS, parse_keys
from runtime.server.handlers.containers import terminal_size
from runtime.server.hijack import Duplex, Hijacked, take_over

CONSOLE_SIZE_VERSION = (1, 42)
SIDE_MAX = 65535  # rows or columns of a terminal


class Opening:
    """The stream of a session that is being started: the client reads the head of the answer meanwhile.

    Docker has upgraded by then, too: why a program cannot start is output, and the exit code tells 126 from
    127.
    """

    def __init__(self, start: Coroutine[Any, Any, Duplex | None]) -> None:
        self._starting = asyncio.ensure_future(start)
        self.at_once: Callable[[bytes], bool] | None = None
        self._told = False  # why it did not start

    async def begin(self) -> None:
        """Raises: NotFound, Conflict when the start is refused at once, without being tried."""
        await asyncio.sleep(0)
        if self._starting.done() and isinstance(self._starting.exception(), NotFound | Conflict):
            self._starting.result()

    async def read(self) -> tuple[int, bytes] | None:
        try:
            session = await asyncio.shield(self._starting)
        except EngineError as error:
            if self._told:
                return None
            self._told = True
            return STDOUT, f"{error.message}\r\n".encode()
        if session is None:
            return None
        session.at_once = self.at_once
        return await session.read()

    async def write(self, data: bytes) -> None:
        await (await self._session()).write(data)

    def write_now(self, data: bytes) -> bool:
        starting = self._starting
        if not starting.done() or starting.cancelled() or starting.exception() is not None:
            return False
        session = starting.result()
        return session is not None and session.write_now(data)

    async def close_stdin(self) -> None:
        await (await self._session()).close_stdin()

    async def _session(self) -> Duplex:
        """Raises: ConnectionError when it did not start."""
        try:
            session = await asyncio.shield(self._starting)
        except EngineError as error:
            raise ConnectionAbortedError(error.message) from None
        if session is None:
            raise ConnectionAbortedError("the session has no stream")
        return session

    def close(self) -> None:
        if not self._starting.done():
            self._starting.cancel()  # the start goes on, and nobody listens to it
        elif not self._starting.cancelled() and self._starting.exception() is None:
            session = self._starting.result()
            if session is not None:
                session.close()


async def exec_create(call: Call) -> web.StreamResponse:
    body = dict(call.body)
    if not body.get("Cmd") and not body.get("DebugShell"):
        raise InvalidArgument("No exec command specified")
    parse_keys(body.get("DetachKeys", ""))
    if call.version < CONSOLE_SIZE_VERSION:
        body.pop("ConsoleSize", None)
    check_size(body.get("ConsoleSize"))
    return json_answer({"Id": await call.engine.execs.create(call.ref, body)}, 201)


async def exec_start(call: Call) -> web.StreamResponse:
    execs = call.engine.execs
    detach, tty = bool(call.body.get("Detach")), bool(call.body.get("Tty"))
    size = call.body.get("ConsoleSize") if tty and call.version >= CONSOLE_SIZE_VERSION else None
    check_size(size)
    if detach:
        await execs.start(call.ref, detach=True, tty=tty, console_size=size)
        return empty_answer(200)
    described = await execs.inspect(call.ref)
    opening = Opening(execs.start(call.ref, detach=False, tty=tty, console_size=size))
    await opening.begin()
    return await _converse(call, described, opening, tty=tty)


def check_size(size: list[int] | None) -> None:
    if size and (len(size) != 2 or not all(0 <= side <= SIDE_MAX for side in size)):
        raise InvalidArgument("invalid ConsoleSize: it is [height, width]")


async def exec_attach(call: Call) -> web.StreamResponse:
    described = await call.engine.execs.inspect(call.ref)
    session = await call.engine.execs.attach(call.ref, history=call.query.flag("history"))
    headers = {PAST_HEADER: str(session.past)} if session.past else {}
    if session.place is not None:
        headers[PLACE_HEADER] = session.place.header()
    return await _converse(call, described, session, tty=session.tty, headers=headers)


async def _converse(
    call: Call,
    described: dict[str, Any],
    session: Duplex,
    *,
    tty: bool,
    headers: dict[str, str] | None = None,
) -> web.StreamResponse:
    keys = b""
    if tty:
        keys = base64.b64decode(described.get("DetachKeys") or "") or DEFAULT_KEYS
    detached = await take_over(
        call.request,
        call.connection,
        session,
        headers={**call.headers, **(headers or {}), "Content-Type": stream_type(call, tty=tty)},
        framed=not tty,
        stdin=bool(described.get("OpenStdin")),
        detach_keys=keys,
    )
    if detached:
        call.engine.execs.detached(call.ref)
    return Hijacked()


async def exec_inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.execs.inspect(call.ref))


async def exec_resize(call: Call) -> web.StreamResponse:
    await call.engine.execs.resize(call.ref, *terminal_size(call))
    return empty_answer(200)


async def exec_end(call: Call) -> web.StreamResponse:
    await call.engine.execs.end(call.ref)
    return empty_answer()


async def exec_kill(call: Call) -> web.StreamResponse:
    await call.engine.execs.kill(call.ref, call.query.text("signal", "HUP"))
    return empty_answer()
