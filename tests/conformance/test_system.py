"""Promises about the engine itself: ping, version, info, API versions, errors of HTTP."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from runtime.api.client import EngineClient
from tests.conformance.api import Api
from tests.conformance.conftest import BUSYBOX, MakeContainer, UnderTest


@pytest.mark.parametrize("path", ["/_ping", "/v1.24/_ping", "/v1.41/_ping"])
async def test_ping_answers_ok_with_its_headers(api: Api, path: str) -> None:
    answer = await api("GET", path)
    assert (answer.status, answer.body) == (200, b"OK")
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["ostype"] == "linux"
    assert answer.headers["docker-experimental"] == "false"
    assert answer.headers["server"]
    major, minor = answer.headers["api-version"].split(".")
    assert (int(major), int(minor)) >= (1, 41)


async def test_ping_by_head_has_headers_and_no_body(api: Api) -> None:
    answer = await api("HEAD", "/_ping")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["api-version"]


async def test_every_answer_says_the_api_version(api: Api) -> None:
    for path in ("/info", "/containers/json", "/containers/nothing/json"):
        headers = (await api("GET", path)).headers
        assert headers["api-version"]
        assert headers["ostype"] == "linux"
        assert headers["content-type"] == "application/json"


async def test_the_newest_version_is_spoken_with_and_without_prefix(api: Api) -> None:
    newest = (await api("GET", "/_ping")).headers["api-version"]
    assert (await api("GET", f"/v{newest}/version")).json()["ApiVersion"] == newest
    assert (await api("GET", "/version")).json()["ApiVersion"] == newest


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.35", "1.40", "1.41"])
async def test_older_versions_are_spoken(api: Api, version: str) -> None:
    assert (await api("GET", f"/v{version}/containers/json")).status == 200


async def test_a_version_too_new_is_refused(api: Api) -> None:
    answer = await api("GET", "/v1.99/info")
    newest = (await api("GET", "/_ping")).headers["api-version"]
    assert answer.status == 400
    assert answer.message == f"client version 1.99 is too new. Maximum supported API version is {newest}"


async def test_a_version_too_old_is_refused(api: Api) -> None:
    answer = await api("GET", "/v1.10/info")
    assert answer.status == 400
    assert b"client version 1.10 is too old. Minimum supported API version is 1." in answer.body


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing"),
        ("GET", "/v1.40/nothing/at/all"),
        ("POST", "/containers/json"),
        ("PUT", "/info"),
        ("GET", "/"),
    ],
)
async def test_an_unknown_route_is_page_not_found(api: Api, method: str, path: str) -> None:
    answer = await api(method, path)
    assert (answer.status, answer.message) == (404, "page not found")


async def test_version_names_engine_kernel_and_components(client: EngineClient) -> None:
    version = await client.version()
    assert version["Os"] == "linux"
    assert version["Arch"]
    assert version["KernelVersion"]
    assert version["Components"][0]["Version"]
    assert version["Components"][0]["Details"]["ApiVersion"] == version["ApiVersion"]


async def test_info_tells_the_truth_about_the_machine(client: EngineClient) -> None:
    import os

    info = await client.info()
    assert info["NCPU"] == len(os.sched_getaffinity(0))
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert abs(info["MemTotal"] - pages) < 64 << 20
    assert info["OSType"] == "linux"
    assert info["ID"]
    total = info["ContainersRunning"] + info["ContainersPaused"] + info["ContainersStopped"]
    assert info["Containers"] == total
    assert info["Images"] >= 2


async def test_system_df_lists_images_containers_and_volumes(client: EngineClient) -> None:
    usage = await client.system_df()
    assert {"LayersSize", "Images", "Containers", "Volumes"} <= set(usage)
    assert usage["LayersSize"] > 0


async def test_the_numbers_of_system_df_add_up(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":  # its containers have no disk of their own
        return
    command = "dd if=/dev/zero of=/data bs=1024 count=700"
    container = await make_container("sh", "-c", command, start=True)
    await client.container_wait(container)
    usage = await client.system_df()
    [row] = [row for row in usage["Containers"] if row["Id"] == container]
    image_id = (await client.image_inspect(BUSYBOX))["Id"]
    [image] = [image for image in usage["Images"] if image["Id"] == image_id]
    assert image["Containers"] >= 1
    assert row["SizeRw"] == 700 << 10
    assert row["SizeRootFs"] == row["SizeRw"] + image["Size"]
    alone = sum(image["Size"] - image["SharedSize"] for image in usage["Images"])
    assert alone <= usage["LayersSize"]
    assert all(0 <= image["SharedSize"] <= image["Size"] for image in usage["Images"])


async def test_system_df_counts_what_uses_what(
    client: EngineClient, make_container: object, engine: UnderTest, name: str
) -> None:
    if engine.kind == "fake":  # it writes no files
        return
    container = await make_container(  # type: ignore[operator]
        "sh",
        "-c",
        "head -c 100000 /dev/zero > /own; head -c 200000 /dev/zero > /kept/x",
        HostConfig={"Binds": [f"{name}:/kept"]},
        start=True,
    )
    await client.container_wait(container)
    image = (await client.container_inspect(container))["Image"]
    usage = await client.system_df()
    [row] = [row for row in usage["Containers"] if row["Id"] == container]
    assert row["SizeRw"] >= 100_000
    assert row["SizeRootFs"] > row["SizeRw"]
    [volume] = [volume for volume in usage["Volumes"] if volume["Name"] == name]
    assert volume["UsageData"]["RefCount"] == 1
    assert volume["UsageData"]["Size"] >= 200_000
    [used] = [row for row in usage["Images"] if row["Id"] == image]
    assert used["Containers"] >= 1
    assert used["Size"] > used["SharedSize"] >= 0
    await client.container_remove(container)
    [volume] = [volume for volume in (await client.system_df())["Volumes"] if volume["Name"] == name]
    assert volume["UsageData"]["RefCount"] == 0
    await client.volume_remove(name)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"Image": 5}', b"\xff\xfe", b'{"HostConfig": {"Memory": "1"}}']
)
async def test_a_malformed_body_is_refused(api: Api, engine: UnderTest, body: bytes) -> None:
    answer = await api("POST", "/containers/create", data=body, headers={"Content-Type": "application/json"})
    assert answer.status in engine.refuses(400)
    assert answer.message


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
async def test_a_body_that_is_not_called_json_is_refused(api: Api, kind: str) -> None:
    body = json.dumps({"Image": BUSYBOX}).encode()
    answer = await api("POST", "/containers/create", data=body, headers={"Content-Type": kind})
    assert answer.status == 400
    assert "Content-Type" in answer.message or "content-type" in answer.message.lower()


async def test_json_with_a_charset_is_json(api: Api) -> None:
    body = json.dumps({"Image": "no/such"}).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert (await api("POST", "/containers/create", data=body, headers=headers)).status == 404


async def test_a_chunked_body_is_read(api: Api) -> None:
    async def pieces():  # type: ignore[no-untyped-def]
        for piece in (b'{"Ima', b'ge": "no/su', b'ch"}'):
            yield piece

    headers = {"Content-Type": "application/json"}
    answer = await api("POST", "/containers/create", data=pieces(), headers=headers)
    assert answer.status == 404
    assert "no/such" in answer.message


async def test_a_body_cut_short_makes_nothing(api: Api, client: EngineClient, name: str) -> None:
    head = f"POST /containers/create?name={name} HTTP/1.1\r\nHost: e\r\nContent-Type: application/json\r\n"
    await api.raw(head.encode() + b'Content-Length: 1000\r\n\r\n{"Image": "', half_close=True)
    assert await client.container_list(all=True, filters={"name": [name]}) == []


@pytest.mark.parametrize("key", ["Image", "image", "IMAGE"])
async def test_keys_are_taken_in_any_case(api: Api, key: str) -> None:
    answer = await api("POST", "/containers/create", json={key: "no/such"})
    assert answer.status == 404


@pytest.mark.parametrize("spelling", ["1", "true", "True", "yes"])
async def test_every_spelling_of_true_is_true(
    api: Api, make_container: object, client: EngineClient, spelling: str
) -> None:
    container = await make_container("true")  # type: ignore[operator]
    rows = (await api("GET", f"/containers/json?all={spelling}")).json()
    assert container in [row["Id"] for row in rows]


@pytest.mark.parametrize("spelling", ["0", "false", "False", "no", "none", ""])
async def test_every_spelling_of_false_is_false(
    api: Api, make_container: object, client: EngineClient, spelling: str
) -> None:
    container = await make_container("true")  # type: ignore[operator]
    rows = (await api("GET", f"/containers/json?all={spelling}")).json()
    assert container not in [row["Id"] for row in rows]


@pytest.mark.parametrize("filters", ["{", "5", '{"status": "exited"}', '["x"]'])
async def test_malformed_filters_are_refused(api: Api, filters: str) -> None:
    answer = await api("GET", f"/containers/json?filters={quote(filters)}")
    assert answer.status in (400, 500)  # Docker 20.10 says 500
    assert answer.message


async def test_both_spellings_of_filters_mean_the_same(
    api: Api, make_container: object, engine: UnderTest
) -> None:
    container = await make_container("true")  # type: ignore[operator]
    for value in ({"id": [container]}, {"id": {container: True}}):
        rows = (await api("GET", f"/containers/json?all=1&filters={quote(json.dumps(value))}")).json()
        assert [row["Id"] for row in rows] == [container]


async def test_not_http_is_answered_with_400(api: Api) -> None:
    assert b" 400 Bad Request" in (await api.raw(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"))[:30]


async def test_http_1_0_is_answered(api: Api) -> None:
    answer = await api.raw(b"GET /_ping HTTP/1.0\r\nHost: e\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK")
    assert answer.endswith(b"\r\n\r\nOK")


async def test_a_connection_is_kept_for_the_next_request(api: Api) -> None:
    ask = b"GET /_ping HTTP/1.1\r\nHost: e\r\n\r\n"
    last = b"GET /_ping HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n"
    assert (await api.raw(ask + ask + last)).count(b"200 OK") == 3


async def test_a_client_that_closed_its_side_gets_its_answer(api: Api) -> None:
    answer = await api.raw(b"GET /_ping HTTP/1.1\r\nHost: e\r\nConnection: close\r\n\r\n", half_close=True)
    assert answer.endswith(b"\r\n\r\nOK")
