"""The admin: what was seen is read-only, actions go the way of the buttons."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app.models import Container
from images_app.models import Image
from runtime.api.client import EngineClient
from tests.unit.web.conftest import eventually, make_container
from webdock.engines.models import AuditEntry, Engine
from webdock.engines.sync import EngineSync

LISTS = [
    "/admin/",
    "/admin/auth/user/",
    "/admin/auth/group/",
    "/admin/containers_app/container/",
    "/admin/containers_app/terminalsession/",
    "/admin/images_app/image/",
    "/admin/engines/engine/",
    "/admin/engines/auditentry/",
]


async def row_of(api: EngineClient, name: str = "web", **more: bool) -> Container:
    id = await make_container(api, name, **more)
    await eventually(lambda: Container.objects.filter(container_id=id).exclude(name="").aexists())
    if more.get("start", True):
        await eventually(lambda: Container.objects.filter(container_id=id, state="running").aexists())
    return await Container.objects.aget(container_id=id)


@pytest.mark.parametrize("path", LISTS)
async def test_every_list_of_the_admin_works(synced: EngineSync, as_admin: AsyncClient, path: str) -> None:
    answer = await as_admin.get(path)
    assert answer.status_code == 200
    assert "unsafe-inline" not in answer["Content-Security-Policy"]


async def test_a_container_is_shown_with_its_document_and_cannot_be_changed(
    synced: EngineSync, api: EngineClient, as_admin: AsyncClient
) -> None:
    row = await row_of(api)
    path = f"/admin/containers_app/container/{row.pk}/change/"
    answer = await as_admin.get(path)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert row.container_id in text
    assert answer.context["document"]["Id"] == row.container_id
    assert 'name="state"' not in text
    assert 'name="name"' not in text
    await as_admin.post(path, {"name": "hacked", "state": "exited"})
    await row.arefresh_from_db()
    assert (row.name, row.state) == ("web", "running")
    assert (await as_admin.get("/admin/containers_app/container/add/")).status_code == 403
    assert (
        await as_admin.post(f"/admin/containers_app/container/{row.pk}/delete/", {"post": "yes"})
    ).status_code == 403


async def act(browser: AsyncClient, kind: str, action: str, *rows: int) -> None:
    data = {"action": action, "_selected_action": [str(row) for row in rows]}
    answer = await browser.post(f"/admin/{kind}/", data, follow=True)
    assert answer.status_code == 200


async def test_actions_on_containers_go_the_way_of_the_buttons(
    synced: EngineSync, api: EngineClient, as_admin: AsyncClient
) -> None:
    row = await row_of(api)
    await act(as_admin, "containers_app/container", "kill", row.pk)
    await eventually(lambda: Container.objects.filter(pk=row.pk, state="exited").aexists())
    await act(as_admin, "containers_app/container", "start", row.pk)
    await eventually(lambda: Container.objects.filter(pk=row.pk, state="running").aexists())
    await act(as_admin, "containers_app/container", "remove", row.pk)
    entry = await AuditEntry.objects.filter(action="container.remove").afirst()
    assert entry is not None
    assert entry.result == "refused"
    assert entry.username == "admin"
    await act(as_admin, "containers_app/container", "force_remove", row.pk)
    await eventually(lambda: Container.objects.filter(pk=row.pk, removed_at__isnull=False).aexists())
    assert await AuditEntry.objects.filter(action="container.kill", result="ok").aexists()


async def test_an_image_is_shown_and_removed_through_the_engine(
    synced: EngineSync, api: EngineClient, as_admin: AsyncClient
) -> None:
    image = await Image.objects.aget(tag_rows__name="busybox:latest")
    answer = await as_admin.get(f"/admin/images_app/image/{image.pk}/change/")
    assert answer.status_code == 200
    assert answer.context["document"]["Id"] == image.image_id
    await act(as_admin, "images_app/image", "remove", image.pk)
    await eventually(lambda: Image.objects.filter(pk=image.pk, removed_at__isnull=False).aexists())
    assert await AuditEntry.objects.filter(action="image.remove", result="ok").aexists()


async def test_the_audit_trail_and_engines_cannot_be_changed(
    synced: EngineSync, as_admin: AsyncClient
) -> None:
    entry = await AuditEntry.objects.acreate(action="container.stop")
    engine = await Engine.objects.aget()
    for path in (f"/admin/engines/auditentry/{entry.pk}/", f"/admin/engines/engine/{engine.pk}/"):
        assert (await as_admin.get(f"{path}change/")).status_code == 200
        assert (await as_admin.post(f"{path}change/", {"action": "x"})).status_code == 403
        assert (await as_admin.post(f"{path}delete/", {"post": "yes"})).status_code == 403
    assert (await as_admin.get("/admin/engines/auditentry/add/")).status_code == 403


async def test_the_admin_makes_users(admin: User, as_admin: AsyncClient) -> None:
    data = {
        "username": "anna",
        "usable_password": "true",
        "password1": "correct horse battery",
        "password2": "correct horse battery",
    }
    answer = await as_admin.post("/admin/auth/user/add/", data)
    assert answer.status_code == 302
    assert await User.objects.filter(username="anna").aexists()
