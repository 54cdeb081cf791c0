"""Netlink framing, cut anywhere."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from runtime.network.netlink import attribute, attributes, messages, nested, text
from runtime.network.nft import _comment


def test_attributes_are_padded_and_read_back() -> None:
    data = attribute(1, b"abc") + attribute(2, b"") + nested(3, attribute(4, b"x"))
    assert len(data) % 4 == 0
    found = dict(attributes(data))
    assert found[1] == b"abc"
    assert found[2] == b""
    assert dict(attributes(found[3])) == {4: b"x"}


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20)), max_size=6), st.integers(0, 200))
def test_attributes_cut_at_any_byte_give_what_is_whole(parts: list[tuple[int, bytes]], cut: int) -> None:
    data = b"".join(attribute(kind, value) for kind, value in parts)
    found = list(attributes(data[:cut]))
    assert found == parts[: len(found)]
    assert list(attributes(data)) == parts


@given(st.binary(max_size=100))
def test_any_bytes_end(data: bytes) -> None:
    assert len(list(attributes(data))) <= len(data)
    assert len(list(messages(data))) <= len(data)
    _comment(data)


def test_messages_of_one_read() -> None:
    frame = struct.pack("=IHHII", 20, 16, 2, 7, 9) + b"abcd"
    assert list(messages(frame + frame)) == [(16, 2, 7, 9, b"abcd")] * 2
    assert list(messages(frame + frame[:10])) == [(16, 2, 7, 9, b"abcd")]


def test_comment_of_a_rule() -> None:
    assert _comment(bytes([1, 2]) + b"xx" + bytes([0, 8]) + b"webdock\0") == "webdock"
    assert _comment(b"") == ""


def test_strings_lose_their_final_zero() -> None:
    assert text(b"eth0\0") == "eth0"
    assert text(None) == ""
