"""Frames and JSON lines, cut anywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import PeerProtocolError
from runtime.api.frames import FrameDecoder, LineDecoder, encode_frame, encode_line, frame_header

FRAMES = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(min_size=1, max_size=50)), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


def merged(items: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Neighbours of one stream as one."""
    out: list[tuple[int, bytes]] = []
    for source, data in items:
        if out and out[-1][0] == source:
            out[-1] = (source, out[-1][1] + data)
        else:
            out.append((source, data))
    return out


@given(FRAMES, st.integers(1, 20))
def test_frames_come_back_however_they_are_cut(frames: list[tuple[int, bytes]], step: int) -> None:
    data = b"".join(encode_frame(source, payload) for source, payload in frames)
    decoder = FrameDecoder()
    out: list[tuple[int, bytes]] = []
    for at in range(0, len(data), step):
        out += decoder.feed(data[at : at + step])
    decoder.end()
    assert merged(out) == merged(frames)


def test_an_empty_frame_is_nothing() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(frame_header(1, 0) + encode_frame(2, b"x")) == [(2, b"x")]


@pytest.mark.parametrize("cut", range(1, 11))
def test_an_end_inside_a_frame_is_an_error(cut: int) -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_frame(1, b"abc")[:cut])
    with pytest.raises(PeerProtocolError, match="inside a frame"):
        decoder.end()


@pytest.mark.parametrize("data", [b"HTTP/1.1", b"\x04\0\0\0\0\0\0\x01", b"\x01\0\x01\0\0\0\0\x01"])
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(PeerProtocolError, match="not a stream header"):
        FrameDecoder().feed(data)


@given(st.lists(JSON, max_size=6), st.integers(1, 9), st.sampled_from([b"\n", b"\r\n"]))
def test_documents_come_back_however_they_are_cut(values: list[object], step: int, end: bytes) -> None:
    data = b"".join(json.dumps(value).encode() + end for value in values)
    decoder = LineDecoder()
    out: list[object] = []
    for at in range(0, len(data), step):
        out += decoder.feed(data[at : at + step])
    assert out + decoder.end() == values


def test_documents_without_newlines_come_at_the_end() -> None:
    decoder = LineDecoder()
    assert decoder.feed(b'{"a":1}{"b":2}') == []
    assert decoder.end() == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("data", [b"{\n", b"nope\n", b"\xff\xfe\n"])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    with pytest.raises(PeerProtocolError, match="not a JSON line"):
        LineDecoder().feed(data)


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.api.frames.LINE_MAX_BYTES", 10)
    with pytest.raises(PeerProtocolError, match="more than 10 bytes"):
        LineDecoder().feed(b"x" * 11)


@given(JSON)
def test_a_line_is_one_line(value: object) -> None:
    line = encode_line(value)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == value


def test_lone_surrogates_do_not_break_a_line() -> None:
    assert encode_line("\ud800").endswith(b"\n")
