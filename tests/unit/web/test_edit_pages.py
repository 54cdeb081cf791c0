"""Run, duplicate, edit: the pages, three people, two tabs, forms sent twice, engines that go away."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from django.test import AsyncClient

from containers_app.models import Container, Recreation
from runtime.api.client import EngineClient
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import eventually, make_container, recreated
from webdock.engines.models import AuditEntry
from webdock.engines.secrets import MASK
from webdock.engines.sync import EngineSync

JSON = {"accept": "application/json"}
EVIL = "<script>alert(1)</script>\u202e\x1b[31m"


async def shown(browser: AsyncClient, id: str) -> dict[str, Any]:
    """The edit form as a browser would send it back."""
    answer = await browser.get(f"/containers/{id}/edit/")
    assert answer.status_code == 200
    form = answer.context["form"]
    data = {"mark": answer.context["mark"]}
    for field in form:
        value = field.value()
        if value is True:
            data[field.name] = "on"
        elif value not in (False, None):
            data[field.name] = str(value)
    return data


async def outcome(answer: Any) -> Recreation:
    assert answer.status_code == 302, answer.context and answer.context["form"].errors
    return await recreated(answer["Location"].rstrip("/").rpartition("/")[2])


async def test_an_edit_shows_the_difference_and_then_recreates(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    await api.network_create({"Name": "side"})
    id = await make_container(
        api,
        "web",
        Env=["A=1", "TOKEN=topsecret"],
        Labels={"team": "shop"},
        HostConfig={"Binds": ["data:/data"]},
    )
    await api.network_connect("side", {"Container": id, "EndpointConfig": {"Aliases": ["www"]}})
    data = await shown(as_operator, id)
    assert f"TOKEN={MASK}" in data["env"]
    assert "side alias=www" in data["network"]
    data["env"] = data["env"].replace("A=1", "A=2")
    page = await as_operator.post(f"/containers/{id}/edit/", data)
    text = page.content.decode()
    assert page.status_code == 200
    assert [change["field"] for change in page.context["changes"]] == ["env"]
    assert "topsecret" not in text
    assert (await api.container_inspect("web"))["Id"] == id  # nothing was done yet
    again = dict(re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)"', text))
    row = await outcome(
        await as_operator.post(f"/containers/{id}/edit/", {**data, "id": again["id"], "sure": "yes"})
    )
    assert (row.outcome, row.failure) == ("done", "")
    new = await api.container_inspect("web")
    assert new["Id"] == row.new_id
    assert {"A=2", "TOKEN=topsecret"} <= set(new["Config"]["Env"])
    assert new["HostConfig"]["Binds"] == ["data:/data"]
    assert new["NetworkSettings"]["Networks"]["side"]["Aliases"] == ["www"]
    assert len(await api.container_list(all=True)) == 1
    page = await as_operator.get(f"/recreations/{row.pk}/")
    assert b"has taken over" in page.content
    said = await as_operator.get(f"/recreations/{row.pk}/", headers=JSON)
    assert said.json()["outcome"] == "done"
    assert all(said.json()["steps"].values())
    assert await AuditEntry.objects.filter(action="container.recreate", result="ok", object_id=id).aexists()


async def test_the_difference_names_who_shares_with_it(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web", Labels={"com.docker.compose.project": "shop"})
    await make_container(api, "side", HostConfig={"NetworkMode": f"container:{id}"})
    await make_container(api, "copy", HostConfig={"VolumesFrom": ["web:ro"]})
    await make_container(api, "alone")
    await eventually(Container.everything.filter(name="alone").aexists, 20)
    await eventually(Container.everything.filter(name="copy").aexists, 20)
    page = await as_operator.post(f"/containers/{id}/edit/", await shown(as_operator, id))
    assert page.context["sharers"] == ["copy", "side"]
    assert b"compose project" in page.content


async def test_a_form_sent_twice_recreates_once(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    page = await as_operator.post(f"/containers/{id}/edit/", await shown(as_operator, id))
    data = {**await shown(as_operator, id), "id": str(page.context["recreation_id"]), "sure": "yes"}
    first = await as_operator.post(f"/containers/{id}/edit/", data)
    second = await as_operator.post(f"/containers/{id}/edit/", data)
    row = await outcome(first)
    assert row.outcome == "done"
    # The container of the second is gone by now, or the very same recreation is shown.
    assert second.status_code in (302, 404, 409)
    assert await Recreation.objects.acount() == 1
    assert len(await api.container_list(all=True)) == 1


async def test_an_edit_of_what_changed_meanwhile_is_looked_at_again(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    data = await shown(as_operator, id)
    await api.container_update(id, {"Memory": 64 << 20})
    for more in ({}, {"sure": "yes"}):
        answer = await as_operator.post(f"/containers/{id}/edit/", {**data, **more})
        assert answer.status_code == 409
        assert b"changed meanwhile" in answer.content
    assert not await Recreation.objects.aexists()


async def test_an_edit_of_what_another_tab_removed_says_so_and_makes_nothing(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    data = {**await shown(as_operator, id), "sure": "yes"}
    removed = await as_operator.post(f"/containers/{id}/remove/", {"force": "1"}, headers=JSON)
    assert removed.json()["ok"] is True
    answer = await as_operator.post(f"/containers/{id}/edit/", data, follow=True)
    assert answer.status_code == 404 or b"No such container" in answer.content
    verb = await as_operator.post(f"/containers/{id}/start/", headers=JSON)
    assert verb.status_code == 404
    assert not await Recreation.objects.aexists()
    assert await api.container_list(all=True) == []


async def test_an_edit_that_fails_says_why_and_leaves_the_old_one(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    data = {**await shown(as_operator, id), "command": "no-such-program", "sure": "yes"}
    row = await outcome(await as_operator.post(f"/containers/{id}/edit/", data))
    assert row.outcome == "undone"
    assert "no-such-program" in row.failure
    one = await api.container_inspect("web")
    assert (one["Id"], one["State"]["Running"]) == (id, True)
    assert b"as it was before" in (await as_operator.get(f"/recreations/{row.pk}/")).content
    entry = await AuditEntry.objects.aget(action="container.recreate")
    assert entry.result == "failed"


async def test_one_that_removes_itself_is_refused(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web", HostConfig={"AutoRemove": True})
    answer = await as_operator.get(f"/containers/{id}/edit/", follow=True)
    assert b"Duplicate it instead" in answer.content


async def test_edit_and_recreation_are_for_operators(
    synced: EngineSync,
    api: EngineClient,
    as_viewer: AsyncClient,
    as_stranger: AsyncClient,
    as_operator: AsyncClient,
) -> None:
    id = await make_container(api, "web")
    for path in (
        f"/containers/{id}/edit/",
        f"/containers/{id}/duplicate/",
        f"/recreations/{'0' * 8}-0000-0000-0000-{'0' * 12}/",
    ):
        assert (await as_viewer.get(path)).status_code == 403, path
        assert (await as_stranger.get(path)).status_code == 302, path
    for path in ("/containers/run/check/", "/containers/run/read/"):
        assert (await as_viewer.post(path)).status_code == 403, path
        assert (await as_operator.get(path)).status_code == 405, path
    assert (await as_operator.get(f"/recreations/{'0' * 8}-0000-0000-0000-{'0' * 12}/")).status_code == 404
    assert (await as_operator.put(f"/containers/{id}/edit/")).status_code == 405


async def test_without_an_engine_an_edit_says_so(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    data = await shown(as_operator, id)
    await fake.go_away()
    for answer in (
        await as_operator.get(f"/containers/{id}/edit/"),
        await as_operator.post(f"/containers/{id}/edit/", {**data, "sure": "yes"}),
        await as_operator.get(f"/containers/{id}/duplicate/"),
    ):
        assert answer.status_code == 302
    answer = await as_operator.get(f"/containers/run/?from={id}", follow=True)
    assert b"does not answer" in answer.content
    await fake.come_back()


async def test_hostile_settings_never_become_markup_and_are_kept(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(
        api,
        "web",
        "sleep",
        "1000",
        EVIL,
        Labels={EVIL: EVIL, "=odd": "1"},
        Env=[f"A={EVIL}", "TWO=a\nb", "T=\u2028"],
    )
    data = await shown(as_operator, id)
    page = await as_operator.post(f"/containers/{id}/edit/", {**data, "hostname": "box"})
    assert [change["field"] for change in page.context["changes"]] == ["hostname"]
    for answer in (
        page,
        await as_operator.get(f"/containers/{id}/edit/"),
        await as_operator.get(f"/containers/run/?from={id}"),
    ):
        assert b"<script>alert" not in answer.content
    before = await api.container_inspect(id)
    row = await outcome(
        await as_operator.post(f"/containers/{id}/edit/", {**data, "hostname": "box", "sure": "yes"})
    )
    assert row.outcome == "done", row.failure
    after = await api.container_inspect("web")
    for key in ("Env", "Labels", "Cmd"):
        assert after["Config"][key] == before["Config"][key], key


async def test_what_is_typed_is_judged_and_shown_as_a_line(
    synced: EngineSync, as_operator: AsyncClient
) -> None:
    answer = await as_operator.post(
        "/containers/run/check/", {"ports": "80:x", "memory": "64m", "env": f"A={MASK}"}
    )
    said = answer.json()
    assert list(said["errors"]) == ["ports"]
    assert said["line"] == f"docker run -d --memory 64m -e 'A={MASK}' -p 80:x IMAGE"
    answer = await as_operator.post("/containers/run/read/", {"line": "docker run --rm --gpus all redis:8"})
    said = answer.json()
    assert (said["fields"]["image"], said["fields"]["auto_remove"], said["fields"]["env"]) == (
        "redis:8",
        True,
        "",
    )
    assert "--gpus all" in said["notes"][0]
    answer = await as_operator.post("/containers/run/read/", {"line": "rm -rf /"})
    assert answer.status_code == 400


async def test_a_run_form_sent_twice_makes_one_container(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    form = {"image": "busybox:latest", "restart": "no", "token": "t" * 32}
    answers = await asyncio.gather(*(as_operator.post("/containers/run/", form) for _ in range(3)))
    assert len({answer["Location"] for answer in answers}) == 1
    assert (await as_operator.post("/containers/run/", form))["Location"] == answers[0]["Location"]
    assert len(await api.container_list(all=True)) == 1
    refused = {**form, "token": "u" * 32, "network": "nowhere"}
    for _ in range(2):  # what made nothing says why each time
        answer = await as_operator.post("/containers/run/", refused)
        assert (answer.status_code, b"nowhere" in answer.content) == (400, True)


async def test_a_run_form_keeps_what_was_typed_while_the_engine_is_away(
    synced: EngineSync, fake: FakeEngine, as_operator: AsyncClient
) -> None:
    await fake.go_away()
    answer = await as_operator.post(
        "/containers/run/", {"image": "busybox:latest", "env": "KEPT=1", "restart": "no"}
    )
    assert answer.status_code == 400
    assert b"does not answer" in answer.content
    assert b"KEPT=1" in answer.content
    await fake.come_back()


async def test_a_document_of_five_megabytes_is_shown_and_not_cut_into_a_form(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_operator: AsyncClient
) -> None:
    fake.add_image("huge:latest", Cmd=["sleep", "1000"], Env=[f"B{n}={'x' * 1000}" for n in range(2500)])
    env = [f"A{n}={'x' * 1000}" for n in range(3000)]
    id = await make_container(api, "huge", Image="huge:latest", Env=env, start=False)
    await eventually(Container.everything.filter(container_id=id).aexists, 20)
    for tab in ("", "inspect/", "events/", "logs/"):
        answer = await as_operator.get(f"/containers/{id}/{tab}")
        assert answer.status_code == 200, tab
    assert len((await as_operator.get("/containers/")).content) < 200_000
    for path in (f"/containers/{id}/edit/", f"/containers/run/?from={id}"):
        answer = await as_operator.get(path, follow=True)
        assert b"too long for a form" in answer.content, path
    assert len((await api.container_inspect(id))["Config"]["Env"]) == 5500


@pytest.mark.parametrize("missing", [False, True])
async def test_a_difference_asks_for_the_image_first(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient, missing: bool
) -> None:
    id = await make_container(api, "web")
    data = {**await shown(as_operator, id), "image": "other:1" if missing else "busybox:latest"}
    answer = await as_operator.post(f"/containers/{id}/edit/", data)
    assert answer.status_code == (400 if missing else 200)
    assert (b"data-pull-missing" in answer.content) is missing


async def test_a_tag_that_moved_is_part_of_the_difference(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_operator: AsyncClient
) -> None:
    id = await make_container(api, "web")
    fake.add_image("busybox:latest", Cmd=["sleep", "2000"])
    answer = await as_operator.post(f"/containers/{id}/edit/", await shown(as_operator, id))
    assert "image_id" in [change["field"] for change in answer.context["changes"]]
