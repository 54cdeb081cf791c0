"""Binary messages go out at once, in order, and nothing is lost when the connection is full."""

from __future__ import annotations

from autobahn.websocket.protocol import WebSocketProtocol
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionLost

from webdock.frames import binary_head, send_now, short_message


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


@given(
    st.binary(min_size=1, max_size=200),
    st.booleans(),
    st.binary(min_size=4, max_size=4),
    st.binary(max_size=9),
)
def test_short_messages_of_a_browser_are_read_and_others_left(
    payload: bytes, binary: bool, mask: bytes, rest: bytes
) -> None:
    size = bytes((0x80 | len(payload),)) if len(payload) <= 125 else b"\xfe" + len(payload).to_bytes(2)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    whole = bytes((0x82 if binary else 0x81,)) + size + mask + masked
    found = short_message(whole + rest)
    assert found == ((payload, binary, len(whole)) if len(payload) <= 125 else None)
    for end in range(len(whole)):
        assert short_message(whole[:end]) is None


def test_parts_controls_and_unmasked_messages_are_left_to_autobahn() -> None:
    for head in (b"\x02\x81", b"\x80\x81", b"\x88\x81", b"\x89\x81", b"\xc2\x81", b"\x82\x01", b"\x82\x80"):
        assert short_message(head + b"maskx") is None
