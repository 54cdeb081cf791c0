"""One connection to a conmon's attach socket, with flow control in both directions.

Reading only what is asked for keeps the socket full, so conmon, and then the container, wait for a slow
consumer; a write waits while the container does not read. Nothing is polled and nothing is kept here but
one packet that belongs to the other stream. A terminal's flood is read in large pieces (see `Pace`). While
the terminal of a session is in our own hands (see `hold.py`) its bytes do not pass this socket.

The protocol: SOCK_SEQPACKET; each packet from conmon is a byte 2 (stdout, or the terminal) or 3 (stderr)
and up to 32 KiB of output; packets to conmon are raw input.
Spec: conmon 2.1, attach socket.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path

from runtime.api.errors import Conflict, Unavailable
from runtime.oci.hold import Hold
from runtime.oci.pace import Pace

STDOUT, STDERR = 1, 2
READ_BYTES = 128 << 10  # one read returns at most this and the rest of a packet
PACKET_BYTES = 64 << 10  # more than any packet conmon sends
WRITE_BYTES = 32 << 10  # conmon cuts longer packets

_STREAMS = {2: STDOUT, 3: STDERR}


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
        self.at_once: Callable[[bytes], bool] | None = None  # see `Stream` of the containers room
        self._sock = sock
        self._park = park
        self._loop = asyncio.get_running_loop()
        self._buffer = memoryview(bytearray(READ_BYTES + PACKET_BYTES))
        self._held: deque[tuple[int, bytes]] = deque()
        self._hold: Hold | None = None
        self._ended = False
        self._closed = False
        self._input_closed = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._gathering: asyncio.Future[None] | None = None
        self._pace = Pace()
        self._waiting_since = 0.0
        self._watched = False  # the loop watches for output

    async def read(self) -> tuple[int, bytes] | None:
        """Next output, (1 stdout | 2 stderr, bytes); None when the session ended or after `close`."""
        if self.tty and (pause_s := self._pace.pause_s()):
            await self._gather(pause_s)
        while not self._closed:
            if (output := self._receive()) is not None:
                self._pace.took(len(output[1]))
                return output
            if self._ended:
                self._pace.rest()
                return None
            self._waiting_since = self._loop.time()
            await self._readable()
            self._pace.waited(self._loop.time() - self._waiting_since)
        return None

    def hold(self, hold: Hold) -> None:
        """Read and write the terminal itself from now on, until its program has ended."""
        sent = list(iter(self._receive, None))  # by conmon, before it was stopped
        self._held.extend(sent)
        if self._ended:
            hold.give_back()
            return
        self._hold = hold
        self._loop.add_reader(hold.program, self._give_back)
        # Nothing comes from who stands still: conmon was killed, or somebody made it go on.
        self._loop.add_reader(self._sock, self._give_back)

    def resize(self, height: int, width: int) -> bool:
        """Set the size of a terminal that is in our hands; False when it is in conmon's."""
        if self._hold is None:
            return False
        self._hold.resize(height, width)
        return True

    def write_now(self, data: bytes) -> bool:
        """Pass input on to conmon without waiting; False when it could not be."""
        return self.write_some(data) > 0

    def write_some(self, data: bytes) -> int:
        """Pass input on without waiting: so many bytes of it. conmon takes all or none, a terminal a part."""
        if self._closed or self._input_closed or self._writer is not None or len(data) > WRITE_BYTES:
            return 0
        self._typed()
        try:
            return self._send(data)
        except OSError:
            return 0  # `write` finds out why

    async def write(self, data: bytes | memoryview, passed: Callable[[int], None] | None = None) -> None:
        """Pass input on; waits while the container does not read. Raises: Conflict when the input is gone.

        passed: told of each part, how many bytes, as soon as it was passed on.
        """
        rest = memoryview(data)
        self._typed()
        while rest:
            if self._closed or self._input_closed:
                raise Conflict("the input of this session is closed")
            try:
                count = self._send(rest[:WRITE_BYTES])
                rest = rest[count:]
                if passed is not None:
                    passed(count)
            except BlockingIOError:
                await self._writable()
            except OSError as error:
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
        self._unwatch()
        self._loop.remove_writer(self._source)
        if self._hold is not None:
            self._unhold().leave()
        self._pace.rest()
        for waiter in (self._reader, self._writer, self._gathering):
            if waiter is not None:
                _wake(waiter)
        if self._park is not None and not self._ended and not self._input_closed:
            self._park(self._sock)
        else:
            self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    def _receive(self) -> tuple[int, bytes] | None:
        """What is there without waiting, packets of one stream joined."""
        if self._held:
            return self._held.popleft()
        if self._hold is not None:
            return self._take(self._hold.terminal)
        # Each packet is read so that its first byte, the mark, lies over the last byte of what was read
        # before, which is then put back: packets join without being copied.
        stream, end, buffer = 0, 1, self._buffer
        while end <= READ_BYTES:
            last = buffer[end - 1]
            try:
                count = self._sock.recv_into(buffer[end - 1 :], PACKET_BYTES)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # Kernel: told once, for input conmon never read; its last output is still queued
            if count == 0:
                self._ended = True
                break
            mark = _STREAMS.get(buffer[end - 1], 0) if count > 1 else 0
            buffer[end - 1], packet_end = last, end - 1 + count
            if stream and mark and mark != stream:
                self._held.append((mark, bytes(buffer[end:packet_end])))
                break
            if mark:
                stream, end = mark, packet_end
        return (stream, bytes(buffer[1:end])) if stream else None

    def _take(self, terminal: int) -> tuple[int, bytes] | None:
        """What is there of a terminal without waiting. Kernel: one read gives a page at most."""
        end, buffer = 0, self._buffer
        try:
            while end < READ_BYTES and (count := os.readv(terminal, [buffer[end:]])):
                end += count
        except BlockingIOError:
            pass
        except OSError:  # Kernel: EIO, no program has it open any more
            self._give_back()
        return (STDOUT, bytes(buffer[:end])) if end else None

    def _send(self, data: bytes | memoryview) -> int:
        """Raises: OSError."""
        return self._sock.send(data) if self._hold is None else os.write(self._hold.terminal, data)

    def _give_back(self) -> None:
        """The program has ended, or conmon goes on: all there still is comes from it."""
        if self._hold is None:
            return
        self._unhold().give_back()
        for waiter in (self._reader, self._writer):
            if waiter is not None:
                _wake(waiter)

    def _unhold(self) -> Hold:
        hold, self._hold = self._hold, None
        assert hold is not None
        for fd in (hold.terminal, hold.program, self._sock.fileno()):
            self._loop.remove_reader(fd)
        self._loop.remove_writer(hold.terminal)
        self._watched = False
        return hold

    def _typed(self) -> None:
        """What is typed is answered at once."""
        self._pace.rest()
        if self._gathering is not None:
            _wake(self._gathering)

    async def _gather(self, pause_s: float) -> None:
        """Let output gather, until something is typed."""
        self._gathering = self._loop.create_future()
        timer = self._loop.call_later(pause_s, _wake, self._gathering)
        try:
            await self._gathering
        finally:
            self._gathering = None
            timer.cancel()

    async def _readable(self) -> None:
        """Wait for output; between two waits the loop keeps watching, which spares it two calls each time."""
        self._reader = self._loop.create_future()
        if not self._watched:
            self._loop.add_reader(self._source, self._output_is_there)
            self._watched = True
        try:
            await self._reader
        finally:
            self._reader = None

    def _output_is_there(self) -> None:
        if self._reader is not None and not self._reader.done():
            if self.at_once is None or not self._hand_over(self.at_once):
                self._reader.set_result(None)
        else:  # nobody takes it now
            self._unwatch()

    @property
    def _source(self) -> int:
        return self._sock.fileno() if self._hold is None else self._hold.terminal

    def _unwatch(self) -> None:
        if self._watched:
            self._loop.remove_reader(self._source)
            self._watched = False

    def _hand_over(self, take: Callable[[bytes], bool]) -> bool:
        """Give what is there away, as the waiting read goes on waiting; False when that has to take it."""
        if not self.tty or self._held:
            return False
        now = self._loop.time()
        self._pace.waited(now - self._waiting_since)
        if self._pace.pause_s() or (output := self._receive()) is None:
            return False
        if not take(output[1]):
            self._held.append(output)
            return False
        self._pace.took(len(output[1]))
        self._waiting_since = now
        return not self._ended

    async def _writable(self) -> None:
        self._writer = self._loop.create_future()
        target = self._source
        self._loop.add_writer(target, _wake, self._writer)
        try:
            await self._writer
        finally:
            self._writer = None
            if not self._closed and target == self._source:
                self._loop.remove_writer(target)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
