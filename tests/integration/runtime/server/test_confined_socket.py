"""The wall, from the side of a web process that was taken over: what it can reach of the real engine."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from runtime.api.client import EngineClient
from runtime.api.errors import EngineError, Forbidden
from tests.conformance.conftest import read_all, read_until
from tests.conformance.test_files import tar

BUSYBOX = "webdock/busybox"
SLEEP = {"Image": BUSYBOX, "Cmd": ["sleep", "1000"]}
SHELL = {"Cmd": ["sh"], "Tty": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True}
NOBODY = 65534


@pytest.fixture
def root(client: EngineClient) -> EngineClient:
    """What the web process does not hold: the engine's own socket."""
    return client


@pytest.fixture
async def web(run: Path) -> AsyncIterator[EngineClient]:
    async with EngineClient(f"unix://{run}/web.sock") as client:
        yield client


def test_neither_socket_opens_for_somebody_else(run: Path) -> None:
    script = (
        "import os, socket, sys\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "for name in sys.argv[1:]:\n"
        "    try: socket.socket(socket.AF_UNIX).connect(name)\n"
        "    except PermissionError: print('refused')\n"
    )
    argv = [sys.executable, "-W", "ignore", "-c", script, str(run / "engine.sock"), str(run / "web.sock")]
    done = subprocess.run(argv, capture_output=True, check=True, timeout=20)
    assert done.stdout.split() == [b"refused", b"refused"]


def test_the_engines_state_is_closed_to_somebody_else(run: Path) -> None:
    home = run.parent / "home" / "engine"
    argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "ls", str(home)]
    assert subprocess.run(argv, capture_output=True, check=False, timeout=20).returncode != 0
    assert (home.stat().st_mode & 0o077) == 0


async def test_a_registry_that_root_asked_for_on_loopback_is_not_in_reach(
    web: EngineClient, root: EngineClient
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # nobody answers there
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EngineError, match="connection refused"):
            await root.image_search(f"{host}/x")
        with pytest.raises(Forbidden, match=r"engine\.toml"):
            await web.image_search(f"{host}/x")
        with pytest.raises(Forbidden, match=r"engine\.toml"):
            await web.distribution_inspect(f"{host}/x")


async def test_everyday_work_passes(web: EngineClient, root: EngineClient) -> None:
    body: dict[str, Any] = {
        **SLEEP,
        "ExposedPorts": {"80/tcp": {}},
        "HostConfig": {
            "Memory": 64 << 20,
            "PortBindings": {"80/tcp": [{"HostPort": "0"}]},
            "Binds": ["confined-data:/data"],
            "RestartPolicy": {"Name": "no"},
            "Tmpfs": {"/run": "size=1m"},
        },
    }
    container = (await web.container_create(body, name="everyday"))["Id"]
    await web.container_start(container)
    session = await web.exec_create(container, SHELL)
    stream = await web.exec_start(session, tty=True)
    await stream.write(b"echo he''re\n")
    await read_until(stream, b"here")
    stream.close()
    again = await web.exec_attach(session, tty=True)
    await again.write(b"echo aga''in\n")
    await read_until(again, b"again")
    await web.exec_kill(session, signal="KILL")
    await read_all(again)
    await web.container_archive_put(container, "/tmp", tar(note=b"hello"))
    async with web.container_archive(container, "/tmp/note") as archive:
        assert b"hello" in b"".join([chunk async for chunk in archive])
    await web.container_update(container, {"Memory": 65 << 20, "MemorySwap": 130 << 20})
    assert (await web.container_stats_once(container, one_shot=True))["memory_stats"]
    image = await web.container_commit(container, repo="confined/made", tag="one")
    await web.container_stop(container, timeout_s=0)
    await web.container_remove(container, volumes=True)
    await web.image_remove(image)
    await web.volume_remove("confined-data")


async def test_a_container_made_by_root_can_be_entered_when_it_is_ordinary(
    web: EngineClient, root: EngineClient
) -> None:
    container = (await root.container_create(SLEEP))["Id"]
    await root.container_start(container)
    session = await web.exec_create(container, {"Cmd": ["echo", "hi"], "AttachStdout": True})
    assert (await read_all(await web.exec_start(session)))[1] == b"hi\n"


@pytest.mark.parametrize(
    "host",
    [
        {"Privileged": True},
        {"Binds": ["/etc:/host:ro"]},
        {"PidMode": "host"},
        {"NetworkMode": "host"},
        {"IpcMode": "host"},
        {"CapAdd": ["SYS_PTRACE"]},
        {"SecurityOpt": ["seccomp=unconfined"]},
        {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/host", "ReadOnly": True}]},
    ],
    ids=str,
)
async def test_a_container_made_by_root_with_more_is_out_of_reach(
    web: EngineClient, root: EngineClient, host: dict[str, Any]
) -> None:
    container = (await root.container_create({**SLEEP, "HostConfig": host}, name="more"))["Id"]
    await root.container_start(container)
    theirs = await root.exec_create(container, SHELL)
    attempts = [
        web.container_create({**SLEEP, "HostConfig": host}),
        web.container_create({**SLEEP, "HostConfig": {"PidMode": "container:more"}}),
        web.container_create({**SLEEP, "HostConfig": {"VolumesFrom": ["more"]}}),
        web.exec_create("more", {"Cmd": ["sh"]}),
        web.exec_create(container[:9], {"Cmd": ["sh"]}),
        web.exec_start(theirs, tty=True),
        web.container_attach("more"),
        web.container_archive("more", "/").open(),
        web.container_archive_put("more", "/", tar(x=b"")),
        web.container_commit("more", repo="confined/stolen"),
        web.container_export("more").open(),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden, match="not allowed on this socket"):
            await attempt
    await web.container_kill(container)


async def test_a_volume_made_by_root_of_the_host_is_out_of_reach(
    web: EngineClient, root: EngineClient
) -> None:
    options = {"type": "none", "o": "bind", "device": "/etc"}
    await root.volume_create({"Name": "etc", "DriverOpts": options})
    try:
        mount = {"Type": "volume", "Source": "etc", "Target": "/x"}
        driver = {"VolumeOptions": {"DriverConfig": {"Name": "local", "Options": options}}}
        for host in (
            {"Binds": ["etc:/x"]},
            {"Mounts": [mount]},
            {"Mounts": [{**mount, "Source": "own", **driver}]},
        ):
            with pytest.raises(Forbidden, match="a volume that mounts something of the host"):
                await web.container_create({**SLEEP, "HostConfig": host})
        with pytest.raises(Forbidden):
            await web.volume_create({"Name": "own", "DriverOpts": options})
        keeper = (await root.container_create({**SLEEP, "HostConfig": {"Binds": ["etc:/x"]}}, name="keeper"))[
            "Id"
        ]
        await root.container_start(keeper)
        with pytest.raises(Forbidden):
            await web.exec_create("keeper", {"Cmd": ["cat", "/x/shadow"]})
        with pytest.raises(Forbidden):
            await web.container_archive("keeper", "/x/shadow").open()
        await root.container_remove(keeper, force=True)
    finally:
        await root.volume_remove("etc", force=True)


async def test_a_name_given_to_another_container_in_between_helps_nobody(
    web: EngineClient, root: EngineClient
) -> None:
    """One side keeps swapping two names, the other keeps asking: only the harmless one is ever entered."""
    harmless = (await root.container_create(SLEEP, name="swap-a"))["Id"]
    evil = (await root.container_create({**SLEEP, "HostConfig": {"Privileged": True}}, name="swap-b"))["Id"]
    for container in (harmless, evil):
        await root.container_start(container)
    over = asyncio.Event()

    async def swap() -> None:
        while not over.is_set():
            for container, name in (
                (harmless, "swap-c"),
                (evil, "swap-a"),
                (evil, "swap-b"),
                (harmless, "swap-a"),
            ):
                await root.container_rename(container, name)

    swapping = asyncio.ensure_future(swap())
    entered = 0
    try:
        for _ in range(150):
            try:
                session = await web.exec_create("swap-a", {"Cmd": ["true"]})
            except EngineError:
                continue
            entered += 1
            assert (await root.exec_inspect(session))["ContainerID"] == harmless
            try:
                made = (await web.container_create({**SLEEP, "HostConfig": {"PidMode": "container:swap-a"}}))[
                    "Id"
                ]
            except EngineError:
                continue
            mode = (await root.container_inspect(made))["HostConfig"]["PidMode"]
            assert mode == f"container:{harmless}"
            await root.container_remove(made, force=True)
    finally:
        over.set()
        await swapping
    assert entered


async def test_unknown_routes_fields_and_versions_are_refused(run: Path) -> None:
    def ask(request: str, body: str = "") -> str:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(20)
            wire.connect(str(run / "web.sock"))
            head = f"{request} HTTP/1.1\r\nHost: e\r\nConnection: close\r\nContent-Type: application/json\r\n"
            wire.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            answer = b""
            while data := wire.recv(65536):
                answer += data
        return answer.split(b"\r\n")[0].decode()

    assert await asyncio.to_thread(ask, "POST /swarm/init") == "HTTP/1.1 403 Forbidden"
    assert await asyncio.to_thread(ask, "GET /v1.47/swarm") == "HTTP/1.1 403 Forbidden"
    assert await asyncio.to_thread(ask, "GET /v1.99/info") == "HTTP/1.1 400 Bad Request"
    body = '{"Image": "webdock/busybox", "HostConfig": {"Magic": true}}'
    assert await asyncio.to_thread(ask, "POST /containers/create", body) == "HTTP/1.1 400 Bad Request"
    for path in ("/v1.47/../containers/json", "/containers/../info", "/%2e%2e/info"):
        assert (await asyncio.to_thread(ask, f"GET {path}")).split()[1] in ("403", "404")


def test_root_owns_both_sockets(run: Path) -> None:
    for name in ("engine.sock", "web.sock"):
        status = os.stat(run / name)
        assert (status.st_uid, status.st_mode & 0o777) == (0, 0o660)
