"""A shell of the web user, as a web process that was taken over has it: what it can reach of the host."""

from __future__ import annotations

import json
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.installation import Installation
from tests.integration.web_shell import ASK, CONNECT, OPEN, TIMEOUT_S, as_web, ask


def root(installation: Installation, method: str, path: str, body: Any = None) -> Any:
    """What the engine answers root."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", ASK, str(installation.run / "engine.sock")],
        input=json.dumps([(method, path, body)]),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    ((status, text),) = json.loads(done.stdout)
    assert status < 300, (method, path, status, text)
    return json.loads(text) if text else None


HOST_WAYS: list[dict[str, Any]] = [
    {"Privileged": True},
    {"privileged": True},
    {"Binds": ["/:/host"]},
    {"binds": ["/etc:/x:ro"]},
    {"Binds": ["/var/lib/webdock:/x"]},
    {"Binds": ["/run/../etc:/x"]},
    {"Binds": ["//etc:/x"]},
    {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/x"}]},
    {"Mounts": [{"type": "bind", "source": "/etc", "target": "/x", "readonly": True}]},
    {"Mounts": [{"Type": "volume", "Target": "/x", "VolumeOptions": {"DriverConfig": {
        "Name": "local", "Options": {"type": "none", "o": "bind", "device": "/etc"}}}}]},
    {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]},
    {"DeviceCgroupRules": ["b *:* rwm"]},
    {"CapAdd": ["SYS_ADMIN"]},
    {"CapAdd": ["all"]},
    {"PidMode": "host"},
    {"NetworkMode": "host"},
    {"IpcMode": "host"},
    {"UTSMode": "host"},
    {"UsernsMode": "host"},
    {"SecurityOpt": ["seccomp=unconfined"]},
    {"SecurityOpt": ["systempaths=unconfined"]},
    {"MaskedPaths": []},
    {"Sysctls": {"kernel.core_pattern": "|/x"}},
    {"CgroupParent": "/"},
    {"Runtime": "/bin/sh"},
    {"Annotations": {"run.oci.hooks": "x"}},
    {"OomScoreAdj": -1000},
    {"LogConfig": {"Type": "syslog"}},
    {"Tmpfs": {"/proc/x": ""}},
]  # fmt: skip


def test_it_cannot_open_the_engines_own_socket(installation: Installation) -> None:
    own, confined = str(installation.run / "engine.sock"), str(installation.run / "web.sock")
    assert as_web(installation, CONNECT, own, confined) == ["PermissionError", "connected"]


def test_it_cannot_reach_the_host_through_a_container_by_any_spelling(installation: Installation) -> None:
    tries = [
        ("POST", "/containers/create", {"Image": "webdock/busybox", "HostConfig": host}) for host in HOST_WAYS
    ]
    for (_method, _path, body), (status, text) in zip(tries, ask(installation, *tries), strict=True):
        assert status in (400, 403), (body, status, text)
    assert root(installation, "GET", "/containers/json?all=1") == []


def test_it_cannot_reach_the_host_on_a_detour(installation: Installation) -> None:
    wild = {"Image": "webdock/busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"Privileged": True}}
    id = root(installation, "POST", "/containers/create?name=wild", wild)["Id"]
    root(installation, "POST", f"/containers/{id}/start")
    tame = {"Image": "webdock/busybox", "Cmd": ["sleep", "1000"], "HostConfig": {}}
    options = {"type": "none", "o": "bind", "device": "/etc"}
    root(installation, "POST", "/volumes/create", {"Name": "hostly", "DriverOpts": options})
    try:
        tries: list[tuple[str, str, Any]] = [
            ("POST", f"/containers/{id}/exec", {"Cmd": ["sh"]}),
            ("POST", "/containers/wild/exec", {"Cmd": ["sh"]}),
            ("POST", f"/containers/{id}/update", {"Memory": 1 << 27}),
            ("PUT", f"/containers/{id}/archive?path=/", None),
            ("GET", f"/containers/{id}/archive?path=/etc/hostname", None),
            ("GET", f"/containers/{id}/export", None),
            ("POST", f"/commit?container={id}&repo=stolen", {}),
            ("POST", f"/containers/{id}/attach?stdin=1&stream=1", None),
            ("POST", "/containers/create", {**tame, "HostConfig": {"VolumesFrom": ["wild"]}}),
            ("POST", "/containers/create", {**tame, "HostConfig": {"PidMode": f"container:{id[:12]}"}}),
            ("POST", "/containers/create", {**tame, "HostConfig": {"Binds": ["hostly:/x"]}}),
            ("POST", "/volumes/create", {"Name": "mine", "DriverOpts": options}),
            ("POST", "/networks/create", {"Name": "mine", "Driver": "macvlan"}),
            ("POST", "/images/create?fromSrc=http://127.0.0.1:1/x.tar", None),
            ("POST", "/build", None),
            ("POST", "/plugins/pull?remote=x", None),
            ("GET", "/containers/../info", None),
        ]
        for (method, path, _body), (status, text) in zip(tries, ask(installation, *tries), strict=True):
            assert status == 403, (method, path, status, text)
    finally:
        root(installation, "DELETE", "/volumes/hostly")


def test_it_cannot_read_the_engines_state(installation: Installation) -> None:
    engine = installation.home / "engine"
    assert (engine / "audit" / "audit.jsonl").is_file()
    closed = [engine, engine / "containers", engine / "audit" / "audit.jsonl"]
    closed += [Path("/etc/shadow"), Path("/root")]
    assert set(as_web(installation, OPEN, *map(str, closed))) == {"PermissionError"}
    assert as_web(installation, OPEN, str(installation.home / "web")) == ["read"]


def test_the_web_process_itself_has_no_capability_and_gains_none(installation: Installation) -> None:
    text = (Path("/proc") / str(installation.web_pid()) / "status").read_text()
    status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
    user = pwd.getpwnam(installation.web_user)
    assert set(status["Uid"].split()) == {str(user.pw_uid)}
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"].strip() == "1"
    assert set(status["Groups"].split()) <= {str(user.pw_gid)}


def test_what_it_tries_is_in_the_engines_own_log(installation: Installation) -> None:
    ask(installation, ("POST", "/containers/create", {"Image": "x", "HostConfig": {"Privileged": True}}))
    log = (installation.home / "engine" / "audit" / "audit.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in log]  # the web process itself may have asked for something since
    last = next(row for row in reversed(rows) if row["operation"] == "container_create")
    assert (last["socket"], last["verdict"]) == ("web", "refused")
    assert last["uid"] == pwd.getpwnam(installation.web_user).pw_uid
    told = installation.webdock("audit", "compare", "--json", "--tolerance=0", "--since=10m", check=False)
    assert told.returncode == 1, told.stderr
    assert last in json.loads(told.stdout)["only_in_engine"], "no row of the pages stands for it"
