"""The last hour of containers, kept in a bounded ring whoever looks."""

from __future__ import annotations

import json

from django.test import AsyncClient

from containers_app import histories as module
from containers_app.histories import CONTAINERS_MAX, KEPT_POINTS, KEYS, Histories
from runtime.api.client import EngineClient
from tests.unit.web.conftest import Connect, make_container
from tests.unit.web.test_container_pages import seen
from webdock.engines.sync import EngineSync


async def test_points_are_kept_of_what_runs_and_are_bounded(api: EngineClient) -> None:
    id = await make_container(api, "web")
    stopped = await make_container(api, "off", start=False)
    kept = Histories()
    await kept.measure(api, [id, stopped, "f" * 64])
    assert kept.of(id) == []  # one sample is no rate
    await kept.measure(api, [id, stopped])
    (point,) = kept.of(id)
    assert tuple(point) == KEYS
    assert point["memory"] > 0
    assert kept.of(stopped) == []
    for _ in range(KEPT_POINTS + 5):
        kept._points[id].append(kept._points[id][0])
    assert len(kept.of(id)) == KEPT_POINTS
    for n in range(CONTAINERS_MAX + 10):
        kept._points[str(n)] = kept._points[id].copy()
    await kept.measure(api, [])
    assert len(kept._points) == CONTAINERS_MAX
    assert not kept._samples


async def test_the_charts_begin_with_what_was_kept(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient, connect: Connect
) -> None:
    id = await make_container(api, "web")
    await seen(id, state="running")
    module.histories.__init__()  # type: ignore[misc]
    for _ in range(3):
        await module.histories.measure(api, [id])
    socket = await connect(as_viewer, f"/ws/stats/{id}/")
    message = json.loads(await socket.receive_from(timeout=20))
    assert message["type"] == "history"
    assert len(message["points"]) == 2
    assert json.loads(await socket.receive_from(timeout=20))["type"] == "stats"


async def test_the_events_of_one_container_are_its_own(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await make_container(api, "other")
    await seen(id, state="running")
    answer = await as_viewer.get(f"/containers/{id}/events/")
    assert answer.status_code == 200
    assert {row["name"] for row in answer.context["rows"]} == {"web"}
    assert {"create", "start"} <= {row["action"] for row in answer.context["rows"]}
    assert (await as_viewer.post(f"/containers/{id}/events/")).status_code == 405
    assert (await as_stranger.get(f"/containers/{id}/events/")).status_code == 302
