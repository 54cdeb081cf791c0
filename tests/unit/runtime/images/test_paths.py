from __future__ import annotations

import os.path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.images.paths import UnpackError, clean, climbs_out


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (b"a/b", b"a/b"),
        (b"./a//b/", b"a/b"),
        (b"/etc/passwd", b"etc/passwd"),
        (b"a/../b", b"b"),
        (b".", b""),
        (b"/", b""),
        (b"a/b/../..", b""),
        (b"...", b"..."),
    ],
)
def test_clean_gives_the_path_inside(name: bytes, path: bytes) -> None:
    assert clean(name) == path


@pytest.mark.parametrize(
    "name", [b"..", b"../a", b"a/../../b", b"/..", b"./../a", b"a\0b", b"x" * 256, b"a/" * 2100]
)
def test_clean_refuses_what_leads_out_or_is_no_path(name: bytes) -> None:
    with pytest.raises(UnpackError):
        clean(name)


_parts = st.lists(st.sampled_from([b"a", b"b", b"..", b".", b"", b"..."]), max_size=8)


@given(_parts)
def test_clean_agrees_with_the_meaning_of_paths(parts: list[bytes]) -> None:
    name = b"/".join(parts)
    inside = os.path.normpath(b"/r/o/o/t/" + name)
    try:
        path = clean(name)
    except UnpackError:
        # Somewhere on the way it was above the root, even if it came back.
        depth = lowest = 0
        for part in parts:
            depth += {b"..": -1, b"": 0, b".": 0}.get(part, 1)
            lowest = min(lowest, depth)
        assert lowest < 0
        return
    assert os.path.normpath(b"/r/o/o/t/" + path) == inside


@given(_parts, _parts)
def test_climbs_out_agrees_with_the_meaning_of_paths(directory: list[bytes], target: list[bytes]) -> None:
    try:
        inside = clean(b"/".join(directory))
    except UnpackError:
        return
    pointed = b"/".join(target)
    depth = 0 if pointed.startswith(b"/") or not inside else inside.count(b"/") + 1
    lowest = 0
    for part in target:
        depth += {b"..": -1, b"": 0, b".": 0}.get(part, 1)
        lowest = min(lowest, depth)
    assert climbs_out(inside, pointed) == (lowest < 0)
