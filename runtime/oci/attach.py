"""One connection to a conmon's attach socket, with flow control in both directions.

Reading only what is asked for keeps the socket full, so conmon, and then the container, wait for a slow
consumer; a write waits while the container does not read. Nothing is polled and nothing is kept here but
one packet that belongs to the other stream.

The protocol: SOCK_SEQPACKET; each packet from conmon is a byte 2 (stdout, or the terminal) or 3 (stderr)
and up to 32 KiB of output; packets to conmon are raw input.
Spec: conmon 2.1, attach socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from runtime.api.errors import Conflict, Unavailable

STDOUT, STDERR = 1, 2
READ_BYTES = 64 << 10  # one read returns at most this and the rest of a packet
PACKET_BYTES = 64 << 10  # more than any packet conmon sends
WRITE_BYTES = 32 << 10  # conmon cuts longer packets

_STREAMS = {2: STDOUT, 3: STDERR}


def parse_packet(packet: bytes | memoryview) -> tuple[int, bytes] | None:
    """A packet as (1 stdout | 2 stderr, bytes); None for an unknown or empty one."""
    stream = _STREAMS.get(packet[0]) if len(packet) > 1 else None
    return None if stream is None else (stream, bytes(packet[1:]))


def connect(dir: Path) -> socket.socket:
    """A connected, non-blocking socket; the path may be longer than a socket address can hold.

    Raises: Conflict when no conmon listens there, Unavailable when it is too busy to listen.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        fd = os.open(dir, os.O_PATH | os.O_DIRECTORY)
        try:
            sock.connect(f"/proc/self/fd/{fd}/attach")
        finally:
            os.close(fd)
    except BlockingIOError as error:
        sock.close()
        raise Unavailable(f"too many clients wait to attach in {dir}") from error
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError) as error:
        sock.close()
        raise Conflict(f"nothing to attach to in {dir}: the session has ended") from error
    except BaseException:
        sock.close()
        raise
    return sock


class ConmonStream:
    """One attacher's duplex stream (`Stream` of the containers room); one reader and one writer at a time."""

    def __init__(
        self, sock: socket.socket, *, tty: bool, park: Callable[[socket.socket], None] | None
    ) -> None:
        """park: takes the socket on close instead of closing it (see `Conmon.attach`)."""
        self.tty = tty
        self._sock = sock
        self._park = park
        self._loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(PACKET_BYTES))
        self._held: tuple[int, bytes] | None = None
        self._ended = False
        self._closed = False
        self._input_closed = False
        self._waiting: set[asyncio.Future[None]] = set()

    async def read(self) -> tuple[int, bytes] | None:
        """Next output, (1 stdout | 2 stderr, bytes); None when the session ended or after `close`."""
        while not self._closed:
            if (output := self._receive()) is not None:
                return output
            if self._ended:
                return None
            await self._ready(self._loop.add_reader, self._loop.remove_reader)
        return None

    async def write(self, data: bytes | memoryview) -> None:
        """Pass input on; waits while the container does not read. Raises: Conflict when the input is gone."""
        rest = memoryview(data)
        while rest:
            if self._closed or self._input_closed:
                raise Conflict("the input of this session is closed")
            try:
                rest = rest[self._sock.send(rest[:WRITE_BYTES]) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer)
            except (BrokenPipeError, ConnectionResetError) as error:
                self._input_closed = True
                raise Conflict("the input of this session is closed") from error

    async def close_stdin(self) -> None:
        """Half-close: output goes on; the program sees end of file if its input is to end with its client."""
        if self._closed or self._input_closed:
            return
        self._input_closed = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the session has ended already

    def close(self) -> None:
        """Detach, never kill; idempotent. A waiting read returns None, a waiting write raises."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        if self._park is not None and not self._ended and not self._input_closed:
            self._park(self._sock)
        else:
            self._sock.close()

    def _receive(self) -> tuple[int, bytes] | None:
        """What is there without waiting, packets of one stream joined."""
        if self._held is not None:
            held, self._held = self._held, None
            return held
        stream, parts, size = 0, [], 0
        while size < READ_BYTES:
            try:
                count = self._sock.recv_into(self._buffer)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # Kernel: told once, for input conmon never read; its last output is still queued
            if count == 0:
                self._ended = True
                break
            if (output := parse_packet(self._buffer[:count])) is None:
                continue
            if stream and output[0] != stream:
                self._held = output
                break
            stream = output[0]
            parts.append(output[1])
            size += count
        return (stream, b"".join(parts)) if parts else None

    async def _ready(
        self,
        add: Callable[[socket.socket, Callable[[], None]], None],
        remove: Callable[[socket.socket], bool],
    ) -> None:
        waiter: asyncio.Future[None] = self._loop.create_future()

        def wake() -> None:
            remove(self._sock)
            if not waiter.done():
                waiter.set_result(None)

        add(self._sock, wake)
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)
            if not self._closed:
                remove(self._sock)
