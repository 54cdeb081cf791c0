"""Attach and exec over the web port: a call with an API token whose connection becomes the stream.

Holds the stream open only while its person may have it. What it is carried by is ``webdock.taken``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from asgiref.sync import sync_to_async
from django.conf import settings

from runtime.api.errors import EngineError, InvalidArgument, NotSupported, Unauthorized, to_status
from runtime.api.streams import ClientStream
from webdock.engines.audit import Actor, audited, client_address
from webdock.engines.clients import client as client_of
from webdock.engines.models import current_engine
from webdock.engines.threads import in_thread
from webdock.people import viewer
from webdock.people.api_rules import VERSION, needed
from webdock.people.api_views import permitted, thing_of
from webdock.people.guarded import GuardedClient
from webdock.people.holding import doubting, next_look
from webdock.people.tokens import Bearer, bearer
from webdock.taken import Taken

RAW = "application/vnd.docker.raw-stream"

logger = logging.getLogger("webdock.people")

_bearer = in_thread(bearer)
_running: set[asyncio.Task[None]] = set()


@dataclass(frozen=True)
class Asked:
    """The head of a request, and its body."""

    path: str  # below /api/, without the version
    query: list[tuple[str, str]]
    token: str
    address: str
    body: bytes


def wanted(method: bytes, uri: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a request asks for a connection of its own to the Engine API; pure."""
    path = uri.partition(b"?")[0].decode("ascii", "replace").removeprefix(settings.FORCE_SCRIPT_NAME or "")
    return method == b"POST" and path.startswith("/api/") and headers.get("upgrade", "").lower() == "tcp"


def begin(request: Any, headers: Mapping[str, str]) -> None:
    """Take the connection of this request of the web server, and answer it in a task of its own."""
    path, _mark, query = request.uri.decode("ascii", "replace").partition("?")
    path = path.removeprefix(settings.FORCE_SCRIPT_NAME or "").removeprefix("/api/")
    scheme, _space, token = headers.get("authorization", "").partition(" ")
    asked = Asked(
        VERSION.sub("", unquote(path)),
        parse_qsl(query, keep_blank_values=True),
        token.strip() if scheme.lower() == "bearer" else "",
        client_address(str(getattr(request.client, "host", "")), headers.get("x-forwarded-for", "")),
        request.content.read(),
    )
    pipe = Taken()
    pipe.take(request)
    task = asyncio.get_event_loop().create_task(_serve(asked, pipe), name="api stream")
    _running.add(task)
    task.add_done_callback(_running.discard)


def running() -> list[asyncio.Task[None]]:
    """The streams that are open, for the process to end."""
    return list(_running)


async def _serve(asked: Asked, pipe: Taken) -> None:
    await asyncio.sleep(0)  # the server's own reading returns first
    pipe.early()
    try:
        who = await _bearer(asked.token, asked.address)
        if who is None:
            raise Unauthorized("this needs a valid API token: Authorization: Bearer wdk_…")
        viewer.look_as(viewer.Viewer(who.user))
        await _carry(asked, pipe, who)
    except EngineError as error:
        await _refuse(pipe, max(to_status(error), 400), error.message)
    except ConnectionError:
        pass
    except Exception:  # API connection: log and answer
        logger.exception("a stream of the Engine API failed: %s", asked.path[:100])
        await _refuse(pipe, 500, "the stream failed")
    finally:
        pipe.close()


async def _refuse(pipe: Taken, status: int, message: str) -> None:
    """Answer instead of a stream; nothing is said once it has begun."""
    if pipe.begun:
        return
    body = json.dumps({"message": message}).encode()
    head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nConnection: close\r\n"
    with contextlib.suppress(ConnectionError):
        await pipe.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def _carry(asked: Asked, pipe: Taken, who: Bearer) -> None:
    """The whole session, with its row in the audit log. Raises: EngineError before it begins."""
    alias = (await sync_to_async(current_engine)()).alias
    client = client_of(alias)
    query = dict(asked.query)
    rule, ref = await permitted(client, "POST", asked.path, query)
    if not rule.stream:
        raise NotSupported(f"POST /{asked.path[:100]} is no stream")
    kind, id = await thing_of(client, rule, ref)
    rights = needed(rule, query)
    actor = Actor(who.user.pk, who.user.get_username(), asked.address)
    detail = f"by token {who.name}"
    async with audited(actor, rule.action, engine=alias, kind=kind, id=id, name=id, detail=detail):
        stream = await client._upgrade(
            "/" + quote(asked.path, safe="/:@"), asked.query, _document(asked.body), ref=None, tty=True
        )
        async with stream:
            await pipe.write(
                f"HTTP/1.1 101 UPGRADED\r\nContent-Type: {stream.content_type or RAW}\r\n"
                "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
            )
            pipe.begun = True
            await _copy(asked, pipe, stream, client, (kind, id), rights)


def _document(body: bytes) -> dict[str, Any] | None:
    """Raises: InvalidArgument."""
    if not body:
        return None
    try:
        value = json.loads(body)
    except ValueError as error:
        raise InvalidArgument(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgument("invalid JSON: body: expected an object")
    return value


async def _copy(
    asked: Asked,
    pipe: Taken,
    stream: ClientStream,
    client: GuardedClient,
    thing: tuple[str, str],
    rights: tuple[str, ...],
) -> None:
    """Both ways, until the process's side ends, the client is gone, or the right is."""

    async def out() -> None:
        while (piece := await stream.read()) is not None:
            await pipe.write(piece[1])

    async def into() -> None:
        while data := await pipe.read():
            await stream.write(data)
        await stream.close_stdin()
        await pipe.gone.wait()  # it listens on

    async def allowed() -> None:
        with doubting() as event:
            while True:
                await next_look(event)
                still = await _bearer(asked.token, asked.address)
                if still is None:
                    return
                viewer.look_as(viewer.Viewer(still.user))
                if not set(rights) <= await client.rights_over(*thing):
                    return

    tasks = [asyncio.ensure_future(one()) for one in (out, into, allowed)]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
