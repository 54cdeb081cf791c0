"""A connection taken from the web server after the head of a request: bytes both ways, each end by itself.

Daphne and ASGI know no upgrade but websockets; ``docker attach`` and ``docker exec`` ask for
``Upgrade: tcp``. Knows nothing of what is carried.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol
from zope.interface import implementer

INPUT_BYTES = 256 << 10  # from the client, not yet taken: then it is read no more


@implementer(IHalfCloseableProtocol, IPushProducer)
class Taken(Protocol):  # type: ignore[misc]
    """The client's side of the stream."""

    def __init__(self) -> None:
        self._input: deque[bytes] = deque()
        self._held = 0
        self._paused = self._ended = False
        self.gone = asyncio.Event()  # the client is
        self.begun = False  # the answer's head was sent, and the stream follows
        self._news = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()

    def take(self, request: Any) -> None:
        """Take the connection of a request whose body has come; what came after it is read first."""
        transport, request.transport = request.transport, None
        request.server.protocol_disconnected(request)
        transport.protocol = self
        self._channel = request.channel
        self.makeConnection(transport)
        transport.unregisterProducer()
        transport.registerProducer(self, True)
        transport.resumeProducing()

    def early(self) -> None:
        """What the server read beyond the body; to be called once its own reading has returned."""
        left, self._channel._dataBuffer = self._channel._dataBuffer, []
        for data in filter(None, reversed(left)):  # nothing would be the end
            self._input.appendleft(data)
            self._held += len(data)
        self._news.set()

    async def read(self) -> bytes:
        """What came next; b"" when the client says nothing any more."""
        while not self._input and not self._ended:
            self._news.clear()
            await self._news.wait()
        data = b"".join(self._input)
        self._input.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            self.transport.resumeProducing()
        return data

    async def write(self, data: bytes) -> None:
        """Send, as fast as the client takes it. Raises: ConnectionError."""
        await self._flows.wait()
        if self.gone.is_set():
            raise ConnectionResetError("the client left")
        self.transport.write(data)

    def close(self) -> None:
        """Send what is left, and end the connection."""
        if not self.gone.is_set():
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    # What Twisted calls

    def dataReceived(self, data: bytes) -> None:
        self._input.append(data)
        self._held += len(data)
        if self._held > INPUT_BYTES and not self._paused:
            self._paused = True
            self.transport.pauseProducing()
        self._news.set()

    def readConnectionLost(self) -> None:
        self._ended = True
        self._news.set()

    def writeConnectionLost(self) -> None:
        self.gone.set()
        self._flows.set()

    def connectionLost(self, reason: Any = None) -> None:
        self._ended = True
        self.gone.set()
        self._news.set()
        self._flows.set()

    def pauseProducing(self) -> None:
        self._flows.clear()

    def resumeProducing(self) -> None:
        self._flows.set()

    stopProducing = resumeProducing
