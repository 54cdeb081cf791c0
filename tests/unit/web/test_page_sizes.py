"""What pages cost however much there is: how many questions to the database, and how big a page gets."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.test import AsyncClient
from django.utils import timezone

from containers_app.models import Container
from webdock.engines import timeline
from webdock.engines.models import Engine

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202egnp.exe"
QUERIES_MAX = 25
ELEMENTS_MAX = 3000


class Elements(HTMLParser):
    """Counts what a page makes of a document, without what stands in templates."""

    number = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.number += 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Every question to the database, in whichever thread."""
    found: list[tuple[str, Any]] = []
    execute = CursorWrapper.execute

    def noted(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        if sql.startswith("SELECT"):
            found.append((sql, params))
        return execute(self, sql, params)

    monkeypatch.setattr(CursorWrapper, "execute", noted)
    return found


def make(number: int) -> None:
    engine, _new = Engine.objects.get_or_create(alias="local")
    now = timezone.now()
    Container.everything.bulk_create(
        Container(
            engine=engine,
            container_id=f"{at:064x}",
            name=f"page-{at:05}",
            image=HOSTILE,
            command=HOSTILE,
            state=("running", "exited", "created")[at % 3],
            created_at=now - timedelta(seconds=at),
            labels={"words": HOSTILE},
            networks=[{"name": HOSTILE, "ip": "", "gateway": "", "mac": "", "aliases": []}],
            revision=at,
            inspect={"Id": f"{at:064x}", "Config": {"Env": [f"WORDS={HOSTILE}"]}},
        )
        for at in range(number)
    )


@pytest.mark.parametrize(
    "path",
    [
        "/", "/containers/", "/containers/?page=7", "/containers/?q=page-00&sort=name", "/people/",
        "/images/", "/admin/containers_app/container/", f"/containers/{7:064x}/",
        f"/containers/{7:064x}/inspect/",
    ],
)  # fmt: skip
async def test_a_page_stays_small_with_a_thousand_containers(
    as_admin: AsyncClient, asked: list[tuple[str, Any]], path: str
) -> None:
    await sync_to_async(make)(1000)
    asked.clear()
    answer = await as_admin.get(path)
    assert answer.status_code == 200
    assert len(asked) <= QUERIES_MAX, "\n".join(sql for sql, _params in asked)
    text = answer.content.decode()
    elements = Elements()
    elements.feed(text)
    assert elements.number < ELEMENTS_MAX
    assert "<script>alert" not in text


async def test_the_overview_looks_up_what_needs_attention_and_reads_no_list_of_all(
    as_admin: AsyncClient, asked: list[tuple[str, Any]]
) -> None:
    await sync_to_async(make)(100)
    asked.clear()
    await as_admin.get("/")

    def plans() -> list[str]:
        found = []
        with connection.cursor() as cursor:
            for sql, params in list(asked):
                if "containers_app_container" in sql:
                    cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
                    found += [row[-1] for row in cursor.fetchall()]
        return found

    if connection.vendor == "sqlite":
        assert not [plan for plan in await sync_to_async(plans)() if "container_name" in plan]


async def test_the_events_of_a_day_are_drawn_in_pieces(
    as_admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(timezone.now().timestamp())
    row = {
        "type": "network",
        "action": "create",
        "id": "ab" * 32,
        "name": HOSTILE,
        "details": [("of", HOSTILE)],
    }
    rows = [
        {**row, "at": (now - at) * 10**9, "time": timezone.now() - timedelta(seconds=at), "gone": False}
        for at in range(1000)
    ]

    async def read(*_asked: object) -> list[dict[str, Any]]:
        return rows

    monkeypatch.setattr(timeline, "_read", read)
    seen, path = [], "/events/"
    while path:
        answer = await as_admin.get(path)
        elements = Elements()
        elements.feed(answer.content.decode())
        assert elements.number < ELEMENTS_MAX / 2
        piece = answer.context["piece"]
        assert f"{piece.first}–{piece.last} of 1000" in answer.content.decode().replace(",", "")
        seen += piece.rows
        path = f"/events/?before={piece.older}" if piece.older is not None else ""
    assert seen == rows


async def test_a_container_with_thousands_of_variables_and_labels_has_a_page_like_others(
    as_admin: AsyncClient,
) -> None:
    await sync_to_async(make)(1)
    row = await Container.everything.aget()
    row.inspect = {"Id": row.container_id, "Config": {"Env": [f"V{at}={HOSTILE}" for at in range(20_000)]}}
    row.labels = {f"l{at}": "x" * 300 for at in range(5_000)}
    await row.asave()
    page = (await as_admin.get(f"/containers/{row.container_id}/")).content.decode()
    elements = Elements()
    elements.feed(page)
    assert elements.number < ELEMENTS_MAX
    assert "All 20000 are in the inspect document" in page.replace(",", "")
    assert f"/containers/{row.container_id}/inspect/" in page
