"""A flood is read in large pieces, several share; whoever types or rests is read at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runtime.oci.pace import FLOOD_BYTES, GATHER_S, REST_S, SHARE_S, Pace


@pytest.fixture
def flood() -> Iterator[Pace]:
    pace = Pace()
    pace.took(FLOOD_BYTES)
    yield pace
    pace.rest()


def test_a_few_pieces_are_no_flood() -> None:
    pace = Pace()
    for _ in range(100):
        pace.took(FLOOD_BYTES // 2)
        pace.waited(REST_S * 2)
    assert pace.pause_s() == 0


def test_a_lone_flood_gathers_and_rests_when_it_ends(flood: Pace) -> None:
    assert flood.pause_s() == GATHER_S
    flood.waited(REST_S / 2)
    assert flood.pause_s() == GATHER_S
    flood.waited(REST_S * 2)
    assert flood.pause_s() == 0


def test_floods_share_and_an_idle_one_never_waits(flood: Pace) -> None:
    idle, others = Pace(), [Pace() for _ in range(3)]
    for other in others:
        other.took(FLOOD_BYTES)
    assert flood.pause_s() == 4 * SHARE_S
    assert idle.pause_s() == 0
    for other in others:
        other.rest()
    assert flood.pause_s() == GATHER_S
