"""The web process: Daphne for pages and websockets, the sync of every engine on its event loop.

Owns start and stop. Daphne has no lifespan, so its ``ready_callable`` starts the tasks; on SIGTERM the
listening ends first, websockets are closed with 1012 (come back), jobs and the sync end, then the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from webdock.bodies import PIECE_BYTES, MappedBody
from webdock.heap import settle

PING_TIMEOUT_S = 30
MESSAGE_MAX_BYTES = 1 << 20
STOP_TIMEOUT_S = 4.0  # for the sockets and tasks, all together
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.5, 30.0

SERVER_NAME = "webdock"

BODY_MAX_BYTES = 4 << 20  # of a form
UPLOAD_BODY_MAX_BYTES = 257 << 20  # of a form with a file for a container or volume
RESTORE_BODY_MAX_BYTES = 1025 << 20  # of one with an archive for a volume, and of a client's archive
API_ARCHIVES = (b"/archive", b"/images/load", b"/images/create")  # docker cp, load and import
TOO_LONG = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nContent-Length: 22\r\n"
    b"Connection: close\r\n\r\nThis body is too long\n"
)

logger = logging.getLogger("webdock.web")


def body_limit(path: bytes) -> int:
    """How long the body of a request to this path may be; pure."""
    path = path.partition(b"?")[0]
    if b"/volumes/" in path and path.endswith(b"/restore/"):
        return RESTORE_BODY_MAX_BYTES
    if b"/api/" in path and path.endswith(API_ARCHIVES):
        return RESTORE_BODY_MAX_BYTES
    return UPLOAD_BODY_MAX_BYTES if path.endswith(b"/files/upload/") else BODY_MAX_BYTES


def endpoint(listen: str) -> str:
    """ "127.0.0.1:8000", "[::1]:8000", ":8000" or "unix:/path" as Twisted describes it.

    Raises: ValueError when it is none of these.
    """
    from webdock.environ import split_listen

    if listen.startswith("unix:"):
        return f"unix:{_quoted(listen.removeprefix('unix:').removeprefix('//'))}:mode=660"
    host, port = split_listen(listen)
    return f"tcp:{port}:interface={_quoted(host or '0.0.0.0')}"  # noqa: S104 - asked for by ":port"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")


async def supervised(work: Callable[[], Awaitable[None]], name: str) -> None:
    """Run it again, a little later each time, whenever it ends; until cancelled."""
    backoff_s = BACKOFF_FIRST_S
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        try:
            await work()
            logger.error("%s ended by itself", name)
        except Exception:  # process entry: log and go on
            logger.exception("%s failed", name)
        if loop.time() - began > BACKOFF_MAX_S:
            backoff_s = BACKOFF_FIRST_S
        await asyncio.sleep(backoff_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries
        backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)


def run(listen: str | None = None, *, on_ready: Callable[[str], None] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. ``on_ready`` is called with the URL once it listens."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webdock.settings")
    from daphne import http_protocol
    from daphne.server import Server, twisted_loop  # first: it installs the reactor
    from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

    from webdock.asgi import application
    from webdock.engines.direct import EXTENSION, Direct
    from webdock.engines.middleware import Kept, kept
    from webdock.frames import binary_head, send_now, short_message
    from webdock.people import api_streams

    asyncio.set_event_loop(twisted_loop)
    from django.conf import settings

    where = listen or settings.WEBDOCK_LISTEN
    state: dict[str, Any] = {"status": 0}

    class Request(http_protocol.WebRequest):  # type: ignore[misc]
        """Daphne and Django take in a body whole before anybody looks at it: too long ones are cut here.

        Twisted keeps what a slow browser has not taken in memory: an answer in pieces waits for it here.
        """

        received, limit, refused = 0, BODY_MAX_BYTES, False
        flows: asyncio.Event | None = None  # set while the connection takes more

        def handle_reply(self, message: dict[str, Any]) -> None:
            starts = message.get("type") == "http.response.start" and self.flows is None
            if starts and not self.finished and self.channel is not None:
                self.flows = asyncio.Event()
                self.flows.set()
                self.registerProducer(self, True)
            super().handle_reply(message)

        async def drained(self) -> None:
            """Wait until the browser has taken most of what was written, or left."""
            if self.flows is not None:
                await self.flows.wait()

        def pauseProducing(self) -> None:
            self.flows.clear()

        def resumeProducing(self) -> None:
            self.flows.set()

        stopProducing = resumeProducing

        def finish(self) -> None:
            if self.flows is not None and not self.finished and self.channel is not None:
                self.unregisterProducer()
            super().finish()

        def connectionLost(self, reason: Any) -> None:
            if self.flows is not None:
                self.flows.set()
            super().connectionLost(reason)

        def gotLength(self, length: int | None) -> None:
            self.limit = body_limit(self.channel._path)
            self._parsePOSTFormSubmission = False  # Twisted would read forms into memory, for nobody
            if length is not None and length > self.limit:
                self.refuse()
                length = 0
            super().gotLength(length)

        def handleContentChunk(self, data: bytes) -> None:
            self.received += len(data)
            if self.received > self.limit:
                self.refuse()
            elif not self.refused:
                super().handleContentChunk(data)

        def process(self) -> None:
            if self.refused:
                return
            headers = {
                name.decode("latin-1").lower(): values[-1].decode("latin-1")
                for name, values in self.requestHeaders.getAllRawHeaders()
            }
            if (file := kept(self.method, self.path_below, headers)) is not None:
                self.tell(file)
                return
            if api_streams.wanted(self.method, self.uri, headers):
                self.content.seek(0)
                api_streams.begin(self, headers)
                return
            if self.received and not isinstance(self.content, io.BytesIO):
                self.content = MappedBody(self.content)
            super().process()

        @property
        def path_below(self) -> str:
            """The path without the prefix that a proxy may have left on it."""
            return self.path.decode("latin-1").removeprefix(settings.FORCE_SCRIPT_NAME or "")

        def tell(self, file: Kept) -> None:
            """Answer with a file as it was answered before."""
            for name, value in file.headers:
                self.responseHeaders.addRawHeader(name, value)
            self.setHeader(b"server", SERVER_NAME.encode())
            self.write(file.body)
            self.finish()

        def handle_exception(self, exception: BaseException) -> None:
            """An answer that began and cannot be finished is cut off: nobody shall take it for whole."""
            if self._response_started and self.channel is not None:
                self.channel.transport.abortConnection()
            else:
                super().handle_exception(exception)

        def refuse(self) -> None:
            if not self.refused:
                self.refused = True
                self.channel.transport.write(TOO_LONG)
                self.channel.loseConnection()

    http_protocol.WebRequest = Request

    class Socket(WebSocketProtocol):  # type: ignore[misc]
        direct: Direct | None = None

        def handle_reply(self, message: dict[str, Any]) -> None:
            """Close with any code, 1012 as well, and a reason: Daphne knows neither. Send bytes at once."""
            data = message.get("bytes")
            if data and self.state == self.STATE_OPEN:
                self.send_binary(data)
            elif message.get("type") == "websocket.close" and self.state != self.STATE_CONNECTING:
                reason = message.get("reason", "").encode()
                self.sendCloseFrame(code=message.get("code", 1000), reasonUtf8=reason)
            else:
                super().handle_reply(message)

        def send_binary(self, data: bytes) -> None:
            if self.state != self.STATE_OPEN:
                return
            if self.send_queue:
                self.sendMessage(data, True)
            else:
                send_now(self.transport, binary_head(len(data)) + data)

        def dataReceived(self, data: bytes) -> None:
            """Short messages go straight to a consumer that takes them, the others through Autobahn."""
            while (
                self.direct is not None
                and self.direct.take is not None
                and self.state == self.STATE_OPEN
                and not (self.data or self.current_frame or self.inside_message or self.muted)
                and self.application_queue.empty()
                and (found := short_message(data)) is not None
            ):
                message, binary, end = found
                try:
                    if not self.direct.take(message if binary else message.decode()):
                        break
                except UnicodeDecodeError:
                    break
                self.last_ping = time.time()
                data = data[end:]
            if data:
                super().dataReceived(data)

    WebSocketFactory.protocol = Socket

    class WebServer(Server):  # type: ignore[misc]
        def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
            if scope["type"] == "websocket":
                protocol.direct = Direct(protocol.send_binary)
                scope["extensions"] = {EXTENSION: protocol.direct}
            return super().create_application(protocol, scope)

        async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
            await super().handle_reply(protocol, message)
            if message.get("more_body"):
                await protocol.drained()

        def listen_success(self, port: Any) -> None:
            super().listen_success(port)
            self.ports = [*getattr(self, "ports", ()), port]
            url = _url(where, port)
            logger.info("listening on %s", url)
            if on_ready is not None:
                on_ready(url)

        def listen_error(self, failure: Any) -> None:
            logger.critical("cannot listen on %s: %s", where, failure.getErrorMessage())
            state["status"] = 1
            self.stop()

        def kill_all_applications(self) -> None:
            """Ours were ended by ``_stop`` before the reactor was told to go."""

    server = WebServer(
        application=application,
        endpoints=[endpoint(where)],
        signal_handlers=False,
        request_buffer_size=PIECE_BYTES,
        ready_callable=lambda: _ready(server, state),
        ping_interval=settings.PING_S,
        ping_timeout=PING_TIMEOUT_S,
        websocket_timeout=-1,  # a page may stay open for weeks
        websocket_max_message_size=MESSAGE_MAX_BYTES,
        websocket_max_frame_size=MESSAGE_MAX_BYTES,
        application_close_timeout=10,
        server_name=SERVER_NAME,
        verbosity=0,
    )
    server.run()
    return int(state["status"])


def _url(listen: str, port: Any) -> str:
    if listen.startswith("unix:"):
        return listen
    address = port.getHost()
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{host}:{address.port}"


def _ready(server: Any, state: dict[str, Any]) -> None:
    """On the loop, before it runs: start what belongs to the process."""
    from containers_app.histories import histories
    from containers_app.reaper import reap
    from containers_app.recreations import resume
    from webdock.engines.host import host
    from webdock.engines.sync import supervise
    from webdock.jobs.watch import watch
    from webdock.people.cleanup import clean

    settle()
    loop = asyncio.get_event_loop()
    state["tasks"] = [
        loop.create_task(supervised(work, name), name=name)
        for name, work in (
            ("sync", supervise),
            ("host", host.run),
            ("reaper", reap),
            ("cleanup", clean),
            ("jobs", watch),
            ("recreations", resume),
            ("histories", histories.run),
        )
    ]

    def asked_to_stop() -> None:
        if "stopping" not in state:
            state["stopping"] = loop.create_task(_stop(server, state), name="stop")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop)


async def _stop(server: Any, state: dict[str, Any]) -> None:
    """Stop listening, end the sockets and tasks, then the loop."""
    from containers_app.terminal_hub import close_hubs
    from webdock.engines.clients import close_clients
    from webdock.jobs.running import board
    from webdock.people.api_streams import running as api_streams

    logger.info("stopping")
    try:
        for port in getattr(server, "ports", ()):
            port.stopListening()
        running = [
            details["application_instance"]
            for details in server.connections.values()
            if "application_instance" in details and not details["application_instance"].done()
        ]
        running += api_streams()
        for task in (*running, *state["tasks"]):
            task.cancel()
        await _ended([*running, *state["tasks"]])
        loop = asyncio.get_running_loop()
        await _ended([loop.create_task(close_hubs())])
        await _ended([loop.create_task(board().close()), loop.create_task(close_clients())])
        await asyncio.sleep(0.05)  # the close frames leave before the loop ends
    except Exception:  # process entry: whatever fails here, the process ends
        logger.exception("stopping failed; the rest is cut off")
    finally:
        with contextlib.suppress(Exception):
            from django.db import connections

            connections.close_all()
        server.stop()


async def _ended(tasks: list[asyncio.Task[Any]]) -> None:
    """Wait for tasks that were told to end, but not for ever: one of them may have missed it."""
    if not tasks:
        return
    _, left = await asyncio.wait(tasks, timeout=STOP_TIMEOUT_S / 2)
    for task in left:
        logger.warning("%s does not end and is cut off", task.get_name())
