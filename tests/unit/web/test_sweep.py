"""Every path and websocket, tried by somebody who may look only, by another user, and by nobody."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest_asyncio
from django.contrib.auth.models import User
from django.test import AsyncClient

from containers_app.models import Container, TerminalSession
from runtime.api.client import EngineClient
from tests.unit.web.conftest import browser_of, closing, eventually, local_engine, make_container
from tests.unit.web.every_route import ANYBODYS, filled, names_in, own_patterns, websocket_paths
from webdock.engines.sync import EngineSync
from webdock.people.belongings import KINDS
from webdock.people.models import Belonging
from webdock.people.rights import PUBLIC
from webdock.people.roles import NAMES, VIEWER

JSON = {"accept": "application/json"}
THINGS = {"container_id", "container", "name", "session"}


def test_every_route_declares_its_rights_and_whose_the_things_in_it_are() -> None:
    routes = own_patterns()
    assert len(routes) > 40
    for pattern in routes:
        rights = getattr(pattern.callback, "required_rights", ())
        assert rights == (PUBLIC,) or (rights and set(rights) <= NAMES), f"{pattern} declares no right"
        for name in names_in(pattern) - ANYBODYS:
            part_of_one = names_in(pattern) & {"container_id", "image_id"}
            ones_own = f"<uuid:{name}>" in str(pattern.pattern)  # the view looks among one's own
            assert name in THINGS or part_of_one or ones_own, (
                f"{pattern}: say whose {name} is, in every_route.ANYBODYS or rights.thing_named"
            )
            if name == "name" and rights != (PUBLIC,):
                kind = str(pattern.name).partition("-")[0]
                assert kind in KINDS, f"{pattern}: its name says no kind, so nobody asks whose {name} it is"


def test_every_websocket_declares_its_right_and_whose_the_things_in_it_are() -> None:
    routes = websocket_paths({})
    assert len(routes) >= 8
    for path, consumer, names in routes:
        assert consumer.right in NAMES, f"{path} declares no right"
        assert names <= {"container", "session"}, f"{path}: nobody asks whose that is"


@pytest_asyncio.fixture
async def hers(synced: EngineSync, api: EngineClient) -> dict[str, dict[str, str]]:
    """A container, network, volume and terminal of Alice's, as the parts of paths name them."""
    alice = await User.objects.acreate_user("alice")
    id = await make_container(api, "hers")
    await eventually(Container.everything.filter(container_id=id, state="running").aexists, 20)
    network = (await api.network_create({"Name": "hers"}))["Id"]
    await api.volume_create({"Name": "hers"})
    for kind, object_id in (("container", id), ("network", network), ("volume", "hers")):
        await Belonging.objects.acreate(kind=kind, object_id=object_id, name="hers", owner=alice)
    session = await TerminalSession.objects.acreate(
        id=uuid4(), engine=await local_engine(), container_id=id, user=alice, kind="attach", title="sleep"
    )
    return {"all": {"container_id": id, "container": id, "name": "hers", "session": str(session.pk)}}


async def ask(browser: AsyncClient, path: str, method: str) -> int:
    send: Any = browser.get if method == "GET" else browser.post
    return int((await send(path, headers=JSON)).status_code)


async def test_for_another_user_no_route_knows_of_it(
    hers: dict[str, Any], as_operator: AsyncClient, connect: Any, api: EngineClient
) -> None:
    tried = 0
    for pattern in own_patterns():
        if not names_in(pattern) & THINGS:
            continue
        path = filled(pattern, hers["all"])
        for method in ("GET", "POST"):
            status = await ask(as_operator, path, method)
            wrong_method = status == 405 and "session" in names_in(pattern)  # those look after the method
            assert status == 404 or wrong_method, f"{method} {path} answered {status}"
            tried += 1
    assert tried > 30
    for path, _consumer, names in websocket_paths(hers["all"]):
        if names:
            code, _reason = await closing(await connect(as_operator, path))
            assert code in (4404, 4403), f"{path} closed with {code}"
    assert (await api.container_inspect("hers"))["State"]["Running"]


async def test_for_nobody_every_route_is_closed(
    hers: dict[str, Any], as_stranger: AsyncClient, connect: Any
) -> None:
    for pattern in own_patterns():
        if pattern.callback.required_rights == (PUBLIC,):
            continue
        path = filled(pattern, hers["all"])
        for method in ("GET", "POST"):
            assert await ask(as_stranger, path, method) == 401, f"{method} {path}"
    for path, _consumer, _names in websocket_paths(hers["all"]):
        assert (await closing(await connect(as_stranger, path)))[0] == 4401, path


async def test_who_may_look_does_nothing_else(
    hers: dict[str, Any], as_viewer: AsyncClient, connect: Any, api: EngineClient
) -> None:
    await Belonging.objects.all().adelete()  # now it is everybody's
    for pattern in own_patterns():
        if set(pattern.callback.required_rights) <= {*VIEWER, PUBLIC}:
            continue
        path = filled(pattern, hers["all"])
        for method in ("GET", "POST"):
            assert await ask(as_viewer, path, method) == 403, f"{method} {path}"
    for path, consumer, _names in websocket_paths(hers["all"]):
        if consumer.right not in VIEWER:
            assert (await closing(await connect(as_viewer, path)))[0] == 4403, path
    assert (await api.container_inspect("hers"))["State"]["Running"]


async def test_without_any_right_every_page_is_closed(hers: dict[str, Any], as_viewer: AsyncClient) -> None:
    from webdock.people.models import Role

    user = await User.objects.aget(username="viewer")
    await Role.objects.acreate(user=user, role="custom", rights=[])
    browser = await browser_of(user)
    for pattern in own_patterns():
        if pattern.callback.required_rights != (PUBLIC,) and not hasattr(pattern.callback, "by_token"):
            path = filled(pattern, hers["all"])
            assert await ask(browser, path, "GET") == 403, path
