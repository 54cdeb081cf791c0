"""Promises about the form of answers: the fields of the API's description, with its types."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from runtime.api.client import EngineClient
from tests.conformance.api import WAIT_S, Api
from tests.conformance.conftest import BUSYBOX, MakeContainer, UnderTest
from tests.conformance.shape import definition, described, fields, problems, response_schema

# What Docker 20.10 says and the description of 1.47 does not (any more); new clients do not read it.
OLD = json.loads((Path(__file__).parent / "docker-20.10-fields.json").read_text())


def check(engine: UnderTest, value: Any, schema: Any) -> None:
    wrong = problems(value, schema, unknown=engine.ours)
    if engine.kind == "docker":  # an older API: it cannot have everything the newer one requires
        wrong = [line for line in wrong if not line.endswith("is missing")]
    assert wrong == []


@pytest.fixture
async def busy(make_container: MakeContainer, client: EngineClient, name: str) -> str:
    """A running container with something in most fields."""
    container = await make_container(
        "sleep",
        "1000",
        name=name,
        Labels={"colour": "green"},
        Env=["A=b"],
        ExposedPorts={"80/tcp": {}},
        StopSignal="SIGINT",
        HostConfig={
            "Memory": 64 << 20,
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
            "Binds": [f"{name}:/data"],
            "ExtraHosts": ["db:10.0.0.1"],
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
        },
        start=True,
    )
    yield container
    await client.container_remove(container, force=True, volumes=True)
    await client.volume_remove(name, force=True)


GETS = {
    "/containers/json": "/containers/json?all=1&size=1",
    "/containers/{id}/json": "/containers/{ref}/json?size=1",
    "/containers/{id}/top": "/containers/{ref}/top",
    "/containers/{id}/changes": "/containers/{ref}/changes",
    "/images/json": "/images/json?all=1&digests=1&shared-size=1",
    "/images/{name}/json": f"/images/{BUSYBOX}/json",
    "/images/{name}/history": f"/images/{BUSYBOX}/history",
    "/info": "/info",
    "/version": "/version",
    "/system/df": "/system/df",
    "/networks": "/networks",
    "/networks/{id}": "/networks/bridge",
    "/volumes": "/volumes",
    "/volumes/{name}": "/volumes/{name}",
}


@pytest.mark.parametrize("path", sorted(GETS))
async def test_answers_have_the_described_form(
    api: Api, engine: UnderTest, busy: str, name: str, path: str
) -> None:
    answer = await api("GET", GETS[path].format(ref=busy, name=name))
    assert answer.status == 200
    check(engine, answer.json(), response_schema("get", path))


async def test_a_stopped_container_has_the_described_form(
    api: Api, engine: UnderTest, make_container: MakeContainer, client: EngineClient
) -> None:
    container = await make_container("sh", "-c", "exit 3", start=True)
    await client.container_wait(container)
    for path in ("/containers/{id}/json", "/containers/{id}/changes"):
        answer = await api("GET", path.format(id=container))
        check(engine, answer.json(), response_schema("get", path))


async def test_answers_of_posts_have_the_described_form(
    api: Api, engine: UnderTest, busy: str, name: str
) -> None:
    created = await api("POST", "/containers/create", json={"Image": BUSYBOX})
    check(engine, created.json(), response_schema("post", "/containers/create", 201))
    other = created.json()["Id"]
    waited = await api("POST", f"/containers/{other}/wait")
    check(engine, waited.json(), response_schema("post", "/containers/{id}/wait"))
    updated = await api(
        "POST", f"/containers/{busy}/update", json={"Memory": 65 << 20, "MemorySwap": 130 << 20}
    )
    check(engine, updated.json(), response_schema("post", "/containers/{id}/update"))
    pruned = await api("POST", f'/containers/prune?filters={{"label":["cf={name}"]}}')
    check(engine, pruned.json(), response_schema("post", "/containers/prune"))
    session = await api("POST", f"/containers/{busy}/exec", json={"Cmd": ["true"]})
    check(engine, session.json(), definition("IdResponse"))
    looked = await api("GET", f"/exec/{session.json()['Id']}/json")
    check(engine, looked.json(), response_schema("get", "/exec/{id}/json"))
    network = await api("POST", "/networks/create", json={"Name": name})
    check(engine, network.json(), response_schema("post", "/networks/create", 201))
    await api("DELETE", f"/networks/{name}")
    volume = await api("POST", "/volumes/create", json={"Name": f"{name}.2", "Labels": {"cf": name}})
    check(engine, volume.json(), response_schema("post", "/volumes/create", 201))
    await api("DELETE", f"/volumes/{name}.2")
    image = await api("POST", f"/commit?container={other}&repo={name.lower()}&tag=v1", json={})
    check(engine, image.json(), response_schema("post", "/commit", 201))
    removed = await api("DELETE", f"/images/{name.lower()}:v1")
    assert removed.json()
    check(engine, removed.json(), response_schema("delete", "/images/{name}"))
    await api("DELETE", f"/containers/{other}")


async def test_answers_of_prunes_have_the_described_form(
    api: Api, engine: UnderTest, client: EngineClient, make_container: MakeContainer, name: str
) -> None:
    label = {"cf": name}
    await make_container("true", Labels=label)
    await api("POST", "/networks/create", json={"Name": name, "Labels": label})
    await api("POST", "/volumes/create", json={"Name": name, "Labels": label})
    wanted = {"containers": "ContainersDeleted", "networks": "NetworksDeleted", "volumes": "VolumesDeleted"}
    for kind, field in wanted.items():
        filters: dict[str, list[str]] = {"label": [f"cf={name}"]}
        pruned = await api("POST", f"/{kind}/prune?filters={quote(json.dumps(filters))}")
        check(engine, pruned.json(), response_schema("post", f"/{kind}/prune"))
        if kind != "volumes":  # a newer API keeps named ones
            assert len(pruned.json()[field]) == 1
    await client.volume_remove(name, force=True)
    filters = {"dangling": ["true"], "label": [f"cf={name}"]}
    pruned = await api("POST", f"/images/prune?filters={quote(json.dumps(filters))}")
    check(engine, pruned.json(), response_schema("post", "/images/prune"))


# Streams and samples, which have tests of their own; a registry's answers: tests/integration/runtime/images.
ELSEWHERE = {
    *(("get", "/events"), ("get", "/containers/{id}/stats")),
    *(("get", "/distribution/{name}/json"), ("get", "/images/search"), ("post", "/auth")),
}
POSTS = {
    *(("post", f"/{kind}/prune") for kind in ("containers", "images", "networks", "volumes")),
    *(("post", f"/containers/{{id}}/{verb}") for verb in ("exec", "update", "wait")),
    *(("post", f"/{kind}/create") for kind in ("containers", "networks", "volumes")),
    *(("post", "/commit"), ("get", "/exec/{id}/json"), ("delete", "/images/{name}")),
}


def test_every_described_answer_is_checked() -> None:
    assert {("get", path) for path in GETS} | POSTS | ELSEWHERE == described()


async def test_events_have_the_described_form(
    client: EngineClient, engine: UnderTest, make_container: MakeContainer
) -> None:
    async with client.events(filters={"type": ["container"]}) as events:
        container = await make_container("true", start=True)
        await client.container_wait(container)
        async with asyncio.timeout(WAIT_S):
            for _ in range(3):
                event = await anext(events)
                event.pop("from", None)
                event.pop("status", None)
                event.pop("id", None)
                check(engine, event, definition("EventMessage"))


async def test_statistics_have_what_clients_compute_with(client: EngineClient, busy: str) -> None:
    async with asyncio.timeout(WAIT_S):
        sample = await client.container_stats_once(busy)
    for path in (
        "read",
        "preread",
        "cpu_stats.cpu_usage.total_usage",
        "cpu_stats.system_cpu_usage",
        "cpu_stats.online_cpus",
        "precpu_stats.cpu_usage.total_usage",
        "precpu_stats.system_cpu_usage",
        "memory_stats.usage",
        "memory_stats.limit",
        "pids_stats.current",
    ):
        assert path in fields(sample), path
    assert sample["cpu_stats"]["system_cpu_usage"] > sample["precpu_stats"]["system_cpu_usage"] > 0
    assert sample["memory_stats"]["usage"] > 0


async def test_one_shot_statistics_come_at_once(client: EngineClient, busy: str) -> None:
    before = asyncio.get_running_loop().time()
    sample = await client.container_stats_once(busy, one_shot=True)
    assert asyncio.get_running_loop().time() - before < 0.9
    assert sample["memory_stats"]["usage"] > 0


async def test_statistics_are_a_stream(client: EngineClient, busy: str) -> None:
    async with asyncio.timeout(WAIT_S), client.container_stats(busy) as stream:
        reads = [(await anext(stream))["read"] for _ in range(2)]
    assert reads[0] < reads[1]


@pytest.mark.parametrize("what", sorted(OLD))
async def test_every_field_docker_has_is_there(
    api: Api, engine: UnderTest, busy: str, name: str, what: str
) -> None:
    answer = await api("GET", OLD[what]["path"].format(ref=busy, name=name, image=BUSYBOX))
    missing = set(OLD[what]["fields"]) - fields(_first(answer.json(), name))
    assert engine.kind == "fake" or missing == set()


def _first(value: Any, name: str) -> Any:
    """Of a list of containers the one that has something in every field."""
    if isinstance(value, list):
        return next((item for item in value if f"/{name}" in item.get("Names", ())), value[0])
    return value
