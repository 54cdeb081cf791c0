"""Detach keys and the bytes behind a stream request: parsers, cut at every byte."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.server.detach import DEFAULT_KEYS, DetachFilter, parse_keys
from runtime.server.early import HEAD_BYTES, StreamRequest, may_begin_stream


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", b""),
        ("ctrl-p,ctrl-q", DEFAULT_KEYS),
        ("CTRL-a,b", b"\x01b"),
        ("ctrl-@,ctrl-[,ctrl-\\,ctrl-],ctrl-^,ctrl-_", b"\0\x1b\x1c\x1d\x1e\x1f"),
        ("x", b"x"),
    ],
)
def test_keys_are_parsed(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["shift-a", "ctrl-", "ctrl-1", "ab", ",", "é", "ctrl-p,,x"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid detach keys"):
        parse_keys(text)


def feed(keys: bytes, pieces: list[bytes]) -> tuple[bytes, bool]:
    detach, out = DetachFilter(keys), b""
    for piece in pieces:
        passed, done = detach.feed(piece)
        out += passed
        if done:
            return out, True
    return out, False


@pytest.mark.parametrize("cut", range(8))
def test_the_sequence_is_found_however_it_is_cut(cut: int) -> None:
    data = b"ab\x10\x11cde"
    assert feed(DEFAULT_KEYS, [data[:cut], data[cut:]]) == (b"ab", True)


@pytest.mark.parametrize(
    ("data", "out"), [(b"a\x10b", b"a\x10b"), (b"\x10\x10x", b"\x10\x10x"), (b"\x10a\x10b", b"\x10a\x10b")]
)
def test_a_beginning_that_goes_on_otherwise_is_input(data: bytes, out: bytes) -> None:
    assert feed(DEFAULT_KEYS, [data]) == (out, False)
    assert feed(DEFAULT_KEYS, [data[n : n + 1] for n in range(len(data))]) == (out, False)


def test_a_beginning_can_begin_again() -> None:
    assert feed(DEFAULT_KEYS, [b"\x10\x10\x11"]) == (b"\x10", True)


@given(st.lists(st.binary(max_size=10), max_size=10))
def test_input_without_the_sequence_passes_unchanged(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    out, done = feed(DEFAULT_KEYS, pieces)
    if DEFAULT_KEYS in data:
        assert done
        assert data.startswith(out)
    else:
        assert not done
        assert data in (out, out + b"\x10")


@pytest.mark.parametrize(
    ("line", "stream"),
    [
        (b"POST /containers/x/attach HTTP/1.1", True),
        (b"POST /v1.41/containers/x/attach?stream=1 HTTP/1.1", True),
        (b"POST /v1.41/exec/abc/start HTTP/1.1", True),
        (b"POST /exec/abc/attach HTTP/1.1", True),
        (b"POST /exec/abc/resize HTTP/1.1", False),
        (b"POST /containers/x/attach/ws HTTP/1.1", False),
        (b"POST /containers/create HTTP/1.1", False),
        (b"GET /exec/abc/start HTTP/1.1", False),
        (b"POST /containers/x", False),
    ],
)
def test_stream_requests_are_known_by_their_first_line(line: bytes, stream: bool) -> None:
    assert may_begin_stream(line) is stream


HEAD = b"POST /exec/x/start HTTP/1.1\r\nHost: e\r\ncontent-LENGTH: 3\r\n\r\n"


@given(st.lists(st.integers(0, len(HEAD) + 8), max_size=4))
def test_what_follows_a_request_is_kept_back_however_it_is_cut(cuts: list[int]) -> None:
    data = HEAD + b"abcinput"
    edges = [0, *sorted(cuts), len(data)]
    cutter, request, early = StreamRequest(), b"", b""
    for begin, end in pairwise(edges):
        first, second = cutter.feed(data[begin:end])
        request, early = request + first, early + second
    assert (request, early) == (HEAD + b"abc", b"input")


def test_without_a_length_there_is_no_body() -> None:
    head = b"POST /containers/x/attach HTTP/1.1\r\nHost: e\r\n\r\n"
    assert StreamRequest().feed(head + b"input") == (head, b"input")


def test_a_chunked_request_is_left_to_the_parser() -> None:
    data = b"POST /exec/x/start HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    cutter = StreamRequest()
    assert cutter.feed(data) == (data, b"")
    assert cutter.feed(b"more") == (b"more", b"")


def test_a_head_without_end_is_left_to_the_parser() -> None:
    data = b"POST /exec/x/start HTTP/1.1\r\n" + b"x" * HEAD_BYTES
    assert StreamRequest().feed(data) == (data, b"")
