"""The engine's events as the pages tell them."""

from __future__ import annotations

import pytest
from django.http import QueryDict
from django.utils import timezone

from runtime.api.errors import EngineUnreachable
from webdock.engines import timeline

ID = "ab" * 32


def event(action: str, **attributes: str) -> dict[str, object]:
    return {"Type": "network", "Action": action, "Actor": {"ID": ID, "Attributes": attributes}, "time": 1}


def test_details_show_a_container_by_its_short_id_and_nothing_empty() -> None:
    row = timeline._row(event("connect", name="lab", container=ID, type="bridge", propagation=""))
    assert row["name"] == "lab"
    assert row["details"] == [("container", ID[:12]), ("type", "bridge")]


def test_an_image_without_a_name_is_called_by_its_short_id() -> None:
    assert timeline._row(event("load", name=f"sha256:{ID}"))["name"] == ID[:12]
    assert timeline._row(event("connect", name=ID))["name"] == ID  # somebody may call a network that


def test_the_command_of_an_exec_is_a_detail_in_one_line() -> None:
    row = timeline._row(event("exec_start: sh -c cd /\n\n  ls", name="web"))
    assert (row["action"], row["details"]) == ("exec_start", [("command", "sh -c cd / ls")])
    assert timeline._row(event("health_status: healthy"))["action"] == "health_status: healthy"


class Engine:
    """Answers /events with what it was given; fails when it was given an error."""

    def __init__(self, *events: dict[str, object], error: Exception | None = None) -> None:
        self.told, self.error = events, error

    def events(self, since: float, until: float) -> Engine:
        assert until > since
        return self

    async def __aenter__(self) -> Engine:
        if self.error:
            raise self.error
        return self

    async def __aexit__(self, *failure: object) -> None:
        pass

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        for told in self.told:
            yield told


async def latest_of(engine: Engine, monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    monkeypatch.setattr(timeline, "client_of", lambda alias: engine)
    return [row["action"] for row in await timeline.latest("local", number)]


async def test_latest_are_the_newest_first_without_what_only_goes_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(
        *map(event, ("create", "connect", "start", "exec_create: sh", "kill", "die", "stop", "attach"))
    )
    assert await latest_of(engine, monkeypatch, 2) == ["die", "start"]


async def test_latest_asks_the_engine_only_for_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    now = int(timezone.now().timestamp())
    engine = Engine({**event("create"), "timeNano": now * 10**9})
    monkeypatch.setattr(engine, "events", lambda since, until: asked.append(since) or engine)
    assert await latest_of(engine, monkeypatch, 9) == ["create"]
    engine.told = (*engine.told, {**event("start"), "timeNano": (now + 1) * 10**9})
    assert await latest_of(engine, monkeypatch, 9) == ["start", "create"]
    assert asked[0] < asked[1] == pytest.approx(now)


async def test_latest_are_none_without_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await latest_of(Engine(error=EngineUnreachable("gone")), monkeypatch, 2) == []


async def test_what_is_gone_is_told_so_that_nothing_leads_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    here, gone = "ab" * 32, "cd" * 32
    told = [
        {**event("create"), "Actor": {"ID": id, "Attributes": {"name": "lab"}}} for id in (here, gone)
    ] + [{**event("destroy"), "Actor": {"ID": gone, "Attributes": {"name": "lab"}}}]
    monkeypatch.setattr(timeline, "client_of", lambda alias: Engine(*told))
    rows = await timeline.latest("local", 3)
    assert [(row["action"], row["gone"]) for row in rows] == [
        ("destroy", True),
        ("create", True),
        ("create", False),
    ]
    now = 10**9 * int(timezone.now().timestamp())
    lately = Engine(*({**one, "timeNano": now + number} for number, one in enumerate(told)))
    found = await timeline._read(lately, timeline.Filters.of(QueryDict("action=create")))  # type: ignore[arg-type]
    assert [row["gone"] for row in found] == [True, False]


def rows_at(*moments: int) -> list[dict[str, object]]:
    return [{"at": at} for at in moments]


def test_the_list_is_drawn_in_pieces_that_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "PAGE_ROWS", 2)
    rows = rows_at(9, 8, 7, 6, 5)
    newest = timeline.Piece.of(rows, 0)
    assert (newest.rows, newest.newer, newest.older) == (rows_at(9, 8), None, 8)
    second = timeline.Piece.of(rows, 8)
    assert (second.rows, second.newer, second.older) == (rows_at(7, 6), 0, 6)
    assert (second.first, second.last, second.total) == (3, 4, 5)
    last = timeline.Piece.of(rows, 6)
    assert (last.rows, last.newer, last.older) == (rows_at(5), 8, None)
    meanwhile = timeline.Piece.of(rows_at(11, 10) + rows, 8)
    assert (meanwhile.rows, meanwhile.newer) == (second.rows, 10)


def test_events_of_one_moment_are_not_torn_apart_nor_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "PAGE_ROWS", 2)
    rows = rows_at(9, 8, 8, 8, 7)
    first = timeline.Piece.of(rows, 0)
    assert first.rows == rows_at(9, 8, 8, 8)
    assert timeline.Piece.of(rows, first.older or 0).rows == rows_at(7)


def test_a_moment_nobody_remembers_shows_the_oldest_there_are() -> None:
    assert timeline.Piece.of(rows_at(9, 8), 3).rows == rows_at(9, 8)
    nothing = timeline.Piece.of([], 3)
    assert (nothing.rows, nothing.newer, nothing.older) == ([], None, None)
    assert [timeline._moment(text) for text in ("7", "", "-1", "٣", "x", "9" * 999)] == [
        7, 0, 0, 0, 0, 10**20 - 1,
    ]  # fmt: skip


async def test_a_clock_that_went_back_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine({**event("create"), "timeNano": 5_000_000_000_000_000_000})
    assert await latest_of(engine, monkeypatch, 9) == ["create"]
    engine.told = ({**event("start"), "timeNano": 10**18},)
    assert await latest_of(engine, monkeypatch, 9) == ["start"]
