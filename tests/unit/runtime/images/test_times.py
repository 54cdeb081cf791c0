from __future__ import annotations

import pytest

from runtime.api.errors import InvalidArgument
from runtime.images.times import duration_s, moment, rfc3339, seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2024-01-02T03:04:05Z", 1704164645.0),
        ("2024-01-02T03:04:05.5Z", 1704164645.5),
        ("2024-01-02T03:04:05.678901234Z", 1704164645.678901234),
        ("2024-01-02T05:04:05+02:00", 1704164645.0),
        ("2024-01-02", 1704153600.0),
        ("2024-01-02T03:04", 1704164640.0),
        ("0001-01-01T00:00:00Z", -62135596800.0),
        ("2024-13-02", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_seconds(text: str, value: float | None) -> None:
    assert seconds(text) == (None if value is None else pytest.approx(value))


def test_moment_takes_times_seconds_and_durations() -> None:
    assert moment("1700000000", 0) == 1_700_000_000
    assert moment("1h30m", 10_000) == 10_000 - 5400
    assert moment("2024-01-02T03:04:05Z", 0) == 1704164645
    with pytest.raises(InvalidArgument, match="invalid time"):
        moment("soon", 0)


@pytest.mark.parametrize(("text", "value"), [("1s", 1), ("1.5h", 5400), ("100ms", 0.1), ("1m2s", 62)])
def test_duration_s(text: str, value: float) -> None:
    assert duration_s(text) == pytest.approx(value)


def test_rfc3339_has_nine_digits() -> None:
    assert rfc3339(1704164645.25) == "2024-01-02T03:04:05.250000000Z"
