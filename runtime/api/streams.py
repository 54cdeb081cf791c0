"""The streams an EngineClient hands out: duplex ones of attach and exec, JSON documents, logs, plain bytes.

Owns one connection each and gives it back (or cuts it) in ``close``. Never buffers more than one read:
a reader that stops reading makes the engine stop sending.

Spec: Docker API 1.47, ContainerAttach "Hijacking" and "Stream format".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from runtime.api.errors import EngineUnreachable
from runtime.api.frames import STDOUT, FrameDecoder, LineDecoder

if TYPE_CHECKING:
    from aiohttp import ClientResponse

READ_BYTES = 128 << 10  # taken from a connection at once
BUFFER_BYTES = 256 << 10  # read ahead of who takes it

T = TypeVar("T")


class Place(NamedTuple):
    """Where a kept terminal session is, counted from its start, when somebody takes it up."""

    end: int  # bytes written, at the end of what is told of the past
    exact: int  # as many bytes at the end of the past are as they were written
    typed: int  # bytes that have reached the session

    def header(self) -> str:
        return f"{self.end} {self.exact} {self.typed}"

    @classmethod
    def parse(cls, header: str) -> Place | None:
        words = header.split()
        if len(words) != 3 or not all(word.isdecimal() and len(word) < 20 for word in words):
            return None
        return cls(*map(int, words))


class Inlet(asyncio.StreamReader):
    """A reader whose bytes can be given away as they come, instead of being kept for the next read."""

    at_once: Callable[[bytes], bool] | None = None  # asked while a read waits; False: that takes them
    waits = False

    def feed_data(self, data: Any) -> None:
        if self.waits and self.at_once is not None and self.at_once(data):
            return
        self.waits = False
        super().feed_data(data)

    @classmethod
    async def connect(
        cls, make: Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[asyncio.Transport, object]]]
    ) -> tuple[Inlet, asyncio.StreamWriter]:
        """make: the loop's function that connects, with all but the protocol. Raises: OSError."""
        loop = asyncio.get_running_loop()
        reader = cls(limit=BUFFER_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await make(lambda: protocol)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


class ClientStream:
    """One attach or exec session: what the process writes comes out of ``read``, ``write`` is its stdin."""

    def __init__(
        self,
        reader: Inlet,
        writer: asyncio.StreamWriter,
        *,
        tty: bool,
        first: bytes = b"",
        past: int = 0,
        place: Place | None = None,
        content_type: str = "",
    ) -> None:
        """past: so many bytes of output come first that were written before."""
        self.past = past
        self.place = place
        self.content_type = content_type
        self.tty = tty
        self._reader = reader
        self._writer = writer
        self._decoder = None if tty else FrameDecoder()
        self._ready: deque[tuple[int, bytes]] = deque()
        if first:
            self._take(first)

    def _take(self, data: bytes) -> None:
        if self._decoder is None:
            self._ready.append((STDOUT, data))
        else:
            self._ready.extend(self._decoder.feed(data))

    async def read(self) -> tuple[int, bytes] | None:
        """The next (1 stdout | 2 stderr, bytes); None when the session ended. With a TTY everything is 1.

        Cancelling loses nothing.
        """
        while not self._ready:
            self._reader.waits = self._decoder is None
            try:
                data = await self._reader.read(READ_BYTES)
            except (ConnectionError, OSError) as error:
                raise EngineUnreachable(f"the stream broke: {error}") from None
            finally:
                self._reader.waits = False
            if not data:
                self._writer.close()
                if self._decoder is not None:
                    self._decoder.end()
                return None
            self._take(data)
        return self._ready.popleft()

    async def read_past(self) -> bytes:
        """The output that was written before, which comes first; less of it when the session ended."""
        past = bytearray()
        while len(past) < self.past and (piece := await self.read()) is not None:
            past += piece[1]
            if len(past) > self.past:
                self._ready.appendleft((piece[0], bytes(past[self.past :])))
                del past[self.past :]
        self.past = 0
        return bytes(past)

    def hand_over(self, take: Callable[[bytes], bool]) -> None:
        """A terminal's output is given to ``take`` as soon as it is there while a read waits.

        The read then goes on waiting; when ``take`` returns False, the read returns it.
        """
        self._reader.at_once = take

    async def write(self, data: bytes) -> None:
        """Send to the process's stdin; waits while it does not read."""
        try:
            self._writer.write(data)
            await self._writer.drain()
        except (ConnectionError, OSError, RuntimeError) as error:
            raise EngineUnreachable(f"the stream broke: {error}") from None

    def send(self, data: bytes) -> bool:
        """Send to the process's stdin without waiting; False when what was sent before has to go first."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(data)
        return True

    async def close_stdin(self) -> None:
        """Tell the process that nothing more comes; output keeps flowing. Over TLS nothing happens."""
        if self._writer.can_write_eof() and not self._writer.is_closing():
            try:
                self._writer.write_eof()
            except OSError as error:
                raise EngineUnreachable(f"the stream broke: {error}") from None

    def close(self) -> None:
        """Leave the session; the process is not told to end."""
        self._writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _ResponseStream(Generic[T]):
    """An answer read piece by piece; opened by ``open``, ``async with`` or the first ``async for``."""

    def __init__(self, start: Callable[[], Awaitable[ClientResponse]]) -> None:
        self.start = start
        self._response: ClientResponse | None = None
        self._ready: deque[T] = deque()
        self._ended = False

    def _decode(self, data: bytes) -> list[T]:
        raise NotImplementedError

    def _decode_end(self) -> list[T]:
        return []

    async def open(self) -> Self:
        """Send the request and wait for the head of the answer; refusals are raised here.

        Raises: what the engine answers.
        """
        if self._response is None and not self._ended:
            self._response = await self.start()
        return self

    @property
    def headers(self) -> dict[str, str]:
        """The answer's headers, lower case, once it is open."""
        return {} if self._response is None else {k.lower(): v for k, v in self._response.headers.items()}

    def close(self) -> None:
        """Stop reading; the engine notices, and a pull is cancelled by it."""
        self._ended = True
        self._ready.clear()
        if self._response is not None:
            self._response.close()

    async def aclose(self) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        import aiohttp

        await self.open()
        while not self._ready:
            if self._ended or self._response is None:
                raise StopAsyncIteration
            try:
                data = await self._response.content.readany()
            except (aiohttp.ClientError, ConnectionError, OSError, TimeoutError) as error:
                self.close()
                raise EngineUnreachable(f"the engine stopped in the middle of an answer: {error}") from None
            if data:
                self._ready.extend(self._decode(data))
            elif self._response.content.at_eof():
                self._ended = True
                self._response.release()
                self._ready.extend(self._decode_end())
        return self._ready.popleft()


class JsonStream(_ResponseStream[dict[str, Any]]):
    """JSON documents as they come: events, stats, progress of pull, push, load and import."""

    def __init__(self, start: Callable[[], Awaitable[ClientResponse]]) -> None:
        super().__init__(start)
        self._decoder = LineDecoder()

    def _decode(self, data: bytes) -> list[dict[str, Any]]:
        return self._decoder.feed(data)

    def _decode_end(self) -> list[dict[str, Any]]:
        return self._decoder.end()


class ByteStream(_ResponseStream[bytes]):
    """Bytes as they come: export, save, archives."""

    def _decode(self, data: bytes) -> list[bytes]:
        return [data]


class LogStream(_ResponseStream[tuple[int, bytes]]):
    """Log output as (1 stdout | 2 stderr, bytes) as it comes; not cut at line ends."""

    def __init__(
        self, start: Callable[[], Awaitable[ClientResponse]], tty: Callable[[ClientResponse], Awaitable[bool]]
    ) -> None:
        super().__init__(start)
        self._is_tty = tty
        self._decoder: FrameDecoder | None = None

    async def open(self) -> Self:
        if self._response is None and not self._ended:
            await super().open()
            if self._response is not None and not await self._is_tty(self._response):
                self._decoder = FrameDecoder()
        return self

    def _decode(self, data: bytes) -> list[tuple[int, bytes]]:
        return [(STDOUT, data)] if self._decoder is None else self._decoder.feed(data)
