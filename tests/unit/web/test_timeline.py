"""The engine's events as the pages tell them."""

from __future__ import annotations

import pytest
from django.http import QueryDict

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
    engine = Engine({**event("create"), "timeNano": 5_000_000_000_000_000_000})
    monkeypatch.setattr(engine, "events", lambda since, until: asked.append(since) or engine)
    assert await latest_of(engine, monkeypatch, 9) == ["create"]
    engine.told = (*engine.told, {**event("start"), "timeNano": 5_000_000_001_000_000_000})
    assert await latest_of(engine, monkeypatch, 9) == ["start", "create"]
    assert asked[0] < asked[1] == pytest.approx(5_000_000_000)


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
    found = await timeline._read(Engine(*told), timeline.Filters.of(QueryDict("action=create")))  # type: ignore[arg-type]
    assert [row["gone"] for row in found] == [False, True]
