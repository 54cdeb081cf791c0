"""Endpoints of exec sessions; attach and kill are this engine's own."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from runtime.api.errors import Conflict, EngineError, InvalidArgument, NotFound
from runtime.server.answer import empty_answer, json_answer, stream_type
from runtime.server.call import Call
from runtime.server.detach import DEFAULT_KEYS, parse_keys
from runtime.server.handlers.containers import terminal_size
from runtime.server.hijack import Hijacked, take_over

CONSOLE_SIZE_VERSION = (1, 42)
SIDE_MAX = 65535  # rows or columns of a terminal


async def exec_create(call: Call) -> web.StreamResponse:
    body = dict(call.body)
    if not body.get("Cmd"):
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
    try:
        session = await execs.start(call.ref, detach=False, tty=tty, console_size=size)
    except (NotFound, Conflict):
        raise
    except EngineError as error:
        # Docker has upgraded by now: the reason is output, and the exit code tells 126 from 127.
        return await _converse(call, described, None, tty=tty, text=f"{error.message}\r\n".encode())
    return await _converse(call, described, session, tty=tty)


def check_size(size: list[int] | None) -> None:
    if size and (len(size) != 2 or not all(0 <= side <= SIDE_MAX for side in size)):
        raise InvalidArgument("invalid ConsoleSize: it is [height, width]")


async def exec_attach(call: Call) -> web.StreamResponse:
    described = await call.engine.execs.inspect(call.ref)
    session = await call.engine.execs.attach(call.ref)
    return await _converse(call, described, session, tty=session.tty)


async def _converse(
    call: Call, described: dict[str, Any], session: Any, *, tty: bool, text: bytes = b""
) -> web.StreamResponse:
    keys = b""
    if tty:
        keys = base64.b64decode(described.get("DetachKeys") or "") or DEFAULT_KEYS
    detached = await take_over(
        call.request,
        call.connection,
        session,
        headers={**call.headers, "Content-Type": stream_type(call, tty=tty)},
        framed=not tty,
        stdin=bool(described.get("OpenStdin")),
        detach_keys=keys,
        text=text,
    )
    if detached:
        call.engine.execs.detached(call.ref)
    return Hijacked()


async def exec_inspect(call: Call) -> web.StreamResponse:
    return json_answer(await call.engine.execs.inspect(call.ref))


async def exec_resize(call: Call) -> web.StreamResponse:
    await call.engine.execs.resize(call.ref, *terminal_size(call))
    return empty_answer(200)


async def exec_kill(call: Call) -> web.StreamResponse:
    await call.engine.execs.kill(call.ref, call.query.text("signal", "HUP"))
    return empty_answer()
