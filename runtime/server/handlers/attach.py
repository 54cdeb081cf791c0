"""Endpoints that follow a container: attach, attach over a websocket, logs, stats."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType, web

from runtime.api.client import PAST_HEADER
from runtime.api.errors import InvalidArgument
from runtime.server.answer import json_answer, json_stream, output_stream, stream_type
from runtime.server.call import Call
from runtime.server.detach import DEFAULT_KEYS, parse_keys
from runtime.server.handlers.system import moment
from runtime.server.hijack import Duplex, Hijacked, take_over

ONE_SHOT_VERSION = (1, 41)
WEBSOCKET_BYTES = 1 << 20  # one message from a client


async def container_logs(call: Call) -> web.StreamResponse:
    query = call.query
    stdout, stderr = query.flag("stdout"), query.flag("stderr")
    if not (stdout or stderr):
        raise InvalidArgument("Bad parameters: you must choose at least one stream")
    containers = call.engine.containers
    chunks = containers.logs(
        call.ref,
        stdout=stdout,
        stderr=stderr,
        follow=query.flag("follow"),
        since=moment(call, "since"),
        until=moment(call, "until"),
        timestamps=query.flag("timestamps"),
        details=query.flag("details"),
        tail=_tail(query.text("tail", "all")),
    )
    return await output_stream(call, chunks, tty=containers.tty(call.ref))


def _tail(text: str) -> int | None:
    """The number of lines; None for all of them, which is also what Docker makes of anything else."""
    return int(text) if text.isdecimal() and len(text) < 10 else None


async def container_usage(call: Call) -> web.StreamResponse:
    """Ours: what many containers use, in one answer."""
    ids = [id for id in call.query.text("ids").split(",") if id]
    if not ids:
        raise InvalidArgument("ids: name the containers, with commas between them")
    return json_answer(await call.engine.containers.usage(ids))


async def container_stats(call: Call) -> web.StreamResponse:
    stream = call.query.flag("stream", True)
    one_shot = call.query.flag("one-shot") and call.version >= ONE_SHOT_VERSION
    if stream and one_shot:
        raise InvalidArgument("cannot have stream=true and one-shot=true")
    samples = call.engine.containers.stats(call.ref, stream=stream, one_shot=one_shot)
    if stream:
        return await json_stream(call, samples, wait_for_first=True)
    with call.connection.needed():
        async for sample in samples:
            return json_answer(sample)
    raise InvalidArgument(f"container {call.ref} has no statistics")


async def container_attach(call: Call) -> web.StreamResponse:
    query = call.query
    keys = parse_keys(query.text("detachKeys"))
    containers = call.engine.containers
    stdin = query.flag("stdin")
    session = await containers.attach(
        call.ref,
        logs=query.flag("logs"),
        history=query.flag("history"),
        stream=query.flag("stream"),
        stdin=stdin,
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
    )
    past = {PAST_HEADER: str(session.past)} if session.past else {}
    detached = await take_over(
        call.request,
        call.connection,
        session,
        headers={**call.headers, **past, "Content-Type": stream_type(call, tty=session.tty)},
        framed=not session.tty,
        stdin=stdin,
        detach_keys=(keys or DEFAULT_KEYS) if session.tty else b"",
    )
    if detached:
        containers.detached(call.ref)
    return Hijacked()


async def container_attach_websocket(call: Call) -> web.StreamResponse:
    query = call.query
    # As Docker does: whatever the client calls its protocol is fine.
    protocol = call.request.headers.get("Sec-WebSocket-Protocol", "").split(",")[0].strip()
    socket = web.WebSocketResponse(
        max_msg_size=WEBSOCKET_BYTES, protocols=(protocol,) if protocol else (), compress=False
    )
    if not socket.can_prepare(call.request):
        raise InvalidArgument("attach/ws takes a websocket handshake")
    stdin = query.flag("stdin")
    session = await call.engine.containers.attach(
        call.ref,
        logs=query.flag("logs"),
        stream=query.flag("stream"),
        stdin=stdin,
        stdout=query.flag("stdout"),
        stderr=query.flag("stderr"),
    )
    try:
        socket.headers.update(call.headers)
        await socket.prepare(call.request)
        output = asyncio.ensure_future(_to_websocket(socket, session))
        entry = asyncio.ensure_future(_from_websocket(socket, session, stdin))
        try:
            with call.connection.needed():
                await asyncio.wait({output, entry}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            output.cancel()
            entry.cancel()
            await asyncio.gather(output, entry, return_exceptions=True)
        await socket.close()
    finally:
        session.close()
    return socket


async def _to_websocket(socket: web.WebSocketResponse, session: Duplex) -> None:
    while (item := await session.read()) is not None:
        await socket.send_bytes(item[1])


async def _from_websocket(socket: web.WebSocketResponse, session: Duplex, stdin: bool) -> None:
    async for message in socket:
        if not stdin:
            continue
        if message.type is WSMsgType.BINARY:
            await session.write(message.data)
        elif message.type is WSMsgType.TEXT:
            await session.write(message.data.encode())
