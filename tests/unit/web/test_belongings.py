"""Whose things are: owners, teams, and everybody else, for whom they are not there."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app.models import Container
from runtime.api.client import EngineClient
from tests.unit.web.conftest import browser_of, closing, eventually, make_container
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.jobs.models import Job
from webdock.people.models import Belonging, Role, Team
from webdock.people.roles import NAMES, OPERATOR
from webdock.people.standing import OPERATORS, standing

JSON = {"accept": "application/json"}


@pytest.fixture
def team(transactional_db: None) -> Team:
    return Team.objects.create(name="shop")


def _operator(name: str) -> User:
    from django.contrib.auth.models import Group

    user = User.objects.create_user(name, password="a long enough password")
    user.groups.add(Group.objects.get_or_create(name=OPERATORS)[0])
    return user


@pytest.fixture
def alice(transactional_db: None) -> User:
    return _operator("alice")


@pytest.fixture
def bob(transactional_db: None) -> User:
    return _operator("bob")


async def run(browser: AsyncClient, api: EngineClient, name: str, **more: str) -> str:
    """A container made with the Run form; its id."""
    form = {"image": "busybox:latest", "name": name, "command": "sleep 1000", "restart": "no", **more}
    answer = await browser.post("/containers/run/", form)
    assert answer.status_code == 302, answer.content.decode()
    return str((await api.container_inspect(name))["Id"])


async def listed(browser: AsyncClient) -> str:
    return (await browser.get("/containers/")).content.decode()


async def test_what_somebody_runs_is_theirs_and_not_there_for_others(
    alice: User, bob: User, admin: User, synced: EngineSync, api: EngineClient, connect: Any
) -> None:
    hers, his, all_ = await browser_of(alice), await browser_of(bob), await browser_of(admin)
    id = await run(hers, api, "hers", labels="webdock.owner=bob")
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    assert await Belonging.objects.filter(object_id=id, owner=alice).acount() == 1
    for browser in (hers, all_):
        assert "hers" in await listed(browser)
        assert (await browser.get(f"/containers/{id}/")).status_code == 200
    assert "hers" not in await listed(his)
    assert "hers" not in (await his.get("/containers/?q=hers")).content.decode().replace(
        "q=hers", ""
    ).replace('value="hers"', "").replace("“hers”", "")
    for path in ("", "logs/", "logs/download/", "stats/", "files/", "inspect/", "terminal/", "processes/"):
        assert (await his.get(f"/containers/{id}/{path}")).status_code == 404, path
    assert (await his.post(f"/containers/{id}/stop/", headers=JSON)).status_code == 404
    answer = await his.post("/containers/bulk/", {"ids": [id], "verb": "kill"}, headers=JSON)
    assert answer.json()["results"][0]["message"] == "No such container."
    assert (await api.container_inspect(id))["State"]["Running"]
    for path in (f"/ws/logs/{id}/", f"/ws/stats/{id}/"):
        assert (await closing(await connect(his, path)))[0] == 4404
    assert "hers" not in (await his.get("/events/")).content.decode()
    assert "hers" in (await hers.get("/events/")).content.decode()
    assert "hers" not in (await his.get("/")).content.decode()


async def test_what_nobody_owns_is_everybodys(
    alice: User, bob: User, synced: EngineSync, api: EngineClient
) -> None:
    id = await make_container(api, "shared")
    await eventually(Container.everything.filter(container_id=id).aexists, 20)
    for browser in (await browser_of(alice), await browser_of(bob)):
        assert "shared" in await listed(browser)
        assert (await browser.get(f"/containers/{id}/")).status_code == 200


async def test_a_team_shares_as_far_as_each_role_goes(
    alice: User, bob: User, team: Team, synced: EngineSync, api: EngineClient
) -> None:
    await Role.objects.acreate(user=alice, team=team, role="operator")
    await Role.objects.acreate(user=bob, team=team, role="viewer")
    hers, his = await browser_of(alice), await browser_of(bob)
    id = await run(hers, api, "web", labels="webdock.team=shop")
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    assert (await his.get(f"/containers/{id}/")).status_code == 200
    assert (await his.post(f"/containers/{id}/stop/", headers=JSON)).status_code == 403
    answer = await his.post("/containers/bulk/", {"ids": [id], "verb": "stop"}, headers=JSON)
    assert not answer.json()["results"][0]["ok"]
    assert (await his.get(f"/containers/{id}/terminal/")).status_code == 403
    await Role.objects.filter(user=bob).aupdate(role="operator")
    assert (await his.post(f"/containers/{id}/stop/", headers=JSON)).status_code == 200
    await Role.objects.filter(user=bob).adelete()
    assert (await his.get(f"/containers/{id}/")).status_code == 404
    form = {"image": "busybox:latest", "name": "x", "restart": "no", "labels": "webdock.team=shop"}
    assert "shop" in (await his.post("/containers/run/", form)).content.decode()
    assert not await Belonging.objects.filter(owner=bob).aexists()


async def test_a_container_made_after_another_does_not_change_hands(
    alice: User, bob: User, admin: User, synced: EngineSync, api: EngineClient
) -> None:
    id = await run(await browser_of(alice), api, "first")
    label = (await api.container_inspect(id))["Config"]["Labels"]["webdock.claim"]
    again = await run(await browser_of(admin), api, "second", labels=f"webdock.claim={label}")
    assert await Belonging.objects.filter(object_id=again, owner=alice).aexists()
    stolen = await run(await browser_of(bob), api, "third", labels=f"webdock.claim={label}")
    assert await Belonging.objects.filter(object_id=stolen, owner=bob).aexists()
    assert await Belonging.objects.filter(object_id=id, owner=alice).aexists()


async def test_a_deleted_owner_leaves_their_things_to_administrators(
    alice: User, bob: User, admin: User, synced: EngineSync, api: EngineClient
) -> None:
    id = await run(await browser_of(alice), api, "left")
    await eventually(Container.everything.filter(container_id=id).aexists, 20)
    await sync_to_async(alice.delete)()
    assert (await (await browser_of(bob)).get(f"/containers/{id}/")).status_code == 404
    assert (await (await browser_of(admin)).get(f"/containers/{id}/")).status_code == 200


async def test_somebody_elses_volume_is_neither_mounted_nor_taken_over(
    alice: User, bob: User, synced: EngineSync, api: EngineClient
) -> None:
    hers, his = await browser_of(alice), await browser_of(bob)
    assert (await hers.post("/volumes/-/create/", {"name": "data"}, headers=JSON)).status_code == 200
    assert "data" in (await hers.get("/volumes/")).content.decode()
    assert ">data<" not in (await his.get("/volumes/")).content.decode()
    assert (await his.post("/volumes/-/create/", {"name": "data"}, headers=JSON)).status_code == 409
    form = {"image": "busybox:latest", "name": "thief", "restart": "no", "volumes": "data:/x"}
    answer = await his.post("/containers/run/", form)
    assert answer.status_code == 400
    assert (await his.post("/volumes/data/remove/", headers=JSON)).status_code == 404
    for path in ("", "files/view/", "files/read/", "archive/"):
        assert (await his.get(f"/volumes/data/{path}?path=/")).status_code == 404
    for path in ("files/upload/", "restore/", "clone/"):
        assert (await his.post(f"/volumes/data/{path}", {"name": "mine"}, headers=JSON)).status_code == 404
    assert (await hers.post("/volumes/data/clone/", {"name": "copy"}, headers=JSON)).status_code == 200
    assert (await his.get("/volumes/copy/")).status_code == 404
    assert (await hers.post("/volumes/copy/remove/", headers=JSON)).status_code == 200
    assert (await api.volume_inspect("data"))["Name"] == "data"
    await his.post("/volumes/-/prune/", {"all": "1"}, headers=JSON)
    assert (await api.volume_inspect("data"))["Name"] == "data"
    assert (await hers.post("/volumes/data/remove/", headers=JSON)).status_code == 200
    assert not await Belonging.objects.filter(kind="volume").aexists()


async def test_somebody_elses_network_is_not_there_under_any_name(
    alice: User, bob: User, synced: EngineSync, api: EngineClient
) -> None:
    hers, his = await browser_of(alice), await browser_of(bob)
    assert (await hers.post("/networks/-/create/", {"name": "inner"}, headers=JSON)).status_code == 200
    id = (await api.network_inspect("inner"))["Id"]
    assert "inner" not in (await his.get("/networks/")).content.decode()
    for ref in ("inner", id, id[:7]):
        assert (await hers.get(f"/networks/{ref}/")).status_code == 200, ref
        assert (await his.get(f"/networks/{ref}/")).status_code == 404, ref
        assert (await his.post(f"/networks/{ref}/remove/", headers=JSON)).status_code == 404, ref
        form = {"image": "busybox:latest", "name": "thief", "restart": "no", "network": ref}
        assert (await his.post("/containers/run/", form)).status_code == 400, ref
    assert (await his.get("/networks/bridge/")).status_code == 200


async def test_pruning_takes_only_what_one_may_remove(
    alice: User, bob: User, synced: EngineSync, api: EngineClient
) -> None:
    hers, his = await browser_of(alice), await browser_of(bob)
    id = await run(hers, api, "kept")
    await api.container_stop(id, timeout_s=0)
    mine = await run(his, api, "gone")
    await api.container_stop(mine, timeout_s=0)
    assert (await his.post("/containers/prune/", headers=JSON)).status_code == 200
    assert {one["Id"] for one in await api.container_list(all=True)} == {id}
    job = await Job.objects.aget(kind="prune")
    assert (job.username, job.state, job.object_kind) == (bob.username, "done", "container")
    entry = await AuditEntry.objects.aget(action="container.prune", result="ok")
    assert entry.detail == mine[:12]


def test_a_custom_role_gives_what_it_lists_and_a_team_never_the_engine(
    alice: User, bob: User, team: Team
) -> None:
    Role.objects.create(user=alice, role="custom", rights=["view", "shell", "nonsense"])
    assert standing(alice).anywhere == {"view", "shell", "terminal"}
    Role.objects.create(user=bob, role="custom", rights=[])
    Role.objects.create(user=bob, team=team, role="admin")
    who = standing(bob)
    assert who.site == frozenset()
    assert not who.admin
    assert who.over(None, team.pk) == (OPERATOR | {"terminal"}) - {"prune"}
    assert not who.over(None, None)
    assert not who.over(alice.pk, None)
    bob.is_superuser = True
    del bob._webdock_standing
    assert standing(bob).over(alice.pk, None) == NAMES


async def test_the_list_is_narrowed_to_one_owner_or_team(
    alice: User, bob: User, team: Team, admin: User, synced: EngineSync, api: EngineClient, connect: Any
) -> None:
    from webdock.people import belongings

    ids = {name: await make_container(api, name) for name in ("hers", "shared", "nobodys")}
    await sync_to_async(belongings.claim)("container", alice.pk, None, ids["hers"])
    await sync_to_async(belongings.claim)("container", alice.pk, team.pk, ids["shared"])

    async def all_seen() -> bool:
        return await Container.objects.filter(container_id__in=ids.values()).acount() == len(ids)

    await eventually(all_seen)

    async def names(browser: AsyncClient, query: str) -> set[str]:
        answer = await browser.get(f"/containers/?{query}")
        return {row.name for row in answer.context["rows"]}

    boss = await browser_of(admin)
    assert await names(boss, "owner=alice") == {"hers", "shared"}
    assert await names(boss, "owner=shop") == {"shared"}
    assert await names(boss, "owner=nobody") == set()
    offered = (await boss.get("/containers/")).context
    assert offered["owners_offered"] == ["alice", "shop"]
    assert offered["images_offered"] == ["busybox:latest"]
    other = await browser_of(bob)
    assert await names(other, "owner=alice") == set()
    assert (await other.get("/containers/")).context["owners_offered"] == []


async def test_what_is_kept_of_things_long_gone_is_forgotten(
    alice: User, synced: EngineSync, api: EngineClient
) -> None:
    from datetime import timedelta

    from django.utils import timezone

    from webdock.people.cleanup import forget
    from webdock.people.models import ApiToken
    from webdock.people.tokens import make

    id = await make_container(api, "there")
    await eventually(Container.everything.filter(container_id=id).aexists, 20)
    for object_id in (id, "f" * 64):
        await Belonging.objects.acreate(kind="container", object_id=object_id, owner=alice)
    await sync_to_async(make)(alice, "old", [], 1)
    await forget()
    assert await Belonging.objects.acount() == 2
    assert await ApiToken.objects.acount() == 1
    long_ago = timezone.now() - timedelta(days=1000)
    await Belonging.objects.aupdate(made_at=long_ago)
    await ApiToken.objects.aupdate(expires_at=long_ago)
    await forget()
    assert [row.object_id async for row in Belonging.objects.all()] == [id]
    assert not await ApiToken.objects.aexists()
