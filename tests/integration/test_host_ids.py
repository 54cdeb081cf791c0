"""What containers with ids of their own must hide: they bind, show and limit as Docker's do."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.integration.installation import Installation, eventually
from webdock.cli.http import Refused

BUSYBOX = "webdock/busybox"


def docker(installation: Installation, *words: str) -> str:
    done = subprocess.run(
        ["docker", *words], env=installation.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"docker {words}: {done.stderr}"
    return done.stdout


@pytest.mark.parametrize("source", ["/proc", "/dev", "/"])
def test_a_bind_that_cannot_be_mapped_shows_the_hosts_ids(installation: Installation, source: str) -> None:
    root_owned = {"/proc": "sys", "/dev": "null", "/": "etc"}[source]
    script = f"stat -c %u:%g /bound/{root_owned}; cat /proc/self/uid_map"
    shown = docker(installation, "run", "--rm", "-v", f"{source}:/bound:ro", BUSYBOX, "sh", "-c", script)
    assert shown.split() == ["0:0", "0", "0", "4294967295"]


def test_a_bind_under_runc_shows_the_hosts_ids(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.chown(tmp_path / "file", 1234, 4321)
    words = ("run", "--rm", "--runtime", "runc", "-v", f"{tmp_path}:/bound", BUSYBOX)
    assert docker(installation, *words, "stat", "-c", "%u:%g", "/bound/file").split() == ["1234:4321"]


def test_top_shows_the_containers_users(installation: Installation) -> None:
    docker(installation, "run", "-d", "--name", "root", BUSYBOX, "sleep", "1000")
    docker(installation, "run", "-d", "--name", "user", "--user", "54321", BUSYBOX, "sleep", "1000")
    assert docker(installation, "top", "root").splitlines()[1].split()[0] == "root"
    assert docker(installation, "top", "user").splitlines()[1].split()[0] == "54321"
    assert (
        docker(installation, "top", "user", "-eo", "pid,uid,user").splitlines()[1].split()[1:]
        == ["54321"] * 2
    )


def test_a_cpu_quota_is_lifted_from_a_running_container(installation: Installation) -> None:
    docker(installation, "run", "-d", "--name", "slow", "--cpu-quota", "50000", BUSYBOX, "sleep", "1000")
    docker(installation, "update", "--cpu-quota", "-1", "slow")
    found = installation.client.get("/containers/slow/json")
    assert found["HostConfig"]["CpuQuota"] == -1
    groups = [*Path("/sys/fs/cgroup").glob(f"**/{found['Id']}/cpu.cfs_quota_us")]
    groups += Path("/sys/fs/cgroup").glob(f"**/{found['Id']}/cpu.max")
    assert groups
    assert all(group.read_text().split()[0] in ("-1", "max") for group in groups)


@pytest.mark.parametrize(
    "host", [{"CgroupParent": "../../x"}, {"CgroupParent": "a" * 300}, {"CpuRealtimeRuntime": 1000}]
)
def test_a_group_that_cannot_be_made_is_refused_at_create(
    installation: Installation, host: dict[str, object]
) -> None:
    with pytest.raises(Refused) as caught:
        installation.client.post("/containers/create", None, {"Image": BUSYBOX, "HostConfig": host})
    assert caught.value.status == 400


def test_an_engine_with_idle_clients_stops_before_they_go(installation: Installation) -> None:
    """They stay connected all the time; what they wait for is not waited for."""
    idle, asked = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with idle, asked:
        for client in (idle, asked):
            client.settimeout(60)
            client.connect(str(installation.run / "engine.sock"))
        asked.sendall(b"GET /_ping HTTP/1.1\r\nHost: engine\r\n\r\n")
        assert asked.recv(4096).startswith(b"HTTP/1.1 200")
        engine = installation.engine_pid()
        os.kill(engine, signal.SIGTERM)
        assert idle.recv(1) == b""
        assert asked.recv(1) == b""
    eventually(lambda: not Path(f"/proc/{engine}").exists(), what="the engine to have stopped")
    installation.up()
