"""Shortened output: no cut inside anything, and everything that outlives the cut is there again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.screens import KEPT_BYTES, SHORTEN_AT_BYTES, Output, safe_cut, shorten, state_after

SEQUENCES = [
    b"\x1b[31m",
    b"\x1b[1;38;5;200m",
    b"\x1b[12;40H",
    b"\x1b]0;a title\x07",
    b"\x1b]2;other\x1b\\",
    b"\x1bP1$r0m\x1b\\",
    b"\x1b(B",
    b"\x1b=",
    b"\x1b[?25l",
]
TEXTS = [b"plain", "grüße".encode(), "漢字".encode(), "👩‍💻".encode(), b"\r\n", b" "]
pieces = st.lists(st.sampled_from(SEQUENCES + TEXTS), min_size=1, max_size=40)


@given(pieces, st.data())
def test_a_cut_is_between_pieces_or_characters(parts: list[bytes], data: st.DataObject) -> None:
    output = b"".join(parts)
    cut = safe_cut(output, data.draw(st.integers(0, len(output))))
    at = 0
    for part in parts:
        if at <= cut < at + len(part):
            assert cut == at or part in TEXTS, (output[:cut], part)
            part[cut - at :].decode()
        at += len(part)


@given(pieces, st.integers(1, 200))
def test_shortened_output_is_text_still(parts: list[bytes], keep: int) -> None:
    output = b"".join(parts)
    head, at, _whole = shorten(output, keep)
    (head + output[at:]).decode()


def test_short_output_is_left_alone() -> None:
    assert shorten(b"abc", 3) == (b"", 0, True)


def test_lines_are_kept_whole() -> None:
    output = b"".join(b"line %d\r\n" % n for n in range(10_000))
    head, at, whole = shorten(output, 1000)
    assert (head, whole) == (b"", True)
    assert output[at:].startswith(b"line 9")
    assert 900 <= len(output) - at <= 1000


@pytest.mark.parametrize(
    ("output", "state"),
    [
        (b"\x1b[?2004h$ ", b"\x1b[?2004h"),
        (b"\x1b[?2004h$ \x1b[?2004l", b"\x1b[?2004l"),
        (b"\x1b[?1000h\x1b[?1006h\x1b[?25l", b"\x1b[?1000h\x1b[?1006h\x1b[?25l"),
        (b"\x1b[?1002;1006h", b"\x1b[?1002h\x1b[?1006h"),
        (b"\x1b[?1049h", b""),
        (b"\x1b]0;vim\x07text\x1b]2;less\x1b\\", b"\x1b]2;less\x07"),
        (b"\x1b[31mred\x1b[0m \x1b[1mbold", b"\x1b[1m"),
        (b"\x1b[31mred\x1b[1mbold", b"\x1b[31m\x1b[1m"),
        (b"\x1b[31mred\x1b[m", b""),
        (b"\x1b[?25l\x1b[7m\x1bc", b""),
        (b"\x1b[5;20r", b"\x1b[5;20r"),
        (b"\x1b=\x1b>", b"\x1b>"),
        (b"\x1b(0", b"\x1b(0"),
        (b"\x1b[4 q", b"\x1b[4 q"),
    ],
)
def test_what_outlives_a_cut(output: bytes, state: bytes) -> None:
    assert state_after(output) == state
    assert state_after(state_after(output)) == state


def test_a_program_that_has_left_the_alternate_screen_leaves_only_its_modes() -> None:
    output = b"$ vi\r\n\x1b[?1049h" + b"x" * 5000 + b"\x1b[?1000h\x1b[?1049l$ ls\r\nfile\r\n$ "
    head, at, whole = shorten(output, 1000)
    assert (head + output[at:], whole) == (b"$ vi\r\n\x1b[?1000h$ ls\r\nfile\r\n$ ", True)


def test_the_normal_screen_stays_below_a_program_on_the_alternate_one() -> None:
    frames = b"\x1b[?25l" + b"\x1b[H\x1b[2Jframe" * 1000
    output = b"$ first\r\nsecond\r\n$ top\r\n\x1b[?1049h" + frames
    head, at, whole = shorten(output, 1000)
    assert head == b"$ first\r\nsecond\r\n$ top\r\n\x1b[?1049h\x1b[?25l"
    assert output[at:].startswith(b"\x1b[2Jframe")
    assert whole


def test_an_alternate_screen_cut_without_a_clear_says_so() -> None:
    output = b"\x1b[?1049h" + b"".join(b"\x1b[%d;1Hrow" % (n % 30) for n in range(1000))
    head, at, whole = shorten(output, 1000)
    assert (head, whole) == (b"\x1b[?1049h", False)
    assert len(output) - at <= 1000


def test_shortening_again_keeps_what_the_first_kept() -> None:
    output = b"\x1b[?2004h" + b"a line\r\n" * 1000
    head, at, _ = shorten(output, 1000)
    output = head + output[at:] + b"another\r\n" * 1000
    head, at, _ = shorten(output, 1000)
    assert head.startswith(b"\x1b[?2004h")


def test_a_long_control_string_is_not_cut_open() -> None:
    output = b"text" * 100 + b"\x1b]52;c;" + b"A" * 3000 + b"\x07after\r\n$ "
    assert output[safe_cut(output, 1500) :] in (b"after\r\n$ ", b"$ ")


@pytest.mark.parametrize("end", [b"\x07", b"\x1b\\", b"\x18"])
def test_a_control_string_longer_than_all_that_is_kept_is_never_text(end: bytes) -> None:
    output = Output()
    output.append(b"\x1b[?2004hbefore\r\n\x1b]0;")
    for _ in range(40):
        output.append(b"x" * 100_000 + b"\r\n")
    assert output.picture().startswith(b"\x1b[?2004h\x1b]0;")
    output.append(end + b"$ after")
    picture = output.picture()
    assert picture.endswith(end + b"$ after")
    assert picture.count(b"\x1b]0;") == 1
    assert not safe_cut(picture, picture.index(b"\x1b]0;") + 5) < len(picture) - len(b"$ after")


def test_a_past_that_overlaps_tells_what_was_missed() -> None:
    output = Output()
    output.append(b"one\r\ntwo\r\n" * 100 + b"three\r\n")
    assert output.rejoin(b"two\r\n" * 3 + b"one\r\ntwo\r\n" * 60 + b"three\r\nfour\r\n") == b"four\r\n"
    assert output.rejoin(b"something else") is None
    assert Output().rejoin(b"all of it") is None
    position = output.end
    output.replace(b"something else")
    assert position < output.start
    assert output.picture() == b"something else"


@pytest.mark.parametrize("before", [b"", b"\x1b[?2004h"])
def test_plain_text_is_cut_as_any_other_output(before: bytes) -> None:
    output = Output()
    lines = [before, *(b"%d\xc3\xa9 words\r\n" % number * 50 for number in range(5000))]
    for line in lines:
        output.append(line)
    whole = b"".join(lines)
    assert output.whole
    assert output.end == len(whole)
    assert whole.endswith(output.since(output.start, len(whole)))
    assert KEPT_BYTES - 100 <= output.end - output.start <= SHORTEN_AT_BYTES
    assert whole[output.start - 1 : output.start] == b"\n"
    assert output.picture().startswith(before)
