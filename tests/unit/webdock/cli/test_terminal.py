"""Detach keys, however they are cut into reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webdock.cli.errors import Failure
from webdock.cli.terminal import Detached, DetachFilter, parse_keys


def test_keys_are_read_as_docker_writes_them() -> None:
    assert parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_keys("ctrl-[,a") == b"\x1ba"
    for bad in ("", "ctrl-", "ab", "ctrl-pq", "ß"):
        with pytest.raises(Failure):
            parse_keys(bad)


def test_everything_else_passes_in_order() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"a\x10") == b"a"
    assert keys.feed(b"b") == b"\x10b"
    assert keys.feed(b"\x10\x10\x10x") == b"\x10\x10\x10x"


def test_the_sequence_detaches_across_reads() -> None:
    keys = DetachFilter(b"\x10\x11")
    assert keys.feed(b"\x10") == b""
    with pytest.raises(Detached):
        keys.feed(b"\x11")


@given(
    st.binary(max_size=60).filter(lambda data: b"\x10\x11" not in data),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_bytes_without_the_sequence_are_untouched_at_every_cut(data: bytes, cuts: list[int]) -> None:
    keys = DetachFilter(b"\x10\x11")
    out, at = b"", 0
    for cut in [*sorted(cuts), len(data)]:
        out += keys.feed(data[at : max(at, cut)])
        at = max(at, cut)
    held = b"\x10" if data.endswith(b"\x10") else b""
    assert out + held == data
