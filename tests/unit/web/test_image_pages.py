"""Pages and verbs of images, and the pages that ask the engine directly."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient

from images_app.models import Image
from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually, make_container
from webdock.engines.models import AuditEntry, Engine
from webdock.engines.sync import EngineSync

JSON = {"accept": "application/json"}


async def image_of(name: str) -> Image:
    return await Image.objects.aget(tag_rows__name=name)


async def test_list_shows_tags_sizes_and_users(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    id = await make_container(api, "web")
    await eventually(lambda: used(as_viewer))
    answer = await as_viewer.get("/images/")
    text = answer.content.decode()
    assert "busybox:latest" in text
    assert "1 container" in text
    assert id
    image = await image_of("busybox:latest")
    assert f'data-id="{image.image_id}"' in text


async def used(browser: AsyncClient) -> bool:
    return b"1 container" in (await browser.get("/images/")).content


async def test_list_filters_and_sorts(synced: EngineSync, as_viewer: AsyncClient) -> None:
    async def names(query: str) -> list[str]:
        answer = await as_viewer.get(f"/images/?{query}")
        assert answer.status_code == 200, query
        return [row.name for row in answer.context["rows"]]

    assert await names("sort=name") == ["busybox:latest", "webdock/busybox:latest", "webdock/hello:latest"]
    assert await names("q=HELLO") == ["webdock/hello:latest"]
    image = await image_of("busybox:latest")
    assert "busybox:latest" in await names(f"q={image.short_id}")
    for query in ("sort=-size", "sort=created", "sort=;x", "page=9"):
        assert len(await names(query)) == 3


async def test_detail_shows_history_and_users(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    await make_container(api, "web")
    image = await image_of("busybox:latest")

    async def shown() -> Any:
        answer = await as_viewer.get(image.get_absolute_url())
        assert answer.status_code == 200
        return answer if b">web</bdi>" in answer.content else None

    answer = await eventually(shown)
    assert isinstance(answer.context["history"], list)
    assert (await as_viewer.get(f"/images/{image.image_id}/")).status_code == 200, (
        "with the algorithm as well"
    )
    assert (await as_viewer.get(f"/images/{'f' * 64}/")).status_code == 404
    assert (await as_viewer.post(image.get_absolute_url())).status_code == 405


async def test_tag_and_untag(synced: EngineSync, api: EngineClient, as_operator: AsyncClient) -> None:
    image = await image_of("busybox:latest")
    answer = await as_operator.post(f"{image.get_absolute_url()}tag/", {"name": "shop/app"}, headers=JSON)
    assert answer.json() == {"ok": True, "message": "shop/app:latest is now a name of this image."}
    await eventually(lambda: Image.objects.filter(tag_rows__name="shop/app:latest").aexists())
    path = f"{image.get_absolute_url()}remove/"
    assert (await as_operator.post(path, {"tag": "not/this:1"}, headers=JSON)).status_code == 404
    answer = await as_operator.post(path, {"tag": "shop/app:latest"}, headers=JSON)
    assert answer.json()["ok"] is True

    async def untagged() -> bool:
        return not await Image.objects.filter(tag_rows__name="shop/app:latest").aexists()

    await eventually(untagged)
    assert await Image.objects.filter(tag_rows__name="busybox:latest").aexists()
    actions = [entry.action async for entry in AuditEntry.objects.order_by("pk")]
    assert actions == ["image.tag", "image.untag"]


async def test_remove_takes_every_name_and_is_refused_while_used(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    await api.image_tag("busybox:latest", repo="second", tag="1")
    await eventually(lambda: Image.objects.filter(tag_rows__name="second:1").aexists())
    id = await make_container(api, "web")
    image = await image_of("busybox:latest")
    path = f"{image.get_absolute_url()}remove/"
    used = await as_operator.post(path, headers=JSON)
    assert used.status_code == 409
    assert used.json()["ok"] is False
    await api.container_remove(id, force=True)
    assert (await as_operator.post(path, headers=JSON)).json()["ok"] is True
    await eventually(lambda: Image.objects.filter(pk=image.pk, removed_at__isnull=False).aexists())


async def test_image_verbs_are_for_operators_and_by_post(
    synced: EngineSync, as_viewer: AsyncClient, as_stranger: AsyncClient, as_operator: AsyncClient
) -> None:
    url = (await image_of("busybox:latest")).get_absolute_url()
    for path in (f"{url}remove/", f"{url}tag/", "/images/pull/"):
        assert (await as_viewer.post(path, headers=JSON)).status_code == 403, path
        assert (await as_stranger.post(path, headers=JSON)).status_code == 401, path
        assert (await as_operator.get(path)).status_code == 405, path
    bad = await as_operator.post(f"{url}tag/", {"name": "a b"}, headers=JSON)
    assert bad.status_code == 400
    assert bad.json()["message"].startswith("name")


async def test_networks_volumes_events_and_engines_are_shown(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    await api.network_create({"Name": "shop"})
    await api.volume_create({"Name": "data"})
    id = await make_container(api, "web")
    await eventually(lambda: Engine.objects.filter(volume_count=1, network_count__gte=2).aexists())
    answer = await as_viewer.get("/networks/")
    assert b"shop" in answer.content
    assert answer.context["error"] == ""
    assert b"data" in (await as_viewer.get("/volumes/")).content
    events = await as_viewer.get("/events/")
    assert [row["action"] for row in events.context["piece"].rows if row["id"] == id] == ["start", "create"]
    for query, actions in (
        ("type=container&action=cre", ["create"]),
        ("type=image", []),
        (f"name={id[:12]}&since=5m", ["start", "create"]),
        ("name=nobody", []),
        ("since=nonsense&type=nonsense", ["start", "create"]),
    ):
        rows = (await as_viewer.get(f"/events/?{query}")).context["piece"].rows
        assert [row["action"] for row in rows if row["id"] == id] == actions, query
    assert b"local" in (await as_viewer.get("/engines/")).content
    answer = await as_viewer.get("/")
    assert answer.context["nav"]["volumes"] == 1
    assert answer.context["counts"]["total"] in (0, 1)


@pytest.mark.parametrize(
    "path", ["/networks/", "/volumes/", "/events/", "/engines/", "/", "/images/", "/containers/"]
)
async def test_pages_say_when_the_engine_is_away(
    transactional_db: None, as_admin: AsyncClient, path: str
) -> None:
    answer = await as_admin.get(path)
    assert answer.status_code == 200
    if path in ("/networks/", "/volumes/", "/events/"):
        assert "does not answer" in answer.context["error"]
    assert (await as_admin.post(path)).status_code == 405


async def test_the_audit_trail_is_for_admins_and_can_be_searched(
    transactional_db: None, as_admin: AsyncClient, as_operator: AsyncClient
) -> None:
    await AuditEntry.objects.acreate(action="container.stop", username="anna", object_name="web", result="ok")
    await AuditEntry.objects.acreate(
        action="image.pull", username="berta", object_name="redis", result="failed"
    )
    assert (await as_operator.get("/audit/")).status_code == 403
    for query, names in (("", ["redis", "web"]), ("anna stop", ["web"]), ("failed", ["redis"]), ("zzz", [])):
        answer = await as_admin.get("/audit/", {"q": query})
        assert [entry.object_name for entry in answer.context["page"]] == names, query


async def test_the_overview_names_what_needs_attention(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_viewer: AsyncClient
) -> None:
    from containers_app.models import Container

    id = await make_container(api, "web")
    await eventually(lambda: Container.objects.filter(container_id=id, state="running").aexists())
    await Container.objects.filter(container_id=id).aupdate(state="running", health="unhealthy")
    answer = await as_viewer.get("/")
    assert "web is unhealthy." in [item["text"] for item in answer.context["attention"]]
    assert answer.context["host"]["memory_total"] > 0
    assert answer.context["info"]["ServerVersion"]


async def test_networks_are_made_and_removed(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, as_viewer: AsyncClient
) -> None:
    form = {"name": "shop", "subnet": "172.30.0.0/24", "gateway": "172.30.0.1", "internal": "1"}
    assert (await as_viewer.post("/networks/-/create/", form, headers=JSON)).status_code == 403
    answer = await as_operator.post("/networks/-/create/", form, headers=JSON)
    assert answer.json() == {"ok": True, "message": "The network shop was made."}
    made = await api.network_inspect("shop")
    assert made["Internal"] is True
    assert made["IPAM"]["Config"][0]["Subnet"] == "172.30.0.0/24"
    taken = await as_operator.post("/networks/-/create/", {"name": "shop"}, headers=JSON)
    assert taken.status_code == 409
    assert (await as_operator.post("/networks/shop/remove/", headers=JSON)).json()["ok"] is True
    assert (await as_operator.post("/networks/shop/remove/", headers=JSON)).status_code == 404
    assert (await as_operator.post("/networks/-/prune/", headers=JSON)).json()["ok"] is True
    entry = await AuditEntry.objects.aget(action="network.create", result="ok")
    assert (entry.object_name, entry.username) == ("shop", "operator")


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("name", "../x"), ("subnet", "many"), ("gateway", "x"), ("driver", "macvlan")],
)
async def test_a_network_names_the_field_that_is_wrong(
    transactional_db: None, as_operator: AsyncClient, field: str, value: str
) -> None:
    form = {"name": "shop", "subnet": "172.30.0.0/24", field: value}
    answer = await as_operator.post("/networks/-/create/", form, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(field)


async def test_volumes_are_made_and_removed(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, as_viewer: AsyncClient
) -> None:
    assert (await as_viewer.post("/volumes/-/create/", {"name": "data"}, headers=JSON)).status_code == 403
    assert (await as_operator.post("/volumes/-/create/", {"name": "data"}, headers=JSON)).json()["ok"] is True
    assert (await api.volume_inspect("data"))["Name"] == "data"
    assert (await as_operator.post("/volumes/-/create/", {"name": "/etc"}, headers=JSON)).status_code == 400
    back = await as_operator.post("/volumes/data/remove/")
    assert (back.status_code, back["Location"]) == (302, "/volumes/")
    assert (await as_operator.post("/volumes/data/remove/", headers=JSON)).status_code == 404
    for path in ("/volumes/-/prune/", "/networks/-/prune/", "/volumes/-/create/", "/networks/x/remove/"):
        assert (await as_operator.get(path)).status_code == 405, path


async def test_what_is_unused_is_pruned(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, as_viewer: AsyncClient
) -> None:
    kept = await make_container(api, "kept")
    await make_container(api, "gone", start=False)
    for path in ("/containers/prune/", "/images/prune/", "/volumes/-/prune/"):
        assert (await as_viewer.post(path, headers=JSON)).status_code == 403, path
        assert (await as_operator.post(path, headers=JSON)).json()["ok"] is True, path
    assert [one["Id"] for one in await api.container_list(all=True)] == [kept]
    assert (await as_operator.post("/images/prune/", {"all": "1"}, headers=JSON)).json()["ok"] is True
    assert len(await api.image_list()) == 1
    actions = {entry.action async for entry in AuditEntry.objects.filter(result="ok")}
    assert actions == {"container.prune", "image.prune", "volume.prune"}


async def test_processes_are_listed(synced: EngineSync, api: EngineClient, as_viewer: AsyncClient) -> None:
    id = await make_container(api, "web")
    answer = await as_viewer.get(f"/containers/{id}/processes/")
    assert answer.status_code == 200
    assert any("sleep" in " ".join(row) for row in answer.json()["processes"])
    await api.container_kill(id)
    assert (await as_viewer.get(f"/containers/{id}/processes/")).status_code == 409
