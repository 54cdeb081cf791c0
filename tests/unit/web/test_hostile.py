"""Bad input from engines and people: large, contrary, sent twice, cut off in the middle."""

from __future__ import annotations

import asyncio
from typing import Any

from django.db import connection
from django.test import AsyncClient
from django.utils.html import escape

from containers_app.models import Container
from images_app.models import ImageTag
from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually, make_container
from webdock.engines.models import AuditEntry, current_engine
from webdock.engines.signs import written_out
from webdock.engines.sync import EngineSync

JSON = {"accept": "application/json"}
EVIL = "<script>alert(1)</script>\x1b[31m\x1b]52;c;aGk=\x07\u202egnp.exe\u2066"
DOCUMENT_BYTES = 5_000_000


async def known(id: str, **fields: Any) -> None:
    await eventually(lambda: Container.objects.filter(container_id=id, **fields).aexists())


async def test_hostile_words_stay_words_wherever_they_are_shown(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_admin: AsyncClient
) -> None:
    id = await make_container(
        api, "evil", "sleep", "1000", EVIL, Labels={EVIL: EVIL}, Env=[f"A={EVIL}"], Hostname="h"
    )
    await known(id)
    fake.rooms.images.made_by = f"/bin/sh -c echo {EVIL}"
    fake.add_image("evil:1", Labels={EVIL: EVIL}, Env=[f"A={EVIL}"], Cmd=[EVIL])
    await api.image_tag("evil:1", repo="evil", tag="2")
    await eventually(ImageTag.objects.filter(name="evil:2").aexists)
    image = (await api.image_inspect("evil:1"))["Id"].removeprefix("sha256:")
    paths = (
        f"/images/{image}/",
        "/",
        "/containers/",
        "/events/",
        "/audit/",
        "/containers/?q=%3Cscript%3Ealert(1)%3C/script%3E&label=%3Cscript%3Ealert(1)",
        f"/containers/{id}/",
        f"/containers/{id}/edit/",
        f"/containers/run/?from={id}",
        f"/containers/{id}/inspect/",
        f"/containers/{id}/events/",
    )
    for path in paths:
        answer = await as_admin.get(path)
        assert answer.status_code == 200, path
        text = answer.content.decode()
        assert "<script>alert" not in text, path
        if "edit" not in path and "from=" not in path:  # what people edit stays as it is
            assert not set(text) & set("\x1b\x07\u202e\u2066"), path
    made = (await as_admin.get(f"/images/{image}/")).content.decode()
    assert f"<bdi>/bin/sh -c echo {escape(written_out(EVIL))}</bdi>" in made


async def test_a_document_of_five_megabytes_is_shown_and_no_list_carries_it(
    synced: EngineSync, api: EngineClient, as_admin: AsyncClient
) -> None:
    id = await make_container(api, "large")
    await known(id)
    filler = {f"label-{number}": "x" * 1000 for number in range(DOCUMENT_BYTES // 1000)}

    def fill() -> None:
        row = Container.objects.get(container_id=id)
        row.inspect["Config"]["Filler"] = filler
        row.save(update_fields=["inspect"])

    await asyncio.to_thread(fill)
    assert len((await as_admin.get("/containers/")).content) < 100_000
    assert len((await as_admin.get(f"/containers/{id}/")).content) < 200_000
    shown = await as_admin.get(f"/containers/{id}/inspect/")
    assert shown.status_code == 200
    assert b"label-4999" in shown.content


async def test_ten_thousand_containers_are_a_page_of_fifty(
    transactional_db: None, as_viewer: AsyncClient
) -> None:
    def fill() -> None:
        Container.objects.create(
            engine=current_engine(), name="c-00000", image="busybox", container_id="0" * 64
        )
        own = {"name": "printf('c-%%05d', n)", "container_id": "printf('%%064d', n)"}
        columns = [field.column for field in Container._meta.concrete_fields if not field.primary_key]
        values = ", ".join(own.get(column, column) for column in columns)
        with connection.cursor() as cursor:  # row by row it would take ten seconds
            cursor.execute(
                "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < 9999) "
                f"INSERT INTO containers_app_container ({', '.join(columns)}) "
                f"SELECT {values} FROM containers_app_container, count",
                [],
            )

    await asyncio.to_thread(fill)
    answer = await as_viewer.get("/containers/?sort=name&page=200")
    assert [row.name for row in answer.context["rows"]][-1] == "c-09999"
    assert answer.context["counts"]["total"] == 10_000
    assert len(answer.content) < 300_000
    found = await as_viewer.get("/containers/?q=c-04242")
    assert [row.name for row in found.context["rows"]] == ["c-04242"]


async def test_two_tabs_that_want_the_contrary_each_get_an_answer(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "torn")
    await known(id, state="running")
    verbs = ("pause", "stop", "start", "remove", "restart", "remove")
    answers = await asyncio.gather(
        *(as_operator.post(f"/containers/{id}/{verb}/", {"force": "1"}, headers=JSON) for verb in verbs)
    )
    assert all(answer.status_code in (200, 404, 409) for answer in answers)
    assert all(answer.json()["message"] for answer in answers)
    rows = [row async for row in AuditEntry.objects.filter(action__startswith="container.", object_id=id)]
    assert len(rows) >= sum(answer.status_code != 404 for answer in answers)
    assert all(row.result for row in rows)


async def test_a_form_sent_twice_makes_one_container(
    synced: EngineSync, fake: FakeEngine, as_operator: AsyncClient
) -> None:
    form = {"image": "busybox:latest", "restart": "no", "name": "once"}
    first = await as_operator.post("/containers/run/", form)
    again = await as_operator.post("/containers/run/", form)
    assert first.status_code == 302
    assert again.status_code in (400, 409)
    await eventually(lambda: Container.objects.filter(name="once").aexists())
    assert await Container.objects.filter(name="once").acount() == 1
