"""Times and durations as Docker writes and reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.api.errors import InvalidArgument
from runtime.containers.times import (
    SECOND_NS,
    human_duration,
    parse_duration,
    parse_moment,
    parse_rfc3339,
    rfc3339,
    rfc3339_fixed,
)


@given(st.integers(1, 4_000_000_000 * SECOND_NS))
def test_a_time_survives_writing_and_reading(time_ns: int) -> None:
    assert parse_rfc3339(rfc3339(time_ns)) == time_ns
    assert parse_rfc3339(rfc3339_fixed(time_ns)) == time_ns


def test_times_look_like_gos() -> None:
    assert rfc3339(0) == "0001-01-01T00:00:00Z"
    assert rfc3339(1_700_000_000 * SECOND_NS) == "2023-11-14T22:13:20Z"
    assert rfc3339(1_700_000_000 * SECOND_NS + 120) == "2023-11-14T22:13:20.00000012Z"
    assert rfc3339_fixed(1_700_000_000 * SECOND_NS) == "2023-11-14T22:13:20.000000000Z"


@given(st.integers(1, 10**18), st.integers(1, 10**18))
def test_fixed_times_sort_like_numbers(one: int, other: int) -> None:
    assert (one < other) == (rfc3339_fixed(one) < rfc3339_fixed(other))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h30m", 5400),
        ("10m", 600),
        ("1.5s", 1.5),
        ("-2s", -2),
        ("100ms", 0.1),
        ("0", 0),
        ("1h1ns", 3600.000000001),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds * SECOND_NS)


@pytest.mark.parametrize("text", ["", "1", "1x", "h", "1h 2m", "m1", "-"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_moments_of_filters() -> None:
    now = 1_700_000_000 * SECOND_NS
    assert parse_moment("1600000000", now) == 1_600_000_000 * SECOND_NS
    assert parse_moment("1600000000.5", now) == 1_600_000_000 * SECOND_NS + SECOND_NS // 2
    assert parse_moment("10m", now) == now - 600 * SECOND_NS
    assert parse_moment("2023-11-14T22:13:20Z", now) == now
    assert parse_moment("2023-11-14T23:13:20+01:00", now) == now
    assert parse_moment("2023-11-14", now) == 1_699_920_000 * SECOND_NS
    with pytest.raises(InvalidArgument, match="invalid time"):
        parse_moment("yesterday", now)


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_refused(text: str) -> None:
    try:
        parse_moment(text, 10**18)
    except InvalidArgument:
        pass


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (150, "2 minutes"),
        (3601, "About an hour"),
        (3 * 3600, "3 hours"),
        (47 * 3600, "47 hours"),
        (3 * 86400, "3 days"),
        (20 * 86400, "2 weeks"),
        (100 * 86400, "3 months"),
        (1000 * 86400, "2 years"),
    ],
)
def test_ages_for_people(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
