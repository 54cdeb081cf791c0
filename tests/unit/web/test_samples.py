"""One question to the engine serves whoever wants a container's statistics within the next moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from containers_app import samples as module
from containers_app.samples import samples
from runtime.api.errors import NotFound


class Engine:
    """Counts what it is asked; some containers have ended, are gone, or never answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def container_stats_once(self, id: str, *, one_shot: bool) -> dict[str, Any]:
        self.asked.append(id)
        if id == "gone":
            raise NotFound("no such container")
        if id == "silent":
            await asyncio.Event().wait()
        return {"read": "2026-01-02T03:04:05Z", "pids_stats": {"current": 0 if id == "ended" else 1}}


@pytest.fixture(autouse=True)
def nothing_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_seen", {})


async def test_what_runs_is_measured_once_for_all_who_ask_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FRESH_S", 3600.0)
    engine: Any = Engine()
    one = await samples(engine, ["runs", "ended", "gone"])
    assert list(one) == ["runs"]
    assert await samples(engine, ["runs"]) == one
    assert sorted(engine.asked) == ["ended", "gone", "runs"]
    monkeypatch.setattr(module, "FRESH_S", 0.0)
    await samples(engine, ["runs"])
    assert engine.asked.count("runs") == 2


async def test_one_that_does_not_answer_keeps_back_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.05)
    engine: Any = Engine()
    assert list(await samples(engine, ["silent", "runs"])) == ["runs"]
    monkeypatch.setattr(module, "TIMEOUT_S", 3600.0)
    assert list(await samples(engine, ["silent", "runs"], 0.05)) == ["runs"]
