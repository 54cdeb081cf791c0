"""A container's whole log as a file: complete, for whoever may look, and never ahead of its reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from django.test import AsyncClient

from containers_app.log_views import PIECE_BYTES, pieces
from containers_app.models import Container
from runtime.api.client import EngineClient
from runtime.api.errors import EngineUnreachable
from runtime.api.streams import LogStream
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually, make_container
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync

JSON = {"accept": "application/json"}


async def ended(api: EngineClient, *command: str, **body: Any) -> str:
    """A container that has run to its end and is known to the pages; its id."""
    id = await make_container(api, "web", *command, **body)
    await api.container_wait(id)
    rows = Container.objects.filter(container_id=id, state="exited")
    await eventually(rows.aexists, 20)
    return id


async def read(browser: AsyncClient, id: str, **query: str) -> bytes:
    answer = await browser.get(f"/containers/{id}/logs/download/", query)
    assert answer.status_code == 200
    return b"".join([piece async for piece in answer.streaming_content])


async def test_the_whole_log_comes_as_a_text_file(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await ended(api, "seq", "1", "30000")
    answer = await as_viewer.get(f"/containers/{id}/logs/download/")
    got = [piece async for piece in answer.streaming_content]
    assert b"".join(got) == b"".join(b"%d\n" % n for n in range(1, 30001))
    assert len(got) < 10, "lines are sent in company"
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="web.log"'
    entry = await AuditEntry.objects.aget(action="container.log.read")
    assert (entry.result, entry.object_id, entry.object_name) == ("ok", id, "web")
    page = await as_viewer.get(f"/containers/{id}/logs/")
    assert f'href="/containers/{id}/logs/download/"' in page.content.decode()


async def test_bytes_are_as_the_container_wrote_them(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await ended(api, "printf", r"\377 \033[31mred\033[0m\nunfinished")
    assert await read(as_viewer, id) == b"\xff \x1b[31mred\x1b[0m\nunfinished"


async def test_times_and_limits_are_honoured(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await ended(api, "printf", r"one\ntwo\nthree\n")
    assert await read(as_viewer, id, tail="2") == b"two\nthree\n"
    assert await read(as_viewer, id, tail="0") == b""
    assert await read(as_viewer, id, tail="all", since="1", until="99999999999") == b"one\ntwo\nthree\n"
    assert await read(as_viewer, id, since="99999999999") == b""
    assert await read(as_viewer, id, until="1") == b""
    stamped = (await read(as_viewer, id, timestamps="1", tail="1")).decode()
    assert stamped.startswith("20")
    assert stamped.endswith("Z three\n")


@pytest.mark.parametrize(
    "query", ["since=yesterday", "until=nan", "since=-1", "tail=-1", "tail=1e3", "tail=²"]
)
async def test_nonsense_is_refused_by_name(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient, query: str
) -> None:
    id = await make_container(api, "web")
    answer = await as_viewer.get(f"/containers/{id}/logs/download/?{query}", headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["message"].lower().startswith(query.partition("=")[0])


async def test_only_people_who_may_look_and_only_by_get(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, as_stranger: AsyncClient
) -> None:
    id = await ended(api, "echo", "hello")
    path = f"/containers/{id}/logs/download/"
    assert await read(as_operator, id) == b"hello\n"
    stranger = await as_stranger.get(path)
    assert stranger.status_code == 302
    assert stranger["Location"].startswith("/login/")
    assert (await as_operator.post(path)).status_code == 405
    assert await AuditEntry.objects.filter(action="container.log.read").acount() == 1


async def test_a_container_nobody_knows_is_not_found(synced: EngineSync, as_viewer: AsyncClient) -> None:
    assert (await as_viewer.get(f"/containers/{'f' * 64}/logs/download/")).status_code == 404


async def test_an_engine_that_is_away_is_said_plainly(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await ended(api, "echo", "hello")
    await fake.go_away()
    answer = await as_viewer.get(f"/containers/{id}/logs/download/", headers=JSON)
    assert answer.status_code >= 500
    assert "does not answer" in answer.json()["message"]
    assert (await AuditEntry.objects.aget(action="container.log.read")).result == "failed"


class Endless:
    """A log without an end that counts what was taken of it."""

    def __init__(self, *, breaks_at: int = 0) -> None:
        self.taken, self.closed, self._breaks_at = 0, False, breaks_at

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        while True:
            self.taken += 1
            if self.taken == self._breaks_at:
                raise EngineUnreachable("gone")
            yield 1, b"x" * 1023 + b"\n"

    def close(self) -> None:
        self.closed = True


async def test_a_reader_that_vanishes_lets_go_and_none_is_read_ahead() -> None:
    log = Endless()
    body = cast(Any, pieces(cast(LogStream, log)))
    for n in range(1, 4):
        assert len(await anext(body)) == PIECE_BYTES
        assert log.taken == n * PIECE_BYTES // 1024
    assert not log.closed
    await body.aclose()
    assert log.closed


async def test_an_engine_that_stops_in_the_middle_breaks_the_download() -> None:
    log = Endless(breaks_at=100)
    body = pieces(cast(LogStream, log))
    with pytest.raises(EngineUnreachable):
        async for _piece in body:
            pass
    assert log.closed
