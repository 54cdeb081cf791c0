"""Several logs as one: by time, each line its container's, and only those one may read."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app.merged_logs import MERGED_MAX, asked_for, merged, time_key
from runtime.api.client import EngineClient
from tests.unit.web.conftest import Connect, browser_of, closing, eventually, make_container
from tests.unit.web.test_container_pages import seen
from webdock.engines.sync import EngineSync
from webdock.people.belongings import claim


def test_times_sort_as_moments_do() -> None:
    times = [
        "2026-01-01T00:00:00.5Z",
        "2026-01-01T00:00:00.45Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:01Z",
    ]
    assert sorted(times, key=time_key) == [times[2], times[1], times[0], times[3]]


def test_lines_are_merged_by_time_and_keep_the_order_of_their_log() -> None:
    first = [
        (1, "a", "2026-01-01T00:00:01Z"),
        (1, "back", "2026-01-01T00:00:00Z"),
        (1, "c", "2026-01-01T00:00:03Z"),
    ]
    second = [(2, "b", "2026-01-01T00:00:02Z")]
    assert [(line[1], line[3]) for line in merged([first, second])] == [
        ("a", 0),
        ("back", 0),
        ("b", 1),
        ("c", 0),
    ]


def test_ids_are_taken_once_and_no_more_than_fit() -> None:
    assert asked_for(["a" * 64, "x", "a" * 64, "../b"]) == ["a" * 64]
    assert len(asked_for([f"{n:064x}" for n in range(50)])) == MERGED_MAX


async def lines_of(socket: Any, enough: int) -> list[list[Any]]:
    found: list[list[Any]] = []
    while len(found) < enough:
        message = json.loads(await socket.receive_from(timeout=20))
        if message["type"] == "lines":
            found += message["lines"]
    return found


async def test_logs_of_several_come_as_one_and_go_on(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient, connect: Connect
) -> None:
    one = await make_container(api, "one", "sh", "-c", "echo first; exec cat", OpenStdin=True)
    two = await make_container(api, "two", "sh", "-c", "echo other; exec sleep 1000")
    await seen(one, state="running")
    await seen(two, state="running")
    page = await as_viewer.get(f"/logs/?container={one}&container={two}&container=nonsense")
    assert page.status_code == 200
    assert page.context["sources"] == {"0": "one", "1": "two"}

    async def written() -> bool:
        async with api.container_logs(two) as log:
            return bool([data async for _stream, data in log])

    await eventually(written, 20)
    socket = await connect(as_viewer, f"/ws/logs/?container={one}&container={two}&tail=100")
    past = await lines_of(socket, 2)
    assert sorted((line[1], line[3]) for line in past) == [("first", 0), ("other", 1)]
    assert [time_key(line[2]) for line in past] == sorted(time_key(line[2]) for line in past)
    async with await api.container_attach(one, stdin=True, stdout=False, stderr=False) as stream:
        await stream.write(b"more\n")
        (line,) = await lines_of(socket, 1)
    assert (line[1], line[3]) == ("more", 0)


async def test_what_one_may_not_read_is_left_out(
    synced: EngineSync, api: EngineClient, viewer: User, admin: User, connect: Connect
) -> None:
    mine = await make_container(api, "mine", "sh", "-c", "echo mine")
    theirs = await make_container(api, "theirs", "sh", "-c", "echo theirs")
    await seen(mine)
    await seen(theirs)
    await sync_to_async(claim)("container", admin.pk, None, theirs)
    browser = await browser_of(viewer)
    page = await browser.get(f"/logs/?container={mine}&container={theirs}")
    assert page.context["sources"] == {"0": "mine"}
    assert b"theirs" not in page.content.replace(theirs.encode(), b"")
    socket = await connect(browser, f"/ws/logs/?container={mine}&container={theirs}")
    assert {line[3] for line in await lines_of(socket, 1)} == {0}
    socket = await connect(browser, f"/ws/logs/?container={theirs}")
    assert (await closing(socket, 20))[0] == 4404


async def test_a_page_of_none_teaches(
    transactional_db: None, as_viewer: AsyncClient, as_stranger: AsyncClient
) -> None:
    assert b"Several logs as one" in (await as_viewer.get("/logs/")).content
    assert (await as_viewer.post("/logs/")).status_code == 405
    assert (await as_stranger.get("/logs/")).status_code == 302
