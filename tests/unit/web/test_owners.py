"""Handing things over, and the pages of teams for who administers one."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.urls import reverse

from containers_app.models import Container
from runtime.api.client import EngineClient
from tests.unit.web.conftest import browser_of, eventually, make_container
from tests.unit.web.test_edit_pages import outcome, shown
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.people.belongings import claim
from webdock.people.handing import Thing, may_hand, refusal
from webdock.people.models import Belonging, Quota, Role, Team
from webdock.people.roles import NAMES, OPERATOR, VIEWER
from webdock.people.standing import Standing, standing
from webdock.people.usage import Gauge

JSON = {"accept": "application/json"}


def test_who_may_hand_over_what_to_whom_in_one_table() -> None:
    """Over every owner and team before and after: nobody gets to decide about what is not theirs."""
    me, other, ours, theirs = 1, 2, 10, 20
    boss = Standing(me, NAMES)
    member = Standing(me, VIEWER, {ours: OPERATOR})
    head = Standing(me, VIEWER, {ours: OPERATOR}, frozenset((ours,)))
    owners, teams = (None, me, other), (None, ours, theirs)
    for owner, team, to_owner, to_team in itertools.product(owners, teams, owners, teams):
        one = Thing("container", "x", "x", owner, team, row=1)
        assert refusal(boss, one, to_owner, to_team, ()) == ""
        for who, decides in ((member, owner == me), (head, owner == me or team == ours)):
            members = {me, other} if to_team == ours else set()
            passes = not refusal(who, one, to_owner, to_team, members)
            if not decides:
                assert not passes
                assert not may_hand(who, one)
            if passes:
                assert to_owner is not None or to_team is not None
                assert to_team != theirs or team == theirs
                assert to_owner in (owner, me, None) or to_team == ours
    nobodys = Thing("container", "x", "x")
    assert refusal(member, nobodys, me, None, ())
    assert not may_hand(member, nobodys)
    looks_on = Standing(me, VIEWER)
    assert refusal(looks_on, Thing("container", "x", "x", me, row=1), me, ours, {me})


async def test_an_administrator_hands_over_each_kind_and_the_audit_log_says_so(
    admin: User, operator: User, viewer: User, synced: EngineSync, api: EngineClient
) -> None:
    id = await make_container(api, "one")
    network = (await api.network_create({"Name": "net"}))["Id"]
    await api.volume_create({"Name": "vol"})
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    team = await Team.objects.acreate(name="shop")
    boss, his, theirs = await browser_of(admin), await browser_of(operator), await browser_of(viewer)
    shown = (await boss.get(f"/owners/?container={id}&network={network}&volume=vol")).content.decode()
    assert "one" in shown
    assert "net" in shown
    assert "vol" in shown
    for kind, ref in (("container", id), ("network", network), ("volume", "vol")):
        form = {kind: ref, "owner": operator.pk, "team": team.pk}
        answer = await boss.post("/owners/", form)
        assert answer.status_code == 302, answer.content.decode()
        row = await Belonging.objects.aget(kind=kind, object_id=ref)
        assert (row.owner_id, row.team_id) == (operator.pk, team.pk)
        entry = await AuditEntry.objects.aget(action="owner.change", object_kind=kind)
        assert entry.result == "ok"
        assert "owner - -> operator; team - -> shop" in entry.detail
        page = (await his.get(f"/{kind}s/{'net' if kind == 'network' else ref}/")).content.decode()
        assert "shop" in page
        assert f"/owners/?{kind}={ref}" in page
        assert (await theirs.get(f"/owners/?{kind}={ref}")).status_code == 404
        assert (await theirs.post("/owners/", {kind: ref, "owner": viewer.pk})).status_code == 404
        back = {kind: ref, "owner": "none", "team": "none"}
        assert (await his.post("/owners/", back)).status_code == 403
        assert (await boss.post("/owners/", back)).status_code == 302
        assert not await Belonging.objects.filter(kind=kind, object_id=ref).aexists()
    assert await AuditEntry.objects.filter(action="owner.change", result="refused").acount() == 3
    assert (await boss.get("/owners/?network=bridge")).status_code == 404
    assert (await his.get(f"/owners/?container={id}")).status_code == 403
    assert (await his.post("/owners/", {"container": id, "owner": operator.pk})).status_code == 403
    assert not await Belonging.objects.aexists()


async def test_what_was_handed_over_stays_so_when_it_is_made_anew_renamed_and_restarted(
    admin: User, operator: User, viewer: User, synced: EngineSync, api: EngineClient
) -> None:
    """It was made by root: no label of it tells whose it is."""
    id = await make_container(api, "web", Labels={"webdock.team": "long ago"})
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    team = await Team.objects.acreate(name="shop")
    await Role.objects.acreate(user=operator, team=team, role="operator")
    boss, his, theirs = await browser_of(admin), await browser_of(operator), await browser_of(viewer)

    async def recreate(browser: AsyncClient, **change: str) -> str:
        """Edit it; its new id."""
        old = (await api.container_inspect("web"))["Id"]
        await eventually(Container.everything.filter(container_id=old, state="running").aexists, 20)
        form = {**await shown(browser, old), **change, "sure": "yes"}
        row = await outcome(await browser.post(f"/containers/{old}/edit/", form))
        assert row.outcome == "done", row.failure
        assert row.new_id != old
        return row.new_id

    nobodys = await recreate(his, hostname="one")
    assert not await Belonging.objects.aexists(), "an edit takes nothing that everybody sees"
    given = {"container": nobodys, "owner": operator.pk, "team": team.pk}
    assert (await boss.post("/owners/", given)).status_code == 302
    await Quota.objects.acreate(user=operator, containers=1)  # it takes its own place
    for browser, name in ((boss, "two"), (his, "three")):
        id = await recreate(browser, hostname=name, volumes=f"{name}:/data")
        for kind, ref in (("container", id), ("volume", name)):
            row = await Belonging.objects.aget(kind=kind, object_id=ref)
            assert (row.owner_id, row.team_id) == (operator.pk, team.pk), (kind, name)
        assert (await theirs.get(f"/containers/{id}/")).status_code == 404
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    for verb, form in (("rename", {"name": "shop"}), ("restart", {})):
        assert (await his.post(f"/containers/{id}/{verb}/", form, headers=JSON)).status_code == 200
    row = await Belonging.objects.aget(kind="container", object_id=id)
    assert (row.owner_id, row.team_id) == (operator.pk, team.pk)


async def test_a_network_and_a_volume_stay_whose_they_are_whatever_uses_them(
    admin: User, operator: User, viewer: User, synced: EngineSync, api: EngineClient
) -> None:
    """Also when somebody else, who may, makes a container with them or would make them once more."""
    network = (await api.network_create({"Name": "net"}))["Id"]
    await api.volume_create({"Name": "vol"})
    boss, theirs = await browser_of(admin), await browser_of(viewer)
    for kind, ref in (("network", network), ("volume", "vol")):
        assert (
            await boss.post("/owners/", {kind: ref, "owner": operator.pk, "team": "keep"})
        ).status_code == 302
    form = {
        "image": "busybox:latest",
        "name": "web",
        "restart": "no",
        "network": "net",
        "volumes": "vol:/data",
    }
    assert (await boss.post("/containers/run/", form)).status_code == 302
    await boss.post("/volumes/-/create/", {"name": "vol"})
    for kind, ref in (("network", network), ("volume", "vol")):
        assert (await Belonging.objects.aget(kind=kind, object_id=ref)).owner_id == operator.pk
        name = "net" if kind == "network" else ref
        assert (await theirs.get(f"/{kind}s/{name}/")).status_code == 404


async def test_what_is_handed_over_has_to_fit_the_quota_of_who_gets_it(
    admin: User, operator: User, synced: EngineSync, api: EngineClient
) -> None:
    id = await make_container(api, "one")
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    await Quota.objects.acreate(user=operator, containers=0)
    boss = await browser_of(admin)
    answer = await boss.post("/owners/", {"container": id, "owner": operator.pk, "team": "keep"})
    assert answer.status_code == 403
    assert "quota" in answer.content.decode()
    assert not await Belonging.objects.aexists()


async def test_who_administers_a_team_chooses_its_people_and_nobody_elses(
    admin: User, operator: User, viewer: User, synced: EngineSync
) -> None:
    team, other = await Team.objects.acreate(name="shop"), await Team.objects.acreate(name="zebra")
    await Role.objects.acreate(user=operator, team=team, role="admin")
    head, plain = await browser_of(operator), await browser_of(viewer)
    assert not (await sync_to_async(standing)(operator)).admin
    listed = (await head.get("/teams/")).content.decode()
    assert "shop" in listed
    assert "zebra" not in listed
    assert (await head.get(f"/teams/{team.pk}/")).status_code == 200
    member = {"username": "viewer", "role": "custom", "rights": ["view", "logs", "admin", "prune"]}
    for browser, id in ((head, other.pk), (plain, team.pk), (plain, other.pk)):
        assert (await browser.get(f"/teams/{id}/")).status_code == 404
        for path in ("member/", "member/remove/"):
            assert (await browser.post(f"/teams/{id}/{path}", member, headers=JSON)).status_code == 404
    for path, form in ((f"{team.pk}/quota/", {"containers": "9"}), ("make/", {"name": "mine"})):
        assert (await head.post(f"/teams/{path}", form, headers=JSON)).status_code == 403
    assert (await head.post(f"/teams/{team.pk}/member/", member, headers=JSON)).status_code == 200
    role = await Role.objects.aget(user=viewer, team=team)
    assert role.rights == ["view", "logs"], "a team gives nothing that reaches beyond it"
    for wrong in ({"username": "nobody", "role": "viewer"}, {"username": "viewer", "role": "root"}):
        assert (await head.post(f"/teams/{team.pk}/member/", wrong, headers=JSON)).status_code == 400
    await sync_to_async(claim)("volume", viewer.pk, team.pk, "vol")
    assert "viewer" in (await head.get(f"/teams/{team.pk}/")).content.decode()
    gone = {"username": "viewer"}
    assert (await head.post(f"/teams/{team.pk}/member/remove/", gone, headers=JSON)).status_code == 200
    assert (await head.post(f"/teams/{team.pk}/member/remove/", gone, headers=JSON)).status_code == 404
    assert not await Role.objects.filter(user=viewer).aexists()
    actions = [row.action async for row in AuditEntry.objects.filter(object_kind="team").order_by("pk")]
    assert actions == ["team.member.set", "team.member.remove"]


async def test_an_administrator_makes_teams_and_sets_their_quotas(admin: User, synced: EngineSync) -> None:
    boss = await browser_of(admin)
    assert (await boss.post("/teams/make/", {"name": " web  shop "})).status_code == 302
    team = await Team.objects.aget(name="web shop")
    assert (await boss.post("/teams/make/", {"name": "web shop"}, headers=JSON)).status_code == 400
    wrong: tuple[dict[str, Any], ...] = ({"containers": "-1"}, {"cpus": "nan"}, {"memory_mib": "1e3"})
    for form in wrong:
        answer = await boss.post(f"/teams/{team.pk}/quota/", form, headers=JSON)
        assert answer.status_code == 400
        assert next(iter(form)) in answer.json()["message"]
    form = {"containers": "3", "cpus": "1.5", "memory_mib": ""}
    assert (await boss.post(f"/teams/{team.pk}/quota/", form, headers=JSON)).status_code == 200
    quota = await Quota.objects.aget(team=team)
    assert (quota.containers, quota.cpus, quota.memory_mib) == (3, 1.5, None)
    shown = (await boss.get(f"/teams/{team.pk}/")).content.decode()
    assert "0 / 3" in shown
    assert 'value="1.5"' in shown


async def test_what_somebody_uses_is_on_their_account_and_on_the_people_page_with_bars(
    operator: User, viewer: User, admin: User, synced: EngineSync, api: EngineClient
) -> None:
    team = await Team.objects.acreate(name="shop")
    await Role.objects.acreate(user=operator, team=team, role="operator")
    limited = {"Memory": 48 << 20, "NanoCpus": 500_000_000}
    for name, owner in (("one", operator.pk), ("two", operator.pk), ("else", admin.pk)):
        id = await make_container(api, name, HostConfig=limited)
        await eventually(Container.everything.filter(container_id=id).aexists, 20)
        await sync_to_async(claim)("container", owner, team.pk if name == "one" else None, id)
    quota = await Quota.objects.acreate(user=operator, containers=4, memory_mib=100, cpus=2)
    his, boss, theirs = await browser_of(operator), await browser_of(admin), await browser_of(viewer)

    def told(gauges: list[Gauge]) -> list[tuple[str, str]]:
        return [(one.used.replace("\xa0", " "), one.most.replace("\xa0", " ")) for one in gauges[:3]]

    mine = [("2", "4"), ("96 MiB", "100 MiB"), ("1", "2")]
    page = await his.get("/account/")
    own, of_team = page.context["usages"]
    assert told(own.gauges) == mine
    assert (of_team.who, told(of_team.gauges)) == ("shop", [("1", ""), ("48 MiB", ""), ("0.5", "")])
    assert page.content.count(b"<meter ") == 3
    assert own.gauges[1].value > own.gauges[1].full, "so its bar warns"
    people = await boss.get("/people/")
    used = {row["user"].username: row["usage"] for row in people.context["people"]}
    assert told(used["operator"].gauges) == mine
    assert used["viewer"].nothing
    assert people.content.count(b"<meter ") == 3
    assert (await theirs.get("/people/")).status_code == 403
    await Quota.objects.filter(pk=quota.pk).aupdate(containers=0)
    assert (await his.get("/account/")).context["usages"][0].gauges[0].value == 1.0, "full, and no division"


async def test_a_page_does_not_wait_until_the_disk_is_measured(
    admin: User, synced: EngineSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = await Team.objects.acreate(name="shop")
    await sync_to_async(claim)("volume", None, team.pk, "big")
    go, asked = asyncio.Event(), []

    async def slow(self: EngineClient, types: list[str] | None = None) -> dict[str, Any]:
        asked.append(types)
        await go.wait()
        return {"Volumes": [{"Name": "big", "UsageData": {"Size": 5 << 20}}]}

    monkeypatch.setattr(EngineClient, "system_df", slow)
    boss = await browser_of(admin)
    for path in (f"/teams/{team.pk}/", "/people/", "/account/", "/people/"):
        assert b"data-measuring" in (await boss.get(path)).content
    await eventually(lambda: asyncio.sleep(0, asked))
    assert len(asked) == 1  # whoever looks meanwhile waits for the same answer
    go.set()

    async def known() -> bool:
        text = (await boss.get(f"/teams/{team.pk}/")).content.decode()
        return "data-measuring" not in text and "5\xa0MiB" in text

    await eventually(known)


async def test_who_holds_more_on_disk_than_the_quota_makes_nothing_more(
    operator: User, admin: User, synced: EngineSync, api: EngineClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = await Team.objects.acreate(name="shop")
    await Role.objects.acreate(user=operator, team=team, role="operator")
    await sync_to_async(claim)("volume", operator.pk, team.pk, "big")
    await sync_to_async(claim)("container", None, team.pk, "c" * 64)
    usage = {
        "Volumes": [{"Name": "big", "UsageData": {"Size": 3 << 20}}, {"Name": "else", "UsageData": None}],
        "Containers": [{"Id": "c" * 64, "SizeRw": 2 << 20}, {"Id": "d" * 64, "SizeRw": 1 << 40}],
    }

    async def measured(self: EngineClient, types: list[str] | None = None) -> dict[str, Any]:
        return usage

    monkeypatch.setattr(EngineClient, "system_df", measured)
    his, boss = await browser_of(operator), await browser_of(admin)

    async def told() -> bool:
        return "5\xa0MiB" in (await boss.get(f"/teams/{team.pk}/")).content.decode()

    await eventually(told)
    run = {"image": "busybox:latest", "name": "one", "command": "sleep 1000", "restart": "no"}
    for who, most, passes in (({"user": operator}, 3, False), ({"user": operator}, 4, True)):
        await Quota.objects.all().adelete()
        await Quota.objects.acreate(**who, disk_mib=most)
        answer = await his.post(reverse("volume-create"), {"name": f"v{most}"}, headers=JSON)
        assert (answer.status_code == 200) == passes, answer.content
        answer = await his.post("/containers/run/", {**run, "name": f"c{most}"})
        assert (answer.status_code == 302) == passes
        if not passes:
            assert "on disk" in answer.content.decode()
    await Quota.objects.all().adelete()
    await Quota.objects.acreate(team=team, disk_mib=5)
    answer = await his.post("/containers/run/", {**run, "name": "t", "labels": "webdock.team=shop"})
    assert answer.status_code == 400
    assert "on disk" in answer.content.decode()
    assert not await Belonging.objects.filter(object_id__startswith="claim:").aexists()
