"""Filters and times of lists and prunes."""

from __future__ import annotations

import pytest

from runtime.api.errors import InvalidArgument
from runtime.network.filters import check_keys, created_before, labels_match, rfc3339


def test_times_sort_as_text() -> None:
    assert rfc3339(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456789Z"
    assert rfc3339(1_700_000_000_000_000_009) < rfc3339(1_700_000_000_000_000_010)
    assert rfc3339() > "2024"


def test_until_in_every_spelling() -> None:
    assert created_before([]) is None
    assert created_before(["1700000000"]) == "2023-11-14T22:13:20.000000000Z"
    assert created_before(["2023-11-14T23:13:20+01:00"]) == "2023-11-14T22:13:20.000000000Z"
    before = created_before(["1h30m"])
    assert before is not None
    assert before < rfc3339()


@pytest.mark.parametrize("values", [["yesterday"], ["1h", "2h"], ["10"[:0]], ["1h30"]])
def test_bad_until_is_refused(values: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="until"):
        created_before(values)


def test_labels() -> None:
    labels = {"a": "1", "b": ""}
    assert labels_match(labels, [])
    assert labels_match(labels, ["a", "b=", "a=1"])
    assert not labels_match(labels, ["a=2"])
    assert not labels_match(labels, ["c"])


def test_unknown_filter_is_refused() -> None:
    check_keys({"name": ["x"]}, ("name",))
    with pytest.raises(InvalidArgument, match="invalid filter 'color'"):
        check_keys({"color": ["red"]}, ("name",))
