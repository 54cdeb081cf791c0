"""Promises about what is wrong: refused with a reason before anything is made, and the engine goes on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import Any
from urllib.parse import quote

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, NotFound
from tests.conformance.api import Api, Wire
from tests.conformance.conftest import BUSYBOX, MakeContainer, UnderTest, until

BIG_BYTES = 20 << 20
JSON = {"Content-Type": "application/json"}
GONE = 20  # clients that leave in the middle

# What is wrong: {field: value}.
CONFIGS: dict[str, dict[str, Any]] = {
    "command of another type": {"Cmd": {"a": 1}},
    "environment of another type": {"Env": "A=b"},
    "label of another type": {"Labels": {"a": 1}},
    "terminal of another type": {"Tty": "yes"},
    "volumes of another type": {"Volumes": ["/a"]},
    "directory that is relative": {"WorkingDir": "here"},
    "unknown signal": {"StopSignal": "SIGNONSENSE"},
    "unknown protocol": {"ExposedPorts": {"80/pigeon": {}}},
    "variable without a name": {"Env": ["=x"]},
    "NUL in a command": {"Cmd": ["a\0b"]},
    "NUL in a variable": {"Env": ["A=\0"]},
    "NUL in a directory": {"WorkingDir": "/a\0b"},
    "long host name": {"Hostname": "x" * 300},
    "health check too often": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 5}},
    "negative retries": {"Healthcheck": {"Test": ["CMD", "true"], "Retries": -1}},
}
HOSTS: dict[str, dict[str, Any]] = {
    "memory of another type": {"Memory": "64m"},
    "memory that is no whole number": {"Memory": 1.5},
    "memory beyond 64 bits": {"Memory": 1 << 64},
    "memory no machine has": {"Memory": 1 << 62},
    "more processes than the kernel counts": {"PidsLimit": 1 << 40},
    "a quota without measure": {"CpuQuota": 1 << 60},
    "a real-time period without measure": {"CpuRealtimePeriod": 1 << 62},
    "more real-time than the period": {"CpuRealtimePeriod": 1000, "CpuRealtimeRuntime": 2000},
    "a link to nobody": {"Links": ["nosuch:x"]},
    "processes of nobody": {"PidMode": "container:nosuch"},
    "memory of nobody": {"IpcMode": "container:nosuch"},
    "volumes of nobody": {"VolumesFrom": ["nosuch"]},
    "negative memory": {"Memory": -1},
    "memory too small": {"Memory": 4096},
    "swap below memory": {"Memory": 64 << 20, "MemorySwap": 32 << 20},
    "swap without memory": {"MemorySwap": 64 << 20},
    "reservation above memory": {"Memory": 64 << 20, "MemoryReservation": 128 << 20},
    "swappiness out of range": {"MemorySwappiness": 101},
    "negative shared memory": {"ShmSize": -1},
    "negative processors": {"NanoCpus": -1},
    "more processors than there are": {"NanoCpus": 10**15},
    "period too short": {"CpuPeriod": 10},
    "quota too small": {"CpuQuota": 10},
    "processors and a quota": {"NanoCpus": 10**9, "CpuQuota": 50_000},
    "processor that is not there": {"CpusetCpus": "4095"},
    "processors in words": {"CpusetCpus": "all"},
    "weight out of range": {"OomScoreAdj": 5000},
    "unknown policy": {"RestartPolicy": {"Name": "sometimes"}},
    "negative count": {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}},
    "count of another policy": {"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}},
    "removed and restarted": {"AutoRemove": True, "RestartPolicy": {"Name": "always"}},
    "unknown capability": {"CapAdd": ["CAP_NONSENSE"]},
    "unknown option": {"SecurityOpt": ["nonsense=1"]},
    "profile that is none": {"SecurityOpt": ["seccomp={"]},
    "relative bind": {"Binds": ["a/b:/c"]},
    "bind to the root": {"Binds": ["/tmp:/"]},
    "bind without a place": {"Binds": ["/tmp:relative"]},
    "unknown bind mode": {"Binds": ["/tmp:/a:sideways"]},
    "one place twice": {"Binds": ["/tmp:/a", "/var:/a"]},
    "mount of an unknown kind": {"Mounts": [{"Type": "cloud", "Target": "/a"}]},
    "mount without a target": {"Mounts": [{"Type": "volume"}]},
    "mount of what is not there": {"Mounts": [{"Type": "bind", "Source": "/no/such", "Target": "/a"}]},
    "bind mount with volume options": {
        "Mounts": [{"Type": "bind", "Source": "/tmp", "Target": "/a", "VolumeOptions": {"NoCopy": True}}]
    },
    "port out of range": {"PortBindings": {"80/tcp": [{"HostPort": "99999"}]}},
    "port in words": {"PortBindings": {"http/tcp": [{"HostPort": "80"}]}},
    "unknown process namespace": {"PidMode": "elsewhere"},
    "unknown memory namespace": {"IpcMode": "elsewhere"},
    "unknown user namespace": {"UsernsMode": "elsewhere"},
    "container without a name": {"NetworkMode": "container:"},
    "name server in words": {"Dns": ["somewhere"]},
    "host without an address": {"ExtraHosts": ["db"]},
    "unknown log driver": {"LogConfig": {"Type": "papyrus"}},
    "unknown log option": {"LogConfig": {"Type": "json-file", "Config": {"nonsense": "1"}}},
    "log size in words": {"LogConfig": {"Type": "json-file", "Config": {"max-size": "big"}}},
    "unknown runtime": {"Runtime": "nonsense"},
    "unknown isolation": {"Isolation": "hyperv"},
    "unknown limit": {"Ulimits": [{"Name": "nonsense", "Soft": 1, "Hard": 1}]},
    "soft limit above the hard": {"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]},
    "unknown device rule": {"DeviceCgroupRules": ["everything"]},
    "NUL in a bind": {"Binds": ["/tmp/a\0b:/c"]},
    "NUL in a mount": {"Mounts": [{"Type": "tmpfs", "Target": "/a\0b"}]},
    "terminal of one side": {"ConsoleSize": [1]},
}
# Docker 20.10 makes these all the same, or finds out at the start.
LENIENT = {
    *("long host name", "variable without a name", "NUL in a command", "NUL in a directory", "NUL in a bind"),
    *(
        "NUL in a mount",
        "NUL in a variable",
        "unknown device rule",
        "unknown limit",
        "soft limit above the hard",
    ),
    *(
        "terminal of one side",
        "host without an address",
        "log size in words",
    ),
    *("unknown protocol", "unknown process namespace", "unknown memory namespace", "unknown user namespace"),
    *("name server in words", "unknown log driver", "memory no machine has", "a quota without measure"),
    *("more processes than the kernel counts", "a real-time period without measure"),
    *("unknown signal", "unknown option", "profile that is none", "mount of what is not there"),
}


async def nothing_of(client: EngineClient, name: str) -> None:
    assert await client.container_list(all=True, filters={"name": [name]}) == []


async def test_what_is_wrong_with_a_container_is_said_and_nothing_is_made(
    api: Api, client: EngineClient, engine: UnderTest, name: str
) -> None:
    if engine.kind == "fake":
        return  # it knows few of the rules
    wrong = []
    for what in [*CONFIGS, *HOSTS]:
        if not engine.ours and what in LENIENT:
            continue
        more = CONFIGS[what] if what in CONFIGS else {"HostConfig": HOSTS[what]}
        body = {"Image": BUSYBOX, "Cmd": ["true"], **more}
        answer = await api("POST", f"/containers/create?name={name}", json=body)
        if answer.status not in engine.refuses(400, 501) or not answer.message:
            wrong.append((what, answer))
            await api("DELETE", f"/containers/{name}?force=1")
    assert wrong == []
    await nothing_of(client, name)


VERBS = [
    ("POST", "/containers/{ref}/rename?name=a%00b", None),
    ("POST", "/containers/{ref}/rename?name=", None),
    ("POST", "/containers/{ref}/rename?name=a/b", None),
    ("POST", "/containers/{ref}/stop?t=soon", None),
    ("POST", "/containers/{ref}/kill?signal=SIGNONSENSE", None),
    ("POST", "/containers/{ref}/kill?signal=-1", None),
    ("POST", "/containers/{ref}/wait?condition=sometime", None),
    ("POST", "/containers/{ref}/resize?h=tall&w=80", None),
    ("POST", "/containers/{ref}/update", {"Memory": -1}),
    ("POST", "/containers/{ref}/update", {"Memory": "much"}),
    ("POST", "/containers/{ref}/update", {"CpusetCpus": "all"}),
    ("POST", "/containers/{ref}/update", {"RestartPolicy": {"Name": "sometimes"}}),
    ("POST", "/containers/{ref}/exec", {"Cmd": []}),
    ("POST", "/containers/{ref}/exec", {"Cmd": "true", "Tty": "yes"}),
    ("POST", "/containers/{ref}/exec", {"Cmd": ["true"], "Env": {"A": "b"}}),
    ("POST", "/containers/{ref}/exec", {"Cmd": ["true"], "DetachKeys": "ctrl-nonsense"}),
    ("GET", "/containers/{ref}/archive", None),
    ("GET", "/containers/{ref}/archive?path=", None),
    ("GET", "/containers/{ref}/logs?stdout=1&since=yesterday", None),
    ("GET", "/containers/{ref}/logs", None),
    ("GET", "/containers/json?limit=many", None),
    ("GET", "/containers/json?filters=%7B", None),
    ("GET", "/containers/json?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D", None),
    ("GET", "/events?since=yesterday", None),
    ("POST", "/networks/create", {"Name": ""}),
    ("POST", "/networks/create", {"Name": ["x"]}),
    ("POST", "/volumes/create", {"Name": "a/b"}),
    ("POST", "/volumes/create", {"Name": 5}),
    ("POST", "/images/create?fromImage=UPPER/case%3A%3A", None),
]


async def test_what_is_wrong_with_a_request_is_said_and_nothing_changes(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    container = await make_container("sleep", "1000", start=True)
    before = await client.container_inspect(container)
    wrong = []
    for method, path, body in VERBS:
        if not engine.ours and "condition=" in path:
            continue  # Docker 20.10 waits for the end then
        answer = await api(method, path.format(ref=container), json=body)
        if answer.status not in engine.refuses(400, 404) or not answer.message:
            wrong.append((method, path, body, answer))
    assert wrong == []
    assert await client.container_inspect(container) == before


async def test_a_path_with_a_nul_is_refused(
    api: Api, make_container: MakeContainer, engine: UnderTest
) -> None:
    container = await make_container("true")
    for path in ("/a\0b", "\0", "/../../../etc/\0"):
        for method, data in (("HEAD", None), ("GET", None), ("PUT", b"")):
            headers = {"Content-Type": "application/x-tar"} if method == "PUT" else None
            target = f"/containers/{container}/archive?path={quote(path)}"
            answer = await api(method, target, data=data, headers=headers)
            assert answer.status in engine.refuses(400, 404), (method, path, answer.body)


@pytest.mark.parametrize("spelling", ["a%00b", "x" * 5000, "-a", "a%20b", "a%2Fb", "%C3%A4"])
async def test_a_name_that_is_none_makes_nothing(
    api: Api, client: EngineClient, engine: UnderTest, spelling: str
) -> None:
    if engine.kind == "fake":
        return
    before = {one["Id"] for one in await client.container_list(all=True)}
    answer = await api(
        "POST", f"/containers/create?name={spelling}", json={"Image": BUSYBOX, "Cmd": ["true"]}
    )
    after = {one["Id"] for one in await client.container_list(all=True)}
    if not engine.ours and answer.status == 201:  # Docker knows no longest name
        await client.container_remove(answer.json()["Id"])
        return
    assert answer.status in engine.refuses(400)
    assert after == before


async def test_20_megabytes_of_json_are_refused(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if not engine.ours:
        return  # Docker 20.10 reads it all and knows no measure
    container = await make_container("sleep", "1000", start=True)
    data = json.dumps({"Image": BUSYBOX, "Name": "x", "Cmd": ["x" * BIG_BYTES]}).encode()
    for path in ("/containers/create", "/networks/create", f"/containers/{container}/exec"):
        answer = await api("POST", path, data=io.BytesIO(data), headers=JSON)
        assert answer.status in (400, 413)
        assert answer.message
    assert (await client.info())["ServerVersion"]


async def test_a_body_that_is_no_object_is_refused(
    api: Api, make_container: MakeContainer, engine: UnderTest
) -> None:
    container = await make_container("sleep", "1000", start=True)
    wrong = []
    for path in (
        "/containers/create",
        f"/containers/{container}/update",
        f"/containers/{container}/exec",
        "/networks/create",
    ):
        for data in (b"{", b"[]", b'"x"', b"5", b"\xff", b"{}{}", b'{"Image": "x', b"nul"):
            if not engine.ours and data == b"{}{}":
                continue  # of two values Docker 20.10 takes the first
            answer = await api("POST", path, data=data, headers=JSON)
            if answer.status not in engine.refuses(400) or not answer.message:
                wrong.append((path, data, answer))
    assert wrong == []


async def test_clients_that_leave_in_the_middle_leave_nothing_half_made(
    api: Api, client: EngineClient, engine: UnderTest, name: str
) -> None:
    """Some leave before their request is whole, some right behind it: made is what was whole."""
    body = json.dumps({"Image": BUSYBOX, "Cmd": ["true"], "Labels": {"left": name}}).encode()
    for number in range(GONE):
        wire = await Wire.open(api.socket)
        head = f"POST /containers/create?name={name}.{number} HTTP/1.1\r\nHost: e\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        whole = number % 2 == 0
        wire.writer.write(head.encode() + (body if whole else body[: len(body) * number // GONE]))
        await wire.writer.drain()
        wire.close()

    async def made() -> list[Any]:
        return await client.container_list(all=True, filters={"label": [f"left={name}"]})

    # Whoever was whole may have been read or not when its client left.
    await asyncio.sleep(0)
    for number in range(1, GONE, 2):
        await nothing_of(client, f"{name}.{number}$")
    for one in await until(made, lambda rows: all(row["State"] == "created" for row in rows)):
        try:
            document = await client.container_inspect(one["Id"])
            assert document["Config"]["Labels"]["left"] == name
            await client.container_start(one["Id"])
            assert (await client.container_wait(one["Id"]))["StatusCode"] == 0
        except (NotFound, Conflict):
            assert not engine.ours  # Docker lists it, finds its client gone, and takes it back
    for one in await made():
        with contextlib.suppress(NotFound, Conflict):
            await client.container_remove(one["Id"], force=True)
