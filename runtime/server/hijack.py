"""The upgraded stream: an HTTP connection that has become a pipe, and the copying both ways.

Owns the connection from the moment the head of the answer is written until it is closed: half-close in both
directions, bounded buffers, a client that vanishes. Knows nothing of exec or attach, only a duplex stream.

Spec: Docker API 1.47, ContainerAttach "Hijacking".
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from runtime.api.frames import frame_header
from runtime.server.detach import DetachFilter

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

    from runtime.server.connection import Connection

INPUT_BYTES = 256 << 10  # from the client, not yet taken by the process
OUTPUT_BYTES = 256 << 10  # for the client, not yet taken by its socket
LINGER_S = 5.0  # for the client to close its side after we have ours
HEAD_S = 0.1  # for the client to read the head of the answer, before output follows it
HEAD_LOOK_S = 0.0005


class Duplex(Protocol):
    """What is copied to and from; attach and exec sessions are such (`Stream` of the containers room)."""

    at_once: Callable[[bytes], bool] | None

    async def read(self) -> tuple[int, bytes] | None: ...
    async def write(self, data: bytes) -> None: ...
    def write_now(self, data: bytes) -> bool: ...
    async def close_stdin(self) -> None: ...
    def close(self) -> None: ...


class Hijacked(web.StreamResponse):
    """Stands in for the response of a connection that was taken over: nothing more is sent."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self.force_close()
        return None

    async def write_eof(self, data: bytes | bytearray | memoryview = b"") -> None:
        return None


class Pipe(asyncio.Protocol):
    """The taken-over connection; it is read and written by one task each."""

    def __init__(self, connection: Connection, early: bytes) -> None:
        transport = connection.transport
        if transport is None:
            raise ConnectionResetError("the client left before the stream began")
        self._connection = connection
        self._transport: asyncio.Transport = transport
        self._input: deque[bytes] = deque([early] if early else ())
        self._input_bytes = len(early)
        self._reading_paused = False
        self._eof = connection.half_closed
        self._lost = False
        self._discard = False
        self._lingering: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._news = asyncio.Event()
        self._reading = False  # a read waits
        self.at_once: Callable[[bytes], bool] | None = None  # given input then; False: the read takes it
        transport.set_write_buffer_limits(high=OUTPUT_BYTES)
        transport.set_protocol(self)
        transport.resume_reading()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:
        if self._discard:
            return
        if self.at_once is not None and self._reading and not self._input and self.at_once(data):
            return
        self._input.append(data)
        self._input_bytes += len(data)
        if self._input_bytes > INPUT_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        self._eof = True
        self._news.set()
        if self._discard:
            self._transport.close()
        return True  # the client may still read

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._eof = True
        self._news.set()
        self._writable.set()
        if self._lingering is not None:
            self._lingering.cancel()
        self._connection.connection_lost(exc)

    # For the copying

    async def read(self) -> bytes:
        """Input as it came; empty when the client has closed its side."""
        while not self._input:
            if self._eof:
                return b""
            self._news.clear()
            self._reading = True
            try:
                await self._news.wait()
            finally:
                self._reading = False
        data = b"".join(self._input)
        self._input.clear()
        self._input_bytes = 0
        if self._reading_paused and not self._lost:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send; waits while the client does not read.

        Raises: ConnectionResetError when it has gone.
        """
        if self._lost:
            raise ConnectionResetError("the client left")
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    def write_now(self, data: bytes) -> bool:
        """Send; False when the client has to read first, or has gone."""
        if self._lost or not self._writable.is_set():
            return False
        self._transport.write(data)
        return True

    async def send_head(self, head: bytes) -> None:
        """Send the head of the answer, and let the client read it before anything follows.

        Race: some clients (the Docker SDK for Python) read the head through a buffer and the output past it,
        so that output which arrives together with the head is lost to them. Docker writes its head long
        before there is output; an engine that is quick has to look.
        Kernel: of a unix socket, SIOCOUTQ is what its peer has not read.
        """
        await self.write(head)
        fd = self._transport.get_extra_info("socket").fileno()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HEAD_S
        while not self._lost and _unread(fd) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(HEAD_LOOK_S)

    def finish(self, *, linger: bool = True) -> None:
        """Send what is buffered, close our side, and close the connection when the client has closed its own.

        Kernel: closing a unix socket with unread input makes the peer's reads fail with ECONNRESET, so input
        nobody wants is read and thrown away for a while. Without ``linger`` the client is told at once.
        """
        if self._lost:
            return
        if self._eof or not linger:
            self._transport.close()
            return
        self._discard = True
        self._input.clear()
        if self._reading_paused:
            self._transport.resume_reading()
        self._transport.write_eof()
        self._lingering = asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)


async def take_over(
    request: web.BaseRequest,
    connection: Connection,
    session: Duplex,
    *,
    headers: Mapping[str, str],
    framed: bool,
    stdin: bool,
    detach_keys: bytes = b"",
) -> bool:
    """Turn the request's connection into a pipe to ``session`` and copy until either side ends.

    ``framed`` marks stdout and stderr. The head is sent at once, also while the session has yet to begin.
    Returns True when the client typed the detach keys. Cancelling closes the session.
    """
    upgrade = "upgrade" in request.headers
    try:
        pipe = Pipe(connection, connection.take_early_bytes())
    except ConnectionResetError:
        session.close()
        return False
    status = "101 UPGRADED" if upgrade else f"200 {HTTPStatus.OK.phrase}"
    head = f"HTTP/1.1 {status}\r\n" + "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    if upgrade:
        head += "Connection: Upgrade\r\nUpgrade: tcp\r\n"
    detached = False
    try:
        await pipe.send_head(head.encode() + b"\r\n")
        keys = DetachFilter(detach_keys) if detach_keys else None
        detached = await _copy(pipe, connection, session, framed=framed, stdin=stdin, keys=keys)
    except ConnectionError:
        pass  # it left
    finally:
        session.close()
        pipe.finish(linger=not detached)
    return detached


def _unread(fd: int) -> int:
    """Bytes of this socket that its peer has not read; the kernel's book-keeping counts with them."""
    try:
        found: int = struct.unpack("i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0]
    except OSError:
        return 0  # closed, or another kind of socket
    return found


async def _copy(
    pipe: Pipe,
    connection: Connection,
    session: Duplex,
    *,
    framed: bool,
    stdin: bool,
    keys: DetachFilter | None,
) -> bool:
    output = asyncio.ensure_future(_to_client(pipe, session, framed))
    entry = asyncio.ensure_future(_to_process(pipe, session, keys) if stdin else _ignore(pipe))
    gone = asyncio.ensure_future(connection.gone.wait())
    try:
        await asyncio.wait({output, entry, gone}, return_when=asyncio.FIRST_COMPLETED)
        if entry.done() and not output.done() and not gone.done():
            if entry.result():
                return True
            await asyncio.wait({output, gone}, return_when=asyncio.FIRST_COMPLETED)
        if output.done():
            output.result()
        return False
    finally:
        for task in (output, entry, gone):
            task.cancel()
        await asyncio.gather(output, entry, gone, return_exceptions=True)


async def _to_client(pipe: Pipe, session: Duplex, framed: bool) -> None:
    if not framed:
        session.at_once = pipe.write_now
    while (item := await session.read()) is not None:
        source, data = item
        await pipe.write(frame_header(source, len(data)) + data if framed else data)


async def _to_process(pipe: Pipe, session: Duplex, keys: DetachFilter | None) -> bool:
    """Copy input until the client closes its side; True when it typed the detach keys.

    A process that has closed its stdin ends the copying, not the session: its output still counts.
    """

    def pass_on(data: bytes) -> bool:
        return (keys is None or keys.passes(data)) and session.write_now(data)

    pipe.at_once = pass_on
    try:
        while data := await pipe.read():
            detached = False
            if keys is not None:
                data, detached = keys.feed(data)
            if data:
                await session.write(data)
            if detached:
                return True
        await session.close_stdin()
    except ConnectionError:
        pipe.at_once = None
        await _ignore(pipe)
    return False


async def _ignore(pipe: Pipe) -> bool:
    while await pipe.read():
        pass
    return False
