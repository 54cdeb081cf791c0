"""Promises the clients people have rely on: what they look for in an answer, and when."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import tarfile
import uuid

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, NotFound, NotModified
from tests.conformance.api import WAIT_S, Api, frames
from tests.conformance.conftest import BUSYBOX, MakeContainer, UnderTest, gone

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\n"


def first_bytes(path: str, request: bytes) -> bytes:
    """What a client gets that reads once and is quick: everything the engine had sent by then."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(WAIT_S)
        client.connect(path)
        client.sendall(request)
        return client.recv(1 << 16)


@pytest.mark.parametrize("upgrade", ["", UPGRADE])
async def test_output_never_comes_together_with_the_head(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest, upgrade: str
) -> None:
    """Clients read the head through a buffer, and the output past it."""
    container = await make_container("sleep", "1000", start=True)
    apart = 0
    for _ in range(10):
        session = await client.exec_create(container, {"Cmd": ["echo", "said"], "AttachStdout": True})
        body = b'{"Detach":false,"Tty":false}'
        head = f"POST /exec/{session}/start HTTP/1.1\r\nHost: e\r\n{upgrade}"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = await asyncio.to_thread(first_bytes, engine.socket, head.encode() + body)
        assert answer.startswith(b"HTTP/1.1 ")
        apart += b"said" not in answer
    # Docker does not wait until the head was read: a client that had to wait for the processor gets both.
    assert apart == 10 if engine.ours else apart


async def test_attach_with_logs_before_the_first_start_gets_the_run(
    api: Api, client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("sh", "-c", "echo to you; echo and you >&2")
    async with await api.hijack(f"/containers/{container}/attach?logs=1&stream=1&stdout=1&stderr=1") as wire:
        await client.container_start(container)
        assert frames(await wire.rest()) == {1: b"to you\n", 2: b"and you\n"}


async def test_attach_with_logs_before_another_start_gets_both_runs_once(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    container = await make_container("sh", "-c", "echo a run", start=True)
    await client.container_wait(container)
    async with await api.hijack(f"/containers/{container}/attach?logs=1&stream=1&stdout=1") as wire:
        await client.container_start(container)
        assert frames(await wire.rest())[1] == b"a run\na run\n"


async def test_waiting_ends_with_the_run_also_when_another_follows(
    client: EngineClient, make_container: MakeContainer
) -> None:
    host = {"RestartPolicy": {"Name": "always"}}
    container = await make_container("sh", "-c", "sleep 3; exit 3", HostConfig=host)
    async with asyncio.timeout(WAIT_S):
        await client.container_start(container)
        assert (await client.container_wait(container))["StatusCode"] == 3


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/swarm/leave?force=1", "This node is not part of a swarm"),
        ("GET", "/swarm", "This node is not a swarm manager."),
        ("GET", "/nodes", "This node is not a swarm manager."),
        ("GET", "/services", "This node is not a swarm manager."),
        ("GET", "/secrets", "This node is not a swarm manager."),
    ],
)
async def test_an_engine_in_no_swarm_says_so(api: Api, method: str, path: str, words: str) -> None:
    answer = await api(method, path)
    assert answer.status == 503
    assert answer.message.startswith(words)


async def test_loading_what_is_no_image_fails_in_the_body(api: Api) -> None:
    answer = await api("POST", "/images/load", data=b"abc")
    assert answer.status == 200
    assert json.loads(answer.body.splitlines()[-1])["error"]


async def test_links_tell_the_other_containers_variables(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest, name: str
) -> None:
    if engine.kind == "fake":
        return
    await make_container("sleep", "1000", name=name, start=True, Env=["COLOUR=red"])
    container = await make_container("env", HostConfig={"Links": [f"{name}:my-db"]})
    await client.container_start(container)
    await client.container_wait(container)
    answer = await api("GET", f"/containers/{container}/logs?stdout=1")
    lines = frames(answer.body)[1].decode().splitlines()
    assert "MY_DB_ENV_COLOUR=red" in lines
    assert any(line.startswith("MY_DB_NAME=/") for line in lines)
    assert not any(line.startswith("MY_DB_ENV_PATH=") for line in lines)


async def test_a_link_is_removed_by_its_path(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest, name: str
) -> None:
    if engine.kind == "fake":
        return
    other = await make_container("sleep", "1000", start=True)
    await make_container("true", name=name, HostConfig={"Links": [f"{other[:12]}:db"]})
    assert (await api("DELETE", f"/containers/{name}/db?link=1")).status == 204
    assert (await client.container_inspect(other))["State"]["Running"]
    assert not (await client.container_inspect(name))["HostConfig"]["Links"]


async def test_a_volume_driver_nobody_uses_is_kept(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    container = await make_container("true", HostConfig={"VolumeDriver": "foo"})
    assert (await client.container_inspect(container))["HostConfig"]["VolumeDriver"] == "foo"


async def test_a_processor_quota_of_minus_one_is_none(
    client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("true", HostConfig={"CpuQuota": -1}, start=True)
    assert (await client.container_wait(container))["StatusCode"] == 0


async def test_a_network_name_may_hold_a_space(api: Api, engine: UnderTest) -> None:
    if engine.kind == "fake":
        return
    name = f"cf {uuid.uuid4().hex[:8]}"
    made = await api("POST", "/networks/create", json={"Name": name})
    assert made.status == 201
    assert (await api("GET", f"/networks/{name.replace(' ', '%20')}")).json()["Name"] == name
    assert (await api("DELETE", f"/networks/{made.json()['Id']}")).status == 204


async def test_clients_find_the_config_an_image_was_made_of(api: Api, engine: UnderTest) -> None:
    """docker-compose 1 cannot recreate a container without it, whatever version it speaks."""
    for version in ("/v1.41", "") if engine.ours else ("/v1.41",):
        answer = await api("GET", f"{version}/images/{BUSYBOX}/json")
        assert isinstance(answer.json()["ContainerConfig"], dict)


async def test_older_clients_share_their_memory_segments(
    api: Api, client: EngineClient, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    for version, expected in (("/v1.38", "shareable"), ("/v1.40", "private")):
        body = {"Image": BUSYBOX, "HostConfig": {"Memory": 64 << 20}}
        made = (await api("POST", f"{version}/containers/create", json=body)).json()["Id"]
        try:
            assert (await client.container_inspect(made))["HostConfig"]["IpcMode"] == expected
        finally:
            await client.container_remove(made)


async def test_what_no_linux_can_do_is_taken_as_docker_takes_it(
    api: Api, client: EngineClient, engine: UnderTest
) -> None:
    """docker-compose passes on what a file says of Windows, and health checks without CMD."""
    if engine.kind == "fake":
        return
    body = {
        "Image": BUSYBOX,
        "Healthcheck": {"Test": ["true"]},
        "HostConfig": {"CpuCount": 2, "CpuPercent": 30},
    }
    made = (await api("POST", "/containers/create", json=body)).json()
    try:
        assert "linux does not support CPU percent. Percent discarded." in made["Warnings"]
        seen = await client.container_inspect(made["Id"])
        assert seen["Config"]["Healthcheck"]["Test"] == ["true"]
        host = seen["HostConfig"]
        assert (host["CpuCount"], host["CpuPercent"], host["Dns"]) == (2, 0, None)
    finally:
        await client.container_remove(made["Id"])


async def test_a_word_instead_of_credentials_is_none(api: Api, engine: UnderTest) -> None:
    """It is how some clients push without a login."""
    answer = await api("POST", "/images/no/such/push", headers={"X-Registry-Auth": "FOOBAR"})
    assert answer.status != 400 or "X-Registry-Auth" not in answer.message


async def test_the_whole_root_of_a_running_container_can_be_copied(
    api: Api, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    container = await make_container("sleep", "1000", start=True)
    answer = await api("GET", f"/containers/{container}/archive?path=/")
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        names = {name.strip("/") for name in archive.getnames()}
    assert {"bin/busybox", "etc/passwd", "proc"} <= names
    assert not any(name.startswith("proc/") for name in names)


async def test_committing_while_the_container_ends_works(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    for number in range(8):
        container = await make_container("sleep", f"0.0{number}", start=True)
        answer = await api("POST", f"/commit?container={container}", json={})
        assert answer.status == 201, answer.body
        await client.container_wait(container)
        await client.image_remove(answer.json()["Id"], force=True)


# -- two clients at once -----------------------------------------------------------------------------------

RACES = 40
PEER_RACES = 4  # Docker takes a second for each


def races(engine: UnderTest) -> range:
    return range(RACES if engine.ours else PEER_RACES)


async def refusal(call: object) -> type[Exception] | None:
    try:
        await call  # type: ignore[misc]
    except (NotModified, Conflict, NotFound) as error:
        return type(error)
    return None


async def test_start_and_forced_removal_race_to_nothing(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    for _ in races(engine):
        container = await make_container("sleep", "1000")
        await asyncio.gather(
            refusal(client.container_start(container)),
            refusal(client.container_remove(container, force=True)),
        )
        await refusal(client.container_remove(container, force=True))
        await gone(client, container)


async def test_of_start_and_removal_one_wins(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    """Either it runs and is not removed, or it is gone and does not start."""
    for _ in races(engine):
        container = await make_container("sleep", "1000")
        started, removed = await asyncio.gather(
            refusal(client.container_start(container)), refusal(client.container_remove(container))
        )
        if removed is None:
            assert started in (NotFound, Conflict)
            await gone(client, container)
        else:
            assert (started, removed) == (None, Conflict)
            assert (await client.container_inspect(container))["State"]["Running"] is True
            await client.container_remove(container, force=True)


async def test_stop_and_kill_race_to_an_exited_container(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    for _ in races(engine):
        container = await make_container("sleep", "1000", start=True, StopSignal="KILL")
        await asyncio.gather(
            refusal(client.container_stop(container)), refusal(client.container_kill(container))
        )
        assert (await client.container_wait(container))["StatusCode"] == 137
        assert (await client.container_inspect(container))["State"]["Status"] == "exited"


async def test_of_two_that_want_a_name_one_gets_it(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest, name: str
) -> None:
    first, second = await make_container("true"), await make_container("true")
    for number in races(engine):
        wanted = f"{name}.{number}"
        outcome = await asyncio.gather(
            refusal(client.container_rename(first, wanted)), refusal(client.container_rename(second, wanted))
        )
        assert sorted(outcome, key=str) == [Conflict, None]
