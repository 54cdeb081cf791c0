"""The page of one network, joining and leaving it, the drawing, and the news of both."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import AsyncClient

from containers_app.models import Container
from runtime.api.client import EngineClient
from tests.unit.web.conftest import eventually, make_container
from webdock.engines.drawing import BOXES_MAX, draw
from webdock.engines.models import AuditEntry
from webdock.engines.sync import EngineSync

JSON = {"accept": "application/json"}


async def test_network_page_shows_who_is_on_it(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient
) -> None:
    made = await api.network_create(
        {"Name": "shop", "Labels": {"team": "blue"}, "IPAM": {"Config": [{"Subnet": "172.30.0.0/24"}]}}
    )
    id = await make_container(api, "web")
    await api.network_connect("shop", {"Container": id, "EndpointConfig": {"Aliases": ["front"]}})

    async def shown() -> Any:
        answer = await as_viewer.get(f"/networks/{made['Id']}/")
        assert answer.status_code == 200
        text = answer.content.decode()
        return text if ">web</bdi>" in text and "front" in text else None

    text = await eventually(shown)
    assert "172.30.0.0/24" in text
    assert "team=blue" in text
    assert (await as_viewer.get("/networks/nothing/")).status_code == 404
    assert (await as_viewer.post(f"/networks/{made['Id']}/")).status_code == 405


async def test_network_page_says_when_the_engine_is_away(
    transactional_db: None, as_viewer: AsyncClient
) -> None:
    answer = await as_viewer.get("/networks/shop/")
    assert answer.status_code == 200
    assert "does not answer" in answer.context["error"]


async def test_containers_join_and_leave_from_the_page(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    await api.network_create({"Name": "shop"})
    id = await make_container(api, "web")
    form = {"container": "web", "aliases": "db, cache db", "ip": "172.30.0.9"}
    answer = await as_operator.post("/networks/shop/connect/", form, headers=JSON)
    assert answer.json() == {"ok": True, "message": "web is on the network now."}
    assert id in (await api.network_inspect("shop"))["Containers"]
    again = await as_operator.post("/networks/shop/connect/", form, headers=JSON)
    assert again.status_code == 403
    assert "already exists" in again.json()["message"]
    used = await as_operator.post("/networks/shop/remove/", headers=JSON)
    assert used.status_code == 403
    assert "active endpoints" in used.json()["message"]
    answer = await as_operator.post("/networks/shop/disconnect/", {"container": id}, headers=JSON)
    assert answer.json()["ok"] is True
    assert (await api.network_inspect("shop"))["Containers"] == {}
    entries = [entry async for entry in AuditEntry.objects.filter(result="ok").order_by("pk")]
    assert [entry.action for entry in entries] == ["network.connect", "network.disconnect"]
    assert entries[0].detail == "web"


async def test_joining_is_for_operators_and_by_post(
    transactional_db: None, as_viewer: AsyncClient, as_stranger: AsyncClient, as_operator: AsyncClient
) -> None:
    for path in ("/networks/shop/connect/", "/networks/shop/disconnect/"):
        assert (await as_viewer.post(path, headers=JSON)).status_code == 403
        assert (await as_stranger.post(path, headers=JSON)).status_code == 401
        assert (await as_operator.get(path)).status_code == 405
        assert (await as_operator.post(path, headers=JSON)).status_code == 400


@pytest.mark.parametrize(
    ("field", "value"), [("container", ""), ("ip", "many"), ("ip", "::1"), ("ip6", "10.0.0.1")]
)
async def test_joining_names_the_field_that_is_wrong(
    transactional_db: None, as_operator: AsyncClient, field: str, value: str
) -> None:
    form = {"container": "web", field: value}
    answer = await as_operator.post("/networks/shop/connect/", form, headers=JSON)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(field)


async def test_network_form_takes_range_labels_and_ipv6(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    form = {"name": "shop", "subnet": "172.30.0.0/24", "range": "172.30.0.128/25", "labels": "team=blue\nx"}
    assert (
        await as_operator.post("/networks/-/create/", {**form, "ipv6": "1"}, headers=JSON)
    ).status_code == 200
    made = await api.network_inspect("shop")
    assert made["IPAM"]["Config"] == [{"Subnet": "172.30.0.0/24", "IPRange": "172.30.0.128/25"}]
    assert (made["Labels"], made["EnableIPv6"]) == ({"team": "blue", "x": ""}, True)
    bad = await as_operator.post("/networks/-/create/", {**form, "name": "b", "range": "x"}, headers=JSON)
    assert bad.json()["message"].startswith("range")


async def test_volume_form_takes_options_and_labels(
    synced: EngineSync, api: EngineClient, as_operator: AsyncClient
) -> None:
    form = {"name": "fast", "options": "type=tmpfs\ndevice=tmpfs\no=size=1m", "labels": "team=blue"}
    assert (await as_operator.post("/volumes/-/create/", form, headers=JSON)).json()["ok"] is True
    made = await api.volume_inspect("fast")
    assert made["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}
    assert made["Labels"] == {"team": "blue"}
    bad = await as_operator.post("/volumes/-/create/", {"name": "b", "options": "=x"}, headers=JSON)
    assert bad.json()["message"].startswith("options")


async def test_pages_hear_of_networks_made_elsewhere(
    synced: EngineSync, api: EngineClient, as_viewer: AsyncClient, connect: Any
) -> None:
    socket = await connect(as_viewer, "/ws/rows/containers/")

    async def make() -> None:
        for number in itertools.count():  # the first may come before the page listens
            await api.network_create({"Name": f"shop{number}"})
            await asyncio.sleep(0.5)

    making = asyncio.create_task(make())
    try:
        while (message := await socket.receive_json_from(30))["type"] != "stale":
            pass
    finally:
        making.cancel()
    assert message["kinds"] == ["network"]


def test_drawing_has_a_line_for_each_container_on_a_network() -> None:
    web = {"container_id": "a", "name": "web", "state": "running", "ip": ""}
    db = {"container_id": "b", "name": "d" * 40, "state": "exited", "ip": ""}
    rows = [
        {"name": "back", "subnet": "", "members": [web, db]},
        {"name": "front", "subnet": "10.0.0.0/24", "members": [web]},
        {"name": "none", "subnet": "", "members": []},
    ]
    drawing = draw(rows)
    assert [line["state"] for line in drawing["lines"]] == ["running", "exited", "running"]
    assert len(drawing["boxes"]) == 4
    assert drawing["boxes"][1]["label"].endswith("…")
    assert drawing["left_out"] == 0


def test_drawing_of_very_many_is_bounded_and_says_so() -> None:
    crowd = [{"container_id": str(n), "name": str(n), "state": "running", "ip": ""} for n in range(200)]
    rows = [{"name": f"n{n}", "subnet": "", "members": crowd[n * 4 : n * 4 + 4]} for n in range(50)]
    drawing = draw(rows)
    assert len(drawing["boxes"]) == 50 + BOXES_MAX
    assert drawing["left_out"] == 140
    assert draw([])["lines"] == []


def test_every_published_port_of_a_row_can_be_opened(db: None) -> None:
    ports = [{"private": 80 + n, "public": 8080 + n, "type": "tcp", "ip": "0.0.0.0"} for n in range(5)]
    ports.append({"private": 53, "public": 5353, "type": "udp", "ip": "127.0.0.1"})
    row = Container(container_id="c" * 64, name="web", state="running", ports=ports)
    text = render_to_string("containers/_row.html", {"container": row})
    for n in range(5):
        assert f'<a class="chip" data-port="{8080 + n}"' in text
    assert '<button class="chip" type="button" data-port="5353" data-ip="127.0.0.1">' in text
    assert ">+4</button>" in text
