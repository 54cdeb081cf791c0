"""Binary messages go out at once, in order, and nothing is lost when the connection is full."""

from __future__ import annotations

from autobahn.websocket.protocol import WebSocketProtocol
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost

from webdock.frames import binary_head, send_now


class Narrow(FileDescriptor):  # type: ignore[misc]
    """A connection that takes so many bytes at a time, and writes the rest when ``doWrite`` is called."""

    def __init__(self, takes: int) -> None:
        super().__init__(reactor=object())
        self.connected = 1
        self.takes = takes
        self.sent = b""
        self.asked = False

    def writeSomeData(self, data: bytes) -> int | ConnectionLost:
        if self.takes < 0:
            return ConnectionLost()
        self.sent += bytes(data[: self.takes])
        return min(self.takes, len(data))

    def startWriting(self) -> None:
        self.asked = True

    def stopWriting(self) -> None:
        self.asked = False


def test_the_head_is_as_long_as_the_size_needs() -> None:
    assert binary_head(1) == b"\x82\x01"
    assert binary_head(125) == b"\x82\x7d"
    assert binary_head(126) == b"\x82\x7e\x00\x7e"
    assert binary_head(65535) == b"\x82\x7e\xff\xff"
    assert binary_head(65536) == b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"
    assert binary_head(1)[0] == 0x80 | WebSocketProtocol.MESSAGE_TYPE_BINARY


def test_what_the_connection_takes_is_sent_at_once() -> None:
    transport = Narrow(takes=100)
    send_now(transport, b"echo")
    assert transport.sent == b"echo"
    assert not transport.dataBuffer
    assert not transport._tempDataBuffer


def test_the_rest_follows_in_order() -> None:
    transport = Narrow(takes=3)
    send_now(transport, b"abcdef")
    send_now(transport, b"ghi")
    assert transport.sent == b"abc"  # the second waits behind the rest of the first
    while transport.asked:
        transport.doWrite()
    assert transport.sent == b"abcdefghi"


def test_a_full_or_lost_connection_is_left_to_twisted() -> None:
    for takes in (0, -1):
        transport = Narrow(takes)
        send_now(transport, b"abc")
        assert transport.sent == b""
        assert transport.asked
