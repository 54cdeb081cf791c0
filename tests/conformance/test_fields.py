"""Promises about the fields of a create request: each reaches the program, and inspect shows it as asked.

Fields that do not touch each other share a container; its script says of each what it sees.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runtime.api.client import EngineClient
from tests.conformance.api import Api, frames
from tests.conformance.conftest import BUSYBOX, MakeContainer, UnderTest, until

MIB = 1 << 20
SECCOMP = (
    '{"defaultAction": "SCMP_ACT_ALLOW", '
    '"syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]}'
)
# The first of these files that is there: control groups of version 1, then of version 2.
SHOW = 'show() { for f in "$@"; do if [ -e "$f" ]; then cat "$f"; return; fi; done; }; '


EVERY_RIGHT = next(  # that can be had on this machine
    line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "CapBnd" in line
)
ALL_RIGHTS = int(EVERY_RIGHT, 16) + 1 == 1 << int(EVERY_RIGHT, 16).bit_length()


@dataclass
class Case:
    """Fields, and what the container says of each of them: {name: (shell words, pattern)}."""

    says: dict[str, tuple[str, str]]
    config: dict[str, Any] = field(default_factory=dict)
    host: dict[str, Any] = field(default_factory=dict)


CASES = {
    "who, where and what": Case(
        {
            "user": ("id -u; id -g; id -G", "1234\n567\n567 29 44"),
            "directory": ("pwd", "/made/up"),
            "hostname": ("hostname", "ship"),
            "domain": ("cat /proc/sys/kernel/domainname", "sea"),
            "env": ("echo $COLOUR", "blue"),
            "oom": ("cat /proc/self/oom_score_adj", "500"),
            "nofile": ("ulimit -Sn; ulimit -Hn", "100\n200"),
            "sysctl": ("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "77"),
            "rights": (
                "grep -E 'NoNewPrivs|CapEff' /proc/self/status | tr -d ' \t'",
                "CapEff:0*\nNoNewPrivs:1",
            ),
            "resolver": (
                "grep -v '^#' /etc/resolv.conf | sort",
                "nameserver 10.9.8.7\noptions ndots:3\nsearch deep.example",
            ),
            "hosts": ("cat /etc/hosts", r"(?s).*10\.0\.0\.5\s+db\n.*"),
        },
        {
            "User": "1234:567",
            "WorkingDir": "/made/up",
            "Hostname": "ship",
            "Domainname": "sea",
            "Env": ["COLOUR=blue"],
            "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}},
            "StopSignal": "SIGINT",
            "StopTimeout": 3,
        },
        {
            "GroupAdd": ["29", "44"],
            "OomScoreAdj": 500,
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "77"},
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "Dns": ["10.9.8.7"],
            "DnsSearch": ["deep.example"],
            "DnsOptions": ["ndots:3"],
            "ExtraHosts": ["db:10.0.0.5"],
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}},
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        },
    ),
    "limits": Case(
        {
            "memory": (
                "show /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max",
                str(64 * MIB),
            ),
            "soft": (
                "show /sys/fs/cgroup/memory/memory.soft_limit_in_bytes /sys/fs/cgroup/memory.low",
                str(32 * MIB),
            ),
            "quota": (
                "show /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max",
                "50000|50000 100000",
            ),
            "shares": ("show /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight", "512|20"),
            "cpus": ("grep Cpus_allowed_list /proc/self/status", "Cpus_allowed_list:\t0"),
            "pids": ("show /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max", "50"),
            "shm": ("mount | grep ' /dev/shm '", ".*size=2048k.*"),
        },
        {},
        {
            "Memory": 64 * MIB,
            "MemoryReservation": 32 * MIB,
            "MemorySwap": 128 * MIB,
            "NanoCpus": 500_000_000,
            "CpuShares": 512,
            "CpusetCpus": "0",
            "CpusetMems": "0",
            "PidsLimit": 50,
            "ShmSize": 2 * MIB,
        },
    ),
    "a period and a quota": Case(
        {"cpu": ("show /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max", "20000|20000 40000")},
        {},
        {"CpuPeriod": 40_000, "CpuQuota": 20_000},
    ),
    "what can be written": Case(
        {
            "root": ("touch /x 2>&1; true", ".*Read-only file system"),
            "tmpfs": ("mount | grep ' /t '", ".*tmpfs.*size=1024k.*"),
            "mount": ("mount | grep ' /m '", ".*tmpfs.*size=2048k.*"),
            "volume": ("touch /v/x && ls /v", "x"),
            "masked": ("cat /proc/version", ""),
            "readonly": ("(echo x > /proc/sys/kernel/domainname) 2>&1; true", ".*Read-only file system"),
        },
        {"Volumes": {"/v": {}}},
        {
            "ReadonlyRootfs": True,
            "Tmpfs": {"/t": "size=1m"},
            "Mounts": [{"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 2 * MIB}}],
            "MaskedPaths": ["/proc/version"],
            "ReadonlyPaths": ["/proc/sys"],
        },
    ),
    "devices and calls": Case(
        {
            "device": ("[ -c /dev/nought ] && head -c 3 /dev/nought | od -An -tx1", " 00 00 00"),
            "seccomp": ("mkdir /tmp/d 2>&1; true", ".*Operation not permitted"),
            "caps": ("grep CapEff /proc/self/status", "CapEff:\t00000000a00435fb"),
        },
        {},
        {
            "Devices": [
                {"PathOnHost": "/dev/zero", "PathInContainer": "/dev/nought", "CgroupPermissions": "rwm"}
            ],
            "DeviceCgroupRules": ["c 1:3 r"],
            "SecurityOpt": [f"seccomp={SECCOMP}"],
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["MKNOD"],
        },
    ),
    "nothing withheld": Case(
        {
            "caps": ("grep CapEff /proc/self/status", f"CapEff:\t{EVERY_RIGHT}"),
            "seccomp": ("grep Seccomp: /proc/self/status", "Seccomp:\t0"),
            "masked": ("head -c 5 /proc/version", "Linux"),
        },
        {},
        {"Privileged": True},
    ),
    "the host's namespaces": Case(
        {
            "uts": ("hostname", re.escape(socket.gethostname())),
            "pid": ("[ $(ls -d /proc/[0-9]* | wc -l) -gt 5 ] && echo many", "many"),
            "net": ("ls /sys/class/net | grep -c .", r"\d+"),
            "ids": ("cat /proc/self/uid_map | tr -s ' '", " 0 0 4294967295"),
        },
        {},
        {
            "NetworkMode": "host",
            "PidMode": "host",
            "UTSMode": "host",
            "IpcMode": "host",
            "UsernsMode": "host",
        },
    ),
    "no network": Case(
        {"net": ("ls /sys/class/net", "lo"), "ipc": ("ls /dev | grep -c shm; true", "0|1")},
        {},
        {"NetworkMode": "none", "IpcMode": "none"},
    ),
}


def script(case: Case) -> str:
    """Each answer between two marks, so that it may have lines of its own."""
    return SHOW + " ".join(
        f"echo '<{name}>'; {words}; echo '</{name}>';" for name, (words, _) in case.says.items()
    )


def shown(asked: Any, found: Any) -> bool:
    """Whether inspect shows what was asked for; it may show more."""
    if isinstance(asked, dict):
        return isinstance(found, dict) and all(shown(value, found.get(key)) for key, value in asked.items())
    if isinstance(asked, list):
        return isinstance(found, list) and all(any(shown(one, other) for other in found) for one in asked)
    return asked == found or (not asked and not found)


@pytest.mark.parametrize("what", CASES)
async def test_fields_reach_the_program_and_inspect(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest, what: str
) -> None:
    case = CASES[what]
    container = await make_container("sh", "-c", script(case), HostConfig=case.host, **case.config)
    document = await client.container_inspect(container)
    assert shown(case.config, document["Config"])
    assert shown(case.host, document["HostConfig"])
    if engine.kind == "fake":  # its programs run on this machine, with nothing around them
        return
    if engine.kind == "docker" and case.host.get("Privileged") and not ALL_RIGHTS:
        return  # Docker's runtime asks for rights that this machine gives to nobody
    await client.container_start(container)
    assert (await client.container_wait(container))["StatusCode"] == 0
    said = frames((await api("GET", f"/containers/{container}/logs?stdout=1&stderr=1")).body)
    assert said[2] == b""
    wrong = []
    for name, (_, pattern) in case.says.items():
        answer = said[1].decode().partition(f"<{name}>\n")[2].partition(f"</{name}>")[0].rstrip("\n")
        if not re.fullmatch(pattern, answer):
            wrong.append(f"{name}: {answer!r} is not {pattern!r}")
    assert wrong == []


async def test_host_directories_and_volumes_are_bound(
    client: EngineClient,
    api: Api,
    make_container: MakeContainer,
    engine: UnderTest,
    name: str,
    tmp_path: Path,
) -> None:
    if engine.kind == "fake":
        return
    tmp_path.chmod(0o755)
    (tmp_path / "given").write_text("from the host\n")
    holder = await make_container(
        "true",
        HostConfig={
            "Binds": [f"{tmp_path}:/bound:ro", f"{name}:/kept"],
            "Mounts": [{"Type": "bind", "Source": str(tmp_path), "Target": "/again", "ReadOnly": True}],
        },
    )
    container = await make_container(
        "sh",
        "-c",
        "cat /bound/given /again/given; touch /bound/x 2>&- || echo kept out; touch /kept/x && ls /kept",
        HostConfig={"VolumesFrom": [holder]},
    )
    try:
        await client.container_start(container)
        assert (await client.container_wait(container))["StatusCode"] == 0
        said = frames((await api("GET", f"/containers/{container}/logs?stdout=1")).body)[1]
        assert said == b"from the host\nfrom the host\nkept out\nx\n"
        mounts = {
            entry["Destination"]: entry for entry in (await client.container_inspect(container))["Mounts"]
        }
        assert {path: (entry["Type"], entry["RW"]) for path, entry in mounts.items()} == {
            "/bound": ("bind", False),
            "/again": ("bind", False),
            "/kept": ("volume", True),
        }
        assert mounts["/kept"]["Name"] == name
    finally:
        await client.container_remove(container, force=True)
        await client.container_remove(holder, force=True)
        await client.volume_remove(name, force=True)


async def test_namespaces_of_another_container_are_shared(
    client: EngineClient, api: Api, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    other = await make_container("sleep", "1000", start=True, HostConfig={"IpcMode": "shareable"})
    modes = {mode: f"container:{other}" for mode in ("NetworkMode", "IpcMode", "PidMode")}
    container = await make_container("sh", "-c", "cat /proc/1/comm; hostname -i", HostConfig=modes)
    await client.container_start(container)
    assert (await client.container_wait(container))["StatusCode"] == 0
    said = frames((await api("GET", f"/containers/{container}/logs?stdout=1")).body)[1]
    address = (await client.container_inspect(other))["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    assert said.decode().split() == ["sleep", address]
    host = (await client.container_inspect(container))["HostConfig"]
    assert {mode: host[mode] for mode in modes} == modes


async def test_a_health_check_is_run_and_told(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    check = {
        "Test": ["CMD-SHELL", "echo fine"],
        "Interval": 200_000_000,
        "Timeout": 20_000_000_000,
        "Retries": 2,
    }
    container = await make_container("sleep", "1000", Healthcheck=check, start=True)
    assert (await client.container_inspect(container))["Config"]["Healthcheck"] == check

    async def look() -> Any:
        return (await client.container_inspect(container))["State"]["Health"]

    health = await until(look, lambda health: health["Status"] == "healthy")
    assert health["FailingStreak"] == 0
    assert (health["Log"][-1]["ExitCode"], health["Log"][-1]["Output"]) == (0, "fine\n")


async def test_running_out_of_memory_is_told(
    client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    container = await make_container(
        "tail", "/dev/zero", HostConfig={"Memory": 16 * MIB, "MemorySwap": 16 * MIB}
    )
    async with client.events(filters={"container": [container], "event": ["oom"]}) as events:
        await client.container_start(container)
        assert (await client.container_wait(container))["StatusCode"] == 137
        assert (await anext(events))["Action"] == "oom"
    assert (await client.container_inspect(container))["State"]["OOMKilled"] is True


async def test_no_log_is_kept_when_none_is_asked_for(
    api: Api, client: EngineClient, make_container: MakeContainer, engine: UnderTest
) -> None:
    if engine.kind == "fake":
        return
    container = await make_container(
        "echo", "unheard", HostConfig={"LogConfig": {"Type": "none", "Config": {}}}
    )
    await client.container_start(container)
    await client.container_wait(container)
    answer = await api("GET", f"/containers/{container}/logs?stdout=1")
    assert b"unheard" not in answer.body


async def test_entrypoint_and_command_of_the_request_win(
    api: Api, client: EngineClient, make_container: MakeContainer
) -> None:
    container = await make_container("b", "c", Entrypoint=["echo", "a"], start=True)
    await client.container_wait(container)
    assert frames((await api("GET", f"/containers/{container}/logs?stdout=1")).body)[1] == b"a b c\n"
    document = await client.container_inspect(container)
    assert (document["Path"], document["Args"]) == ("echo", ["a", "b", "c"])
    assert document["Config"]["Image"] == BUSYBOX
