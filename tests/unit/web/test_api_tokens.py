"""API tokens, and the Engine API over the web port with them: a person's rights or fewer, never more."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient
from django.utils import timezone

from containers_app.models import Container
from runtime.api.client import EngineClient
from runtime.server.routes import ROUTES
from tests.fakes.engine import FakeEngine
from tests.unit.web.conftest import browser_of, eventually, make_container
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync
from webdock.people import holding
from webdock.people.api_rules import RULES, find
from webdock.people.models import ApiToken, Belonging, Role
from webdock.people.roles import NAMES
from webdock.web import BODY_MAX_BYTES, RESTORE_BODY_MAX_BYTES, body_limit

JSON = {"accept": "application/json"}


async def token_of(user: User, *rights: str, days: str = "30") -> str:
    browser = await browser_of(user)
    answer = await browser.post("/account/tokens/make/", {"name": "laptop", "days": days, "rights": rights})
    assert answer.status_code == 200, answer.content.decode()
    return str(answer.context["token"])


async def call(token: str, method: str, path: str, body: Any = None) -> Any:
    more: dict[str, str] = {}
    if method == "POST":
        more = {"data": "" if body is None else json.dumps(body), "content_type": "application/json"}
    send = getattr(AsyncClient(), method.lower())
    return await send(f"/api/{path}", headers={"authorization": f"Bearer {token}"}, **more)


async def content(answer: Any) -> bytes:
    return b"".join([piece async for piece in answer.streaming_content])


def test_every_rule_needs_rights_that_exist() -> None:
    for method, pattern, rule in RULES:
        assert rule.rights, (method, pattern)
        assert set(rule.rights) <= NAMES


def test_every_call_of_the_engine_has_a_rule_or_is_left_out_on_purpose() -> None:
    left_out = {
        *("build_prune", "image_save", "container_commit", "container_attach_websocket", "exec_attach"),
        *("exec_kill", "exec_end", "exec_resize", "image_verify", "image_layers", "image_layer_changes"),
        *("container_image_archive", "container_usage", "container_shells"),
    }
    for route in ROUTES:
        path = route.path.strip("/").replace("{ref*}", "a").replace("{ref}", "a").replace("{name*}", "a")
        offered = find(route.method, path) is not None
        named = route.operation.startswith(("registry", "volume_")) or route.operation in left_out
        assert offered or named, f"{route.method} {route.path} ({route.operation}) has no rule"


@pytest.mark.parametrize(
    "path", ["../info", "containers/../info", "containers//json", "containers/./json", "swarm", "build"]
)
def test_what_is_not_offered_has_no_rule(path: str) -> None:
    assert find("GET", path) is None
    assert find("POST", path) is None


async def test_a_token_does_what_its_person_may(
    synced: EngineSync, api: EngineClient, operator: User, as_admin: AsyncClient
) -> None:
    token = await token_of(operator)
    assert (await call(token, "GET", "_ping")).status_code == 200
    answer = await call(token, "POST", "v1.41/containers/create?name=mine", {"Image": "busybox:latest"})
    assert answer.status_code == 201, answer.content
    id = answer.json()["Id"]
    assert await Belonging.objects.filter(object_id=id, owner=operator).aexists()
    assert (await call(token, "POST", f"v1.41/containers/{id[:12]}/start")).status_code == 204
    rows = (await call(token, "GET", "v1.41/containers/json?all=1")).json()
    assert [row["Id"] for row in rows] == [id]
    assert (await call(token, "DELETE", "v1.41/containers/mine?force=1")).status_code == 204
    written = [entry.action async for entry in AuditEntry.objects.order_by("pk")]
    assert written[-3:] == ["container.create", "container.start", "container.remove"]
    assert "by token laptop" in (await AuditEntry.objects.alatest("pk")).detail


async def test_an_archive_goes_in_whatever_its_length(
    synced: EngineSync, api: EngineClient, operator: User
) -> None:
    """`docker cp` and `docker load` send megabytes: more than a form may be, and in pieces."""
    id = await make_container(api, "ww")
    content = b"0123456789abcdef" * (3 << 16)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        info = tarfile.TarInfo("big")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    answer = await AsyncClient().put(
        f"/api/v1.41/containers/{id}/archive?path=/srv",
        packed.getvalue(),
        content_type="application/x-tar",
        headers={"authorization": f"Bearer {await token_of(operator)}"},
    )
    assert answer.status_code == 200, answer.content
    stream = api.container_archive(id, "/srv/big")
    await stream.open()
    found = b"".join([piece async for piece in stream])
    with tarfile.open(fileobj=io.BytesIO(found)) as tar:
        file = tar.extractfile("big")
        assert file is not None
        assert file.read() == content
    for path in ("containers/x/archive", "images/load", "v1.41/images/create"):
        assert body_limit(f"/dock/api/{path}?a=b".encode()) == RESTORE_BODY_MAX_BYTES
    assert body_limit(b"/api/containers/create") == BODY_MAX_BYTES


async def test_a_token_sees_nothing_of_others(
    synced: EngineSync, api: EngineClient, operator: User, admin: User
) -> None:
    id = await make_container(api, "hers", Env=["PASSWORD=hunter2"])
    await api.volume_create({"Name": "hers"})
    network = (await api.network_create({"Name": "hers"}))["Id"]
    for kind, object_id in (("container", id), ("volume", "hers"), ("network", network)):
        await Belonging.objects.acreate(kind=kind, object_id=object_id, name="hers", owner=admin)
    token = await token_of(operator)
    for method, path in (
        ("GET", "containers/hers/json"),
        ("GET", f"containers/{id}/logs?stdout=1"),
        ("POST", f"containers/{id}/stop"),
        ("POST", "containers/hers/kill"),
        ("DELETE", f"containers/{id[:10]}"),
        ("GET", "containers/hers/archive?path=/"),
        ("GET", "networks/hers"),
        ("DELETE", f"networks/{network[:8]}"),
        ("GET", "volumes/hers"),
        ("DELETE", "volumes/hers"),
    ):
        answer = await call(token, method, path)
        assert answer.status_code == 404, (method, path, answer.content)
    for path in ("containers/json?all=1", "networks", "volumes", "system/df"):
        assert b"hers" not in (await call(token, "GET", path)).content, path
    now = timezone.now().timestamp()
    events = await call(token, "GET", f"events?since={now - 600:.0f}&until={now + 1:.0f}")
    assert b"hers" not in await content(events)
    body = {"Image": "busybox:latest", "HostConfig": {"Binds": ["hers:/x"]}}
    assert (await call(token, "POST", "containers/create", body)).status_code == 404
    assert (await api.container_inspect("hers"))["State"]["Running"]


async def test_a_token_with_fewer_rights_has_no_more(
    synced: EngineSync, api: EngineClient, admin: User
) -> None:
    id = await make_container(api, "one", Env=["PASSWORD=hunter2"])
    token = await token_of(admin, "view")
    inspected = await call(token, "GET", f"containers/{id}/json")
    assert inspected.status_code == 200
    assert b"hunter2" not in inspected.content
    for method, path in (
        ("POST", f"containers/{id}/stop"),
        ("GET", f"containers/{id}/logs?stdout=1"),
        ("GET", f"containers/{id}/archive?path=/etc"),
        ("POST", "images/create?fromImage=busybox"),
        ("POST", "networks/create"),
    ):
        assert (await call(token, method, path)).status_code == 403, path


async def test_what_would_need_a_stream_both_ways_says_so(
    synced: EngineSync, api: EngineClient, operator: User
) -> None:
    id = await make_container(api, "one")
    token = await token_of(operator)
    made = await call(token, "POST", f"containers/{id}/exec", {"Cmd": ["sh"], "AttachStdout": True})
    assert made.status_code == 201, made.content
    exec_id = json.loads(await content(made))["Id"]
    for path in (f"containers/{id}/attach?stream=1&stdout=1", f"exec/{exec_id}/start"):
        answer = await call(token, "POST", path, {"Detach": False})
        assert answer.status_code == 501
        assert "Upgrade: tcp" in answer.json()["message"]


async def test_the_policy_holds_for_tokens_of_administrators_too(
    fake: FakeEngine, web_settings: Any, admin: User
) -> None:
    web_settings.ENGINES = {"local": fake.web_url}
    body = {"Image": "busybox:latest", "HostConfig": {"Privileged": True}}
    answer = await call(await token_of(admin), "POST", "containers/create", body)
    assert answer.status_code == 403
    assert "a privileged container" in answer.json()["message"]


@pytest.mark.parametrize("why", ["nonsense", "none", "expired", "removed", "inactive", "cookie"])
async def test_no_token_no_answer(why: str, synced: EngineSync, operator: User) -> None:
    token = await token_of(operator)
    assert token not in str([vars(row) async for row in ApiToken.objects.all()])
    if why == "expired":
        await ApiToken.objects.aupdate(expires_at=timezone.now() - timedelta(seconds=1))
    if why == "removed":
        browser, row = await browser_of(operator), await ApiToken.objects.aget()
        assert (await browser.post(f"/account/tokens/{row.pk}/remove/", headers=JSON)).status_code == 200
    if why == "inactive":
        await User.objects.filter(pk=operator.pk).aupdate(is_active=False)
    if why == "cookie":
        answer = await (await browser_of(operator)).get("/api/containers/json")
    else:
        answer = await call({"nonsense": "wdk_x", "none": ""}.get(why, token), "GET", "containers/json")
    assert answer.status_code == 401


@pytest.mark.parametrize("why", ["token", "account", "right"])
async def test_what_a_token_holds_open_closes_with_it(
    why: str, synced: EngineSync, api: EngineClient, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events, followed logs and statistics; attach and exec have a test of their own."""
    monkeypatch.setattr(holding, "RECHECK_S", 0.05)
    token = await token_of(operator)
    id = await make_container(api, "talks", "sh", "-c", "echo said; sleep 1000")
    paths = ("events", f"containers/{id}/logs?follow=1&stdout=1", f"containers/{id}/stats")
    streams = [aiter((await call(token, "GET", path)).streaming_content) for path in paths]
    for stream in streams:
        assert await anext(stream) == b"", "the head must leave before there is news"
    waiting = asyncio.ensure_future(anext(streams[0]))
    await make_container(api, "news")
    assert b"news" in await asyncio.wait_for(waiting, 20)
    assert b"said" in await asyncio.wait_for(anext(streams[1]), 20)
    if why == "token":
        await ApiToken.objects.all().adelete()
    elif why == "account":
        await User.objects.filter(pk=operator.pk).aupdate(is_active=False)
    else:
        await Role.objects.acreate(user=operator, role="custom", rights=[])
    for stream in streams:
        with pytest.raises(holding.Revoked):
            await asyncio.wait_for(_to_the_end(stream), 20)


async def _to_the_end(stream: Any) -> None:
    async for _piece in stream:
        pass


async def test_somebody_elses_token_cannot_be_removed(operator: User, as_viewer: AsyncClient) -> None:
    await token_of(operator)
    row = await ApiToken.objects.aget()
    assert (await as_viewer.post(f"/account/tokens/{row.pk}/remove/", headers=JSON)).status_code == 404
    assert await ApiToken.objects.aexists()


async def test_sessions_are_listed_and_ended(operator: User, connect: Any) -> None:
    one, two = await browser_of(operator), await browser_of(operator)
    page = await one.get("/account/")
    others = [session for session in page.context["sessions"] if not session["own"]]
    assert len(page.context["sessions"]) == 2
    assert two.cookies["sessionid"].value not in page.content.decode() if "sessionid" in two.cookies else True
    assert (await two.get("/account/")).status_code == 200
    await one.post("/account/sessions/end/", {"key": others[0]["key"]}, headers=JSON)
    assert (await two.get("/account/")).status_code == 302
    assert (await one.get("/account/")).status_code == 200
    answer = await one.post("/account/sessions/end/", {"key": "x"}, headers=JSON)
    assert answer.status_code == 404


async def test_quotas_count_what_was_made_or_changed_a_moment_ago(
    synced: EngineSync, api: EngineClient, operator: User
) -> None:
    from webdock.people.models import Quota

    await Quota.objects.acreate(user=operator, memory_mib=100)
    token = await token_of(operator)

    async def create(memory: object) -> Any:
        body = {"Image": "busybox:latest", "HostConfig": {"Memory": memory}}
        return await call(token, "POST", "containers/create", body)

    made = [await create(40 << 20) for _n in range(3)]
    assert [answer.status_code for answer in made] == [201, 201, 403], "before the projection saw any"
    one, two = (f"containers/{answer.json()['Id']}/update" for answer in made[:2])
    assert (await call(token, "POST", one, {"Memory": 60 << 20})).status_code == 200
    assert (await call(token, "POST", two, {"Memory": 60 << 20})).status_code == 403
    for nonsense in ("1g", [1], {"a": 1}, -1, 1e300, True):
        assert (await create(nonsense)).status_code in (400, 403), nonsense
    for body in ({"HostConfig": "x"}, {"HostConfig": ["x"]}, {"Labels": ["x"]}, {"Labels": "x"}):
        answer = await call(token, "POST", "containers/create", {"Image": "busybox:latest", **body})
        assert answer.status_code in (400, 403), body
    for path in ("volumes/create", "networks/create"):
        assert (await call(token, "POST", path, {"Name": "x", "Labels": ["x"]})).status_code == 400, path


async def test_volumes_without_a_name_are_whose_their_container_is(
    synced: EngineSync, api: EngineClient, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = EngineClient.container_inspect

    async def with_volumes(self: EngineClient, ref: str, *args: Any, **options: Any) -> dict[str, Any]:
        found = await plain(self, ref, *args, **options)
        names = ["others"] if ref == "source" else ["others", "named", "anonymous"]
        return {**found, "Mounts": [{"Type": "volume", "Name": name} for name in names]}

    await api.container_create({"Image": "busybox:latest", "Cmd": ["sleep", "1"]}, name="source")
    monkeypatch.setattr(EngineClient, "container_inspect", with_volumes)
    host = {"VolumesFrom": ["source:ro"], "Binds": ["named:/n"]}
    body = {"Image": "busybox:latest", "Cmd": ["sleep", "1"], "HostConfig": host}
    answer = await call(await token_of(operator), "POST", "containers/create", body)
    assert answer.status_code == 201, answer.content
    rows = Belonging.objects.filter(kind="volume", owner=operator)
    assert {name async for name in rows.values_list("object_id", flat=True)} == {"anonymous", "named"}


async def test_quotas_hold_for_pages_and_tokens(
    synced: EngineSync, api: EngineClient, operator: User
) -> None:
    from webdock.people.models import Quota

    quota = await Quota.objects.acreate(user=operator, containers=2, memory_mib=128, cpus=1.0)
    token = await token_of(operator)

    async def create(**host: int) -> int:
        body = {"Image": "busybox:latest", "HostConfig": host}
        answer = await call(token, "POST", "containers/create", body)
        if answer.status_code == 403:
            assert answer.json()["message"].startswith("quota: ")
        else:
            id = answer.json()["Id"]
            await eventually(Container.everything.filter(container_id=id).aexists, 20)
        return int(answer.status_code)

    assert await create() == 403
    assert await create(Memory=200 << 20, NanoCpus=10**8) == 403
    assert await create(Memory=100 << 20, NanoCpus=10**8) == 201
    assert await create(Memory=100 << 20, NanoCpus=10**8) == 403
    assert await create(Memory=20 << 20, NanoCpus=10**9) == 403
    assert await create(Memory=20 << 20, NanoCpus=10**8) == 201
    assert await create(Memory=1 << 20, NanoCpus=10**8) == 403
    row = await Container.everything.afirst()
    assert row is not None
    update = await call(token, "POST", f"containers/{row.container_id}/update", {"Memory": 500 << 20})
    assert update.status_code == 403
    form = {"image": "busybox:latest", "name": "third", "restart": "no", "memory": "8m", "cpus": "0.1"}
    page = await (await browser_of(operator)).post("/containers/run/", form)
    assert page.status_code == 400
    assert "Quota: 2 containers" in page.content.decode()
    await quota.adelete()
    assert await create() == 201
