"""The base of every websocket: who may, how it ends, and whose the tasks are. Knows no page.

One socket is one coroutine with a task group: a reader, a guard that asks for the rights again, and what the
subclass adds. Nothing here touches the database or a channel layer while data flows.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from urllib.parse import parse_qs

from channels.layers import get_channel_layer
from django.conf import settings
from django.utils import translation

from runtime.api.errors import EngineError, EngineUnreachable, NotFound, Unavailable
from webdock.engines.audit import Actor, scope_address
from webdock.engines.direct import EXTENSION, Direct
from webdock.engines.hints import group
from webdock.engines.wording import explain
from webdock.people import holding, sockets, viewer

CLOSE_RESTART = 1012  # the web process goes; come back
CLOSE_FAILED = 1011
CLOSE_LOGIN = 4401
CLOSE_FORBIDDEN = 4403
CLOSE_GONE = 4404
CLOSE_STATE = 4409
CLOSE_SLOW = 4429
CLOSE_ENGINE = 4503

SOCKETS_MAX = 200  # of one person in this process
TEXT_MAX_CHARS = 64 * 1024  # one control message
REASON_MAX_BYTES = 123  # RFC 6455 5.5: 125 bytes with the code

logger = logging.getLogger("webdock.engines")

_open: Counter[int] = Counter()  # sockets by person

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class Closed(Exception):
    """Ends the socket with this code and reason; raised anywhere inside it."""

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Gone(Exception):
    """The browser left; nothing can be sent any more."""


class SocketConsumer:
    """One websocket. Subclasses give ``right``, ``run`` and ``receive_text`` / ``receive_bytes``."""

    right: str  # asked at the door, every few seconds, and whenever something about people changed

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope = scope
        self._transmit = send
        self.direct: Direct | None = scope.get("extensions", {}).get(EXTENSION)  # None: the server has none
        self.kwargs: dict[str, Any] = scope.get("url_route", {}).get("kwargs", {})
        self.query = {
            key: values[-1]
            for key, values in parse_qs(scope.get("query_string", b"").decode("latin-1")).items()
        }
        self.session_key = sockets.session_key(scope)
        self.user: sockets.Person
        self.viewer: viewer.Viewer
        self.thing: sockets.Thing = None  # the one thing it is about: the right is asked over that
        self.actor: Actor
        self.tasks: asyncio.TaskGroup
        self._counted = False
        self.prepare()

    @classmethod
    def as_asgi(cls) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        """The ASGI application of this consumer, for the routing table."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await cls(scope, send)._serve(receive)

        application.consumer_class = cls  # type: ignore[attr-defined]
        return application

    # For subclasses

    def prepare(self) -> None:
        """Set up what messages touch: the browser may talk before ``run`` has begun."""

    async def run(self) -> None:
        """What the socket does once its holder is known; the socket stays open after it returns."""

    async def receive_text(self, message: dict[str, Any]) -> None:
        """A control message; return at once, as the next one waits."""

    async def receive_bytes(self, data: bytes) -> None:
        """A binary frame; return at once."""

    async def send_json(self, message: dict[str, Any]) -> None:
        await self._transmit(
            {"type": "websocket.send", "text": json.dumps(message, ensure_ascii=False, separators=(",", ":"))}
        )

    async def send_bytes(self, data: bytes) -> None:
        await self._transmit({"type": "websocket.send", "bytes": data})

    # The frame around it

    async def _serve(self, receive: Receive) -> None:
        first = await receive()
        if first["type"] != "websocket.connect":
            return
        await self._transmit({"type": "websocket.accept"})  # accept first: a refusal then carries its code
        code, reason = 1000, ""
        try:
            code, reason = await self._hold(receive)
        except asyncio.CancelledError:
            await self._close(CLOSE_RESTART, "")
            raise
        if code:
            await self._close(code, reason)

    async def _hold(self, receive: Receive) -> tuple[int, str]:
        """Run the socket to its end; (0, "") when the browser left."""
        try:
            with translation.override(self._language()):
                await self._admit()
                viewer.look_as(self.viewer)
                async with asyncio.TaskGroup() as self.tasks:
                    self.tasks.create_task(self._hear(receive), name="read")
                    self.tasks.create_task(self._guard(), name="guard")
                    await self.run()
        except BaseExceptionGroup as errors:
            return self._ending(_flat(errors))
        except Exception as error:  # consumer entry: log the id, answer with a code
            return self._ending([error])
        finally:
            if self._counted:
                _open[self.user.pk] -= 1
        return 1000, ""

    def _ending(self, errors: list[BaseException]) -> tuple[int, str]:
        """The close code for what ended the socket."""
        if any(isinstance(error, asyncio.CancelledError) for error in errors):
            raise asyncio.CancelledError
        for error in errors:
            if isinstance(error, Closed):
                return error.code, error.reason
        for error in errors:
            if isinstance(error, Gone):
                return 0, ""
            if isinstance(error, EngineUnreachable | Unavailable):
                return CLOSE_ENGINE, explain(error)
            if isinstance(error, NotFound):
                return CLOSE_GONE, explain(error)
            if isinstance(error, EngineError):
                return CLOSE_STATE, explain(error)
        logger.error("websocket %s failed", self.scope.get("path"), exc_info=errors[0])
        return CLOSE_FAILED, ""

    async def _close(self, code: int, reason: str) -> None:
        cut = reason.encode()[:REASON_MAX_BYTES].decode(errors="ignore")
        await self._transmit({"type": "websocket.close", "code": code, "reason": cut})

    async def _admit(self) -> None:
        if not sockets.same_origin(self.scope):
            raise Closed(CLOSE_FORBIDDEN, "another site's page")
        if "container" in self.kwargs:
            self.thing = "container", self.kwargs["container"]
        answer = await sockets.admit(self.session_key, self.right, self.thing, fresh=True)
        self._judge(answer)
        self.user = answer.user
        self.viewer = viewer.Viewer(answer.user)
        _open[answer.user.pk] += 1
        self._counted = True
        if _open[answer.user.pk] > SOCKETS_MAX:
            raise Closed(CLOSE_SLOW, "too many sockets are open")
        self.actor = Actor(answer.user.pk, answer.user.get_username(), scope_address(self.scope))

    async def narrow(self, right: str, thing: sockets.Thing) -> None:
        """Hold the socket on this right over this thing from now on.

        Raises: Closed when the person lacks it.
        """
        self.right, self.thing = right, thing
        self._judge(await sockets.admit(self.session_key, right, thing, fresh=True))

    async def _guard(self) -> None:
        with holding.doubting() as doubt:
            while True:
                await holding.next_look(doubt)
                answer = await sockets.admit(self.session_key, self.right, self.thing)
                if answer.user.pk != self.user.pk:
                    raise Closed(CLOSE_LOGIN)
                self._judge(answer)
                self.user = self.viewer.user = answer.user  # what else they may do can have changed

    def _judge(self, answer: sockets.Admission) -> None:
        """Raises: Closed unless this person may hold the socket."""
        if not answer.user.is_authenticated:
            raise Closed(CLOSE_LOGIN)
        if answer.hidden:
            raise Closed(CLOSE_GONE)
        if not answer.allowed:
            raise Closed(CLOSE_FORBIDDEN)

    async def _hear(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                raise Gone
            data, text = message.get("bytes"), message.get("text")
            if data:
                await self.receive_bytes(data)
            elif text:
                if len(text) > TEXT_MAX_CHARS:
                    raise Closed(CLOSE_FAILED, "control message too long")
                try:
                    control = json.loads(text)
                except (ValueError, RecursionError):
                    continue
                if isinstance(control, dict) and control.get("type") == "ping":
                    await self.send_json({"type": "pong"})  # a page cannot see the pings of the protocol
                elif isinstance(control, dict):
                    await self.receive_text(control)

    def _language(self) -> str:
        """The language of the page that opened the socket."""
        for part in sockets.header(self.scope, b"cookie").split(";"):
            key, _, value = part.strip().partition("=")
            if key == settings.LANGUAGE_COOKIE_NAME and translation.check_for_language(value):
                return value
        for part in sockets.header(self.scope, b"accept-language").split(","):
            try:
                return translation.get_supported_language_variant(part.split(";")[0].strip())
            except LookupError:
                continue
        return settings.LANGUAGE_CODE


class HintedConsumer(SocketConsumer):
    """A socket that is woken by hints of some kinds, and every few seconds without one."""

    hint_kinds: ClassVar[tuple[str, ...]]

    async def listen(self, wake: Callable[[str], None]) -> None:
        """Call ``wake(kind)`` for each hint until cancelled. Hints may be lost."""
        layer = get_channel_layer()
        name = await layer.new_channel()
        try:
            for kind in self.hint_kinds:
                await layer.group_add(group(kind), name)
            while True:
                message = await layer.receive(name)
                wake(message["kind"])
        finally:
            for kind in self.hint_kinds:
                await layer.group_discard(group(kind), name)


def _flat(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The single errors of a group, outer ones first."""
    found: list[BaseException] = []
    for error in errors.exceptions:
        found += _flat(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def whole(value: object, minimum: int, maximum: int, default: int) -> int:
    """A whole number from a browser, kept inside its bounds; the default when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return default
    try:
        return min(max(int(value), minimum), maximum)
    except ValueError:
        return default
