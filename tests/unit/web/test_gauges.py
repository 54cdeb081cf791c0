"""What lists show of containers' use: one question a second for all who look, and only what moved is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from containers_app import samples as samples_module
from containers_app.gauges import Gauges, coarse
from runtime.api.errors import EngineUnreachable, NotFound

SECOND = 10**9


class Engine:
    """Answers with what is set, counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.now: dict[str, list[int]] = {}
        self.fails: Exception | None = None

    async def container_usage(self, ids: list[str]) -> dict[str, list[int]]:
        self.asked.append(ids)
        await asyncio.sleep(0)
        if self.fails:
            raise self.fails
        return {id: self.now[id] for id in ids if id in self.now}

    async def container_stats_once(self, id: str, *, one_shot: bool) -> dict[str, Any]:
        return {
            "read": f"2026-01-02T03:04:0{self.now[id][0]}Z",
            "cpu_stats": {"cpu_usage": {"total_usage": self.now[id][1]}},
            "memory_stats": {"usage": self.now[id][2], "limit": 9},
            "pids_stats": {"current": 1},
        }


class Beats(Gauges):
    """The periods go by as the test says."""

    number = 0

    def beat(self) -> int:
        return self.number


async def look(gauges: Beats, engine: Any, **lookers: list[str]) -> list[bool]:
    gauges.number += 1
    return list(await asyncio.gather(*(gauges.look(engine, who, ids) for who, ids in lookers.items())))


async def test_all_who_look_are_served_by_one_question() -> None:
    gauges, engine = Beats(), Engine()
    for second in range(3):
        engine.now = {id: [second * SECOND, second * SECOND // 4, 4096, 9] for id in ("a", "b", "c")}
        assert await look(gauges, engine, one=["a", "b"], two=["b", "c"], three=["b"]) == [True] * 3
    assert [sorted(ids) for ids in engine.asked[-2:]] == [["a", "b", "c"]] * 2
    assert len(engine.asked) == 4, "the first second they came one after the other"
    assert gauges.past(["a", "c", "d"]) == {"a": [[25.0, 4096]] * 2, "c": [[25.0, 4096]] * 2}
    gauges.leave("one")
    await look(gauges, engine, two=["b", "c"])
    assert sorted(engine.asked[-1]) == ["b", "c"]


async def test_only_what_moved_is_told_and_what_ended_is() -> None:
    gauges, engine = Beats(), Engine()
    for second in range(2):
        engine.now = {id: [second * SECOND, 0, 4096, 9] for id in ("a", "b", "c")}
        await look(gauges, engine, one=["a", "b", "c"])
    assert gauges.news(["a", "b", "c"], 0) == [[0, 0.0, 4096], [1, 0.0, 4096], [2, 0.0, 4096]]
    told = gauges.number
    engine.now = {"a": [2 * SECOND, SECOND, 4096, 9], "b": [2 * SECOND, 1, 4096, 9]}
    await look(gauges, engine, one=["a", "b", "c"])
    assert gauges.news(["a", "b", "c"], told) == [[0, 100.0, 4096], [2]]
    assert gauges.news(["c", "", "a"], told) == [[0], [2, 100.0, 4096]]


async def test_an_engine_that_is_away_says_nothing_about_its_containers() -> None:
    gauges, engine = Beats(), Engine()
    for second in range(2):
        engine.now = {"a": [second * SECOND, 0, 4096, 9]}
        await look(gauges, engine, one=["a"])
    engine.fails = EngineUnreachable("nobody there")
    asked = len(engine.asked)
    assert await look(gauges, engine, one=["a"], two=["a"], three=["a"]) == [False] * 3
    assert len(engine.asked) == asked + 1, "one waits for it, not each in turn"
    assert gauges.past(["a"]) == {"a": [[0.0, 4096]]}
    engine.fails = None
    assert await look(gauges, engine, one=["a"]) == [True]


async def test_an_engine_without_that_question_is_asked_about_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_module, "FRESH_S", 0.0)
    gauges, engine = Beats(), Engine()
    engine.fails = NotFound("page not found")
    for second in (1, 2, 3):
        engine.now = {"a": [second, second * SECOND // 2, 4096, 9]}
        await look(gauges, engine, one=["a"])
    assert len(engine.asked) == 1
    assert gauges.past(["a"]) == {"a": [[50.0, 4096]]}, (
        "every other second, as each container costs a question"
    )


def test_bytes_are_told_as_finely_as_they_are_seen() -> None:
    for count in (0, 1, 4095, 1 << 20, 123_456_789, 7 * 1024**4 + 1):
        assert count * 0.999 <= coarse(count) <= count
    assert coarse(1 << 30) == coarse((1 << 30) + 4096)
