"""An engine that is killed in the middle of what it was asked: said, nothing lost, healed by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient

from containers_app import run_views
from containers_app.models import Container
from images_app.models import ImageTag
from runtime.api.client import EngineClient
from runtime.api.errors import Unavailable
from tests.fakes.containers import FakeContainers
from tests.fakes.engine import FakeEngine
from tests.fakes.images import FakeImages
from tests.fakes.networks import FakeNetworks, FakeVolumes
from tests.unit.web.conftest import Connect, closing, eventually, make_container
from tests.unit.web.test_sockets import heard
from webdock.engines import sync as sync_module
from webdock.engines.models import AuditEntry, Engine
from webdock.engines.sync import EngineSync
from webdock.jobs.models import Job
from webdock.people.models import Belonging

JSON = {"accept": "application/json"}
PAGES = ("/", "/containers/", "/images/", "/networks/", "/volumes/", "/events/", "/jobs/", "/engines/")
# verb -> what the container is asked before
VERBS: dict[str, tuple[str, ...]] = {
    "start": (),
    "stop": ("start",),
    "restart": ("start",),
    "kill": ("start",),
    "pause": ("start",),
    "unpause": ("start", "pause"),
    "rename": (),
    "remove": (),
}
AWAY = "engine does not answer"

Dies = Callable[..., None]


@pytest.fixture
def dies_in(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Dies:
    """``dies_in("stop", done=True)``: it is killed in the next stop, after it did all, or before anything."""

    def prepare(method: str, *, done: bool, room: type = FakeContainers) -> None:
        real = getattr(room, method)

        async def killed(self: Any, *args: Any, **options: Any) -> None:
            monkeypatch.setattr(room, method, real)
            if done:
                await real(self, *args, **options)
            fake.die()
            raise Unavailable("nobody hears this")

        monkeypatch.setattr(room, method, killed)

    return prepare


@pytest.fixture(autouse=True)
def sync_in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_module, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(sync_module, "BACKOFF_MAX_S", 0.05)


async def restarted(fake: FakeEngine, sync: EngineSync) -> None:
    """It is there again, and listed."""

    async def lost() -> bool:
        return not sync.synced.is_set()

    await eventually(lost, 60)
    await fake.go_away()
    await fake.come_back()
    async with asyncio.timeout(60):
        await sync.synced.wait()


async def healed(api: EngineClient) -> None:
    """The rows say what the engine says, and that it is there."""

    async def same() -> bool:
        there = {
            one["Id"]: (one["Names"][0].removeprefix("/"), one["State"])
            for one in await api.container_list(all=True)
        }
        rows = Container.objects.filter(removed_at=None).values_list("container_id", "name", "state")
        known = {id: (name, state) async for id, name, state in rows}
        return there == known and await Engine.objects.filter(connected=True, error="").aexists()

    await eventually(same, 60)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_in_the_middle_of_a_verb(
    synced: EngineSync,
    fake: FakeEngine,
    api: EngineClient,
    as_operator: AsyncClient,
    dies_in: Dies,
    done: bool,
) -> None:
    ids = {}
    for verb, before in VERBS.items():
        ids[verb] = await make_container(api, verb, start=False)
        for step in before:
            await getattr(api, f"container_{step}")(ids[verb])
    await healed(api)
    for verb, id in ids.items():
        dies_in(verb, done=done)
        answer = await as_operator.post(f"/containers/{id}/{verb}/", {"name": "renamed"}, headers=JSON)
        assert (answer.status_code, AWAY in answer.json()["message"]) == (503, True), verb
        entry = await AuditEntry.objects.aget(action=f"container.{verb}")
        assert (entry.result, entry.object_id) == ("failed", id)
        if verb == "start":  # away: every page is there and says so
            await eventually(Engine.objects.filter(connected=False).aexists)
            for path in (*PAGES, f"/containers/{id}/", f"/containers/{id}/files/", f"/containers/{id}/logs/"):
                page = await as_operator.get(path)
                assert (page.status_code, b'data-connected="false"' in page.content) == (200, True), path
        await restarted(fake, synced)
    await healed(api)
    names = {one["Names"][0] for one in await api.container_list(all=True)}
    assert names == {f"/{verb}" for verb in VERBS} - ({"/rename", "/remove"} if done else set()) | (
        {"/renamed"} if done else set()
    )


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("method", ["create", "start"])
@pytest.mark.parametrize("name", ["web", ""], ids=["named", "unnamed"])
async def test_in_the_middle_of_a_run(
    synced: EngineSync,
    fake: FakeEngine,
    api: EngineClient,
    operator: Any,
    as_operator: AsyncClient,
    dies_in: Dies,
    name: str,
    method: str,
    done: bool,
) -> None:
    form = {"image": "busybox:latest", "name": name, "env": "KEPT=1", "restart": "no"}
    form["token"] = uuid4().hex
    dies_in(method, done=done)
    answer = await as_operator.post("/containers/run/", form, follow=True)
    text = answer.content.decode()
    assert AWAY in text
    assert ("KEPT=1" in text) is (method == "create")  # what was typed stays when nothing is known to be made
    await restarted(fake, synced)
    await healed(api)
    made = [one["Id"] for one in await api.container_list(all=True)]
    if (method, done) == ("create", False):
        assert (made, await Belonging.objects.acount()) == ([], 1)
    else:  # it is the person's, though nobody heard that it was made
        row = await Belonging.objects.aget(kind="container")
        assert [(row.owner_id, row.object_id)] == [(operator.pk, id) for id in made]
    run_views._runs.clear()  # as in another web process, or after a restart of this one
    again = await as_operator.post("/containers/run/", form)
    (one,) = await api.container_list(all=True)
    assert (again.status_code, again.headers["location"]) == (302, f"/containers/{one['Id']}/")
    assert (one["State"], made or [one["Id"]]) == ("running", [one["Id"]])
    await as_operator.post("/containers/run/", {**form, "name": "other"})
    assert len(await api.container_list(all=True)) == 2, "other words are another order"


async def test_in_the_middle_of_a_pull(
    synced: EngineSync, fake: FakeEngine, as_operator: AsyncClient, connect: Connect
) -> None:
    fake.offer("slow:1", step_s=30)
    socket = await connect(as_operator, "/ws/jobs/")
    pull = (await as_operator.post("/images/pull/", {"reference": "slow:1"})).json()["pull"]
    await eventually(Job.objects.filter(pk=pull, state="running").aexists)
    while (await heard(socket, "job", 60))["id"] != pull:
        pass
    fake.die()
    while (said := await heard(socket, "job", 60))["state"] != "failed":
        pass
    assert AWAY in said["message"]
    assert AWAY in (await as_operator.get("/jobs/")).content.decode()
    fake.offer("slow:1")
    await restarted(fake, synced)
    again = (await as_operator.post("/images/pull/", {"reference": "slow:1"})).json()["pull"]
    await eventually(Job.objects.filter(pk=again, state="done").aexists)
    await eventually(ImageTag.objects.filter(name="slow:1").aexists)


async def test_open_pages_say_so_and_heal(
    synced: EngineSync, fake: FakeEngine, api: EngineClient, as_operator: AsyncClient, connect: Connect
) -> None:
    rows = {kind: await connect(as_operator, f"/ws/rows/{kind}/") for kind in ("containers", "images")}
    for socket in rows.values():
        await socket.send_json_to({"type": "follow", "query": "", "cursor": 0})
        await heard(socket, "rows", 60)
    events = await connect(as_operator, "/ws/events/")
    await heard(events, "following", 60)
    fake.die()
    code, why = await closing(events, 60)
    assert (code, bool(why)) == (4503, True)
    for socket in rows.values():
        while (await heard(socket, "engine", 60))["connected"]:
            pass
    await restarted(fake, synced)
    stale: set[str] = set()
    while not stale >= {"network", "volume"}:  # pages that ask the engine are told to ask again
        stale |= set((await heard(rows["containers"], "stale", 60))["kinds"])
    id = await make_container(api, "after", start=False)
    await api.image_tag("busybox:latest", repo="after", tag="1")
    while id not in (await heard(rows["containers"], "rows", 60)).get("order", ()):
        pass
    while not any("after:1" in row["html"] for row in (await heard(rows["images"], "rows", 60))["rows"]):
        pass
    await heard(await connect(as_operator, "/ws/events/"), "following", 60)


class Order:
    """One thing asked of the pages: which room's method carries it out, and what is there afterwards."""

    def __init__(self, room: type, method: str, path: str, fields: dict[str, Any], action: str) -> None:
        self.room, self.method, self.path, self.fields, self.action = room, method, path, fields, action


ORDERS = {
    "prune": Order(FakeContainers, "remove", "/containers/prune/", {}, "container.prune"),
    "network": Order(FakeNetworks, "create", "/networks/-/create/", {"name": "made"}, "network.create"),
    "network away": Order(FakeNetworks, "remove", "/networks/old/remove/", {}, "network.remove"),
    "connect": Order(
        FakeNetworks, "connect", "/networks/free/connect/", {"container": "one"}, "network.connect"
    ),
    "disconnect": Order(
        FakeNetworks, "disconnect", "/networks/joined/disconnect/", {"container": "one"}, "network.disconnect"
    ),
    "volume": Order(FakeVolumes, "create", "/volumes/-/create/", {"name": "made"}, "volume.create"),
    "volume away": Order(FakeVolumes, "remove", "/volumes/old/remove/", {}, "volume.remove"),
    "untag": Order(FakeImages, "remove", "/images/{image}/remove/", {"tag": "old:1"}, "image.untag"),
    "tag": Order(FakeImages, "tag", "/images/{image}/tag/", {"name": "new:1"}, "image.tag"),
    "upload": Order(
        FakeContainers,
        "archive_put",
        "/containers/{one}/files/upload/",
        {"path": "/"},
        "container.file.write",
    ),
}


async def everything(api: EngineClient, id: str) -> dict[str, Any]:
    """What a page could tell of the engine."""
    return {
        "containers": sorted(one["Names"][0] for one in await api.container_list(all=True)),
        "networks": sorted(one["Name"] for one in await api.network_list()),
        "volumes": sorted(one["Name"] for one in (await api.volume_list())["Volumes"] or ()),
        "tags": sorted(tag for one in await api.image_list() for tag in one["RepoTags"]),
        "joined": sorted((await api.container_inspect(id))["NetworkSettings"]["Networks"]),
    }


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
async def test_in_the_middle_of_an_order_that_is_then_sent_again(
    synced: EngineSync,
    fake: FakeEngine,
    api: EngineClient,
    as_operator: AsyncClient,
    dies_in: Dies,
    done: bool,
) -> None:
    one = await make_container(api, "one", start=True)
    await make_container(api, "stopped", start=False)
    for name in ("old", "free", "joined"):
        await api.network_create({"Name": name})
    await api.network_connect("joined", {"Container": one})
    await api.volume_create({"Name": "old"})
    await api.image_tag("busybox:latest", repo="old", tag="1")
    image = str((await api.image_inspect("old:1"))["Id"]).removeprefix("sha256:")
    for what, order in ORDERS.items():
        await healed(api)
        path = order.path.format(one=one, image=image)

        def fields(order: Order = order) -> dict[str, Any]:
            file = {"file": SimpleUploadedFile("note", b"words")} if order.method == "archive_put" else {}
            return {**order.fields, **file}

        before = await everything(api, one)
        dies_in(order.method, done=done, room=order.room)
        answer = await as_operator.post(path, fields(), headers=JSON)
        assert AWAY in answer.json()["message"], what
        assert not answer.json()["ok"], what
        assert (await AuditEntry.objects.filter(action=order.action).alast()).result == "failed", what
        await restarted(fake, synced)
        between = await everything(api, one)
        again = (await as_operator.post(path, fields(), headers=JSON)).json()
        after = await everything(api, one)
        if done:
            assert (after, bool(again["message"])) == (between, True), what
        else:
            assert (between, again["ok"]) == (before, True), (what, again)
            assert what == "upload" or after != before, what
