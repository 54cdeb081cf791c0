"""The audit trail: filters, files of it, and rows for what is refused and revealed."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.utils import timezone

from containers_app.models import Container
from runtime.api.client import EngineClient
from tests.unit.web.conftest import browser_of, eventually, make_container
from webdock.engines import audit_views
from webdock.engines.audit import Actor, write
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync

JSON = {"accept": "application/json"}


@pytest.fixture
def entries(transactional_db: None) -> None:
    alice, bob = Actor(None, "alice", "192.0.2.1"), Actor(None, "bob", "192.0.2.2")
    write(alice, "container.stop", engine="local", kind="container", id="a" * 64, name="web")
    write(bob, "container.start", kind="container", name="web", result="refused", detail="policy says no")
    write(bob, "volume.create", kind="volume", id="data", name='=cmd|"/c calc"!A1')
    old = write(alice, "login", kind="user", name="alice")
    AuditEntry.objects.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=30))


async def actions(browser: AsyncClient, query: str) -> list[str]:
    answer = await browser.get(f"/audit/?{query}")
    assert answer.status_code == 200
    return [entry.action for entry in answer.context["page"]]


async def test_each_filter_narrows(entries: None, as_admin: AsyncClient) -> None:
    today = f"{timezone.now():%Y-%m-%d}"
    for query, expected in (
        ("", ["login", "volume.create", "container.start", "container.stop"]),
        ("user=bob", ["volume.create", "container.start"]),
        ("action=container", ["container.start", "container.stop"]),
        ("action=container.stop", ["container.stop"]),
        ("kind=volume", ["volume.create"]),
        ("result=refused", ["container.start"]),
        ("q=policy", ["container.start"]),
        ("q=192.0.2.1", ["login", "container.stop"]),
        (f"since={today}", ["volume.create", "container.start", "container.stop"]),
        ("until=2020-01-01", []),
        (
            "since=nonsense&kind=nonsense&result=x",
            ["login", "volume.create", "container.start", "container.stop"],
        ),
    ):
        assert await actions(as_admin, query) == expected, query


async def content(answer: Any) -> str:
    return b"".join([piece async for piece in answer.streaming_content]).decode()


async def test_the_export_has_what_the_filters_leave(
    entries: None, as_admin: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_views, "EXPORT_BATCH", 1)  # several lots
    answer = await as_admin.get("/audit/export/?format=jsonl&user=bob")
    assert answer["Content-Disposition"].startswith("attachment; filename=")
    rows = [json.loads(line) for line in (await content(answer)).splitlines()]
    assert [row["action"] for row in rows] == ["volume.create", "container.start"]
    assert rows[1]["detail"] == "policy says no"
    table = list(csv.DictReader(StringIO(await content(await as_admin.get("/audit/export/?kind=volume")))))
    assert table[0]["object_name"] == '\'=cmd|"/c calc"!A1', "a spreadsheet would have run it"
    assert (await AuditEntry.objects.filter(action="audit.export").acount()) == 2


async def test_the_trail_is_the_administrators_alone(
    entries: None, as_operator: AsyncClient, as_viewer: AsyncClient
) -> None:
    for browser in (as_operator, as_viewer):
        for path in ("/audit/", "/audit/export/"):
            assert (await browser.get(path)).status_code == 403


async def test_what_somebody_may_not_leaves_a_row(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "one")
    await eventually(Container.everything.filter(container_id=id).aexists, 20)
    assert (await as_viewer.post(f"/containers/{id}/stop/", headers=JSON)).status_code == 403
    entry = await AuditEntry.objects.aget(action="right.refused")
    assert (entry.username, entry.object_id, entry.result) == ("viewer", id, "refused")
    assert "lacks operate" in entry.detail


async def test_secrets_that_were_shown_leave_a_row(
    synced: EngineSync, api: EngineClient, operator: User, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "one", Env=["PASSWORD=hunter2"])
    await eventually(Container.everything.filter(container_id=id).aexists, 20)
    assert "hunter2" not in (await as_viewer.get(f"/containers/{id}/inspect/")).content.decode()
    assert not await AuditEntry.objects.filter(action="container.reveal").aexists()
    browser = await browser_of(operator)
    assert "hunter2" in (await browser.get(f"/containers/{id}/inspect/")).content.decode()
    entry = await AuditEntry.objects.aget(action="container.reveal")
    assert (entry.username, entry.object_name) == ("operator", "one")
