"""The policy against the runtime: thousands of made-up requests, and what the runtime would make of each.

Whatever the policy lets pass is carried on to the OCI configuration the engine would start, and looked at by
somebody who knows nothing of the policy: no root, file, device or namespace of the host may be in it. Seeded;
DIFFERENTIAL_REQUESTS says how many.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from runtime.api import types
from runtime.api.errors import EngineError, Forbidden
from runtime.config import PolicyConfig, parse_config
from runtime.containers import bodies, capabilities, checks, devices, mountpoints, resources, update
from runtime.containers.facts import FEATURES, HostFacts
from runtime.containers.spec import DEVICE_RULES, Mount, SpecContext, User, build_spec, check, exec_process
from runtime.server.decode import Query, shape
from runtime.server.policy import Asked, Facts, Policy
from runtime.volumes.options import parse_options
from tests.unit.runtime.server.made_up import Maker, fields_of, tables_in

Body = dict[str, Any]

REQUESTS = int(os.environ.get("DIFFERENTIAL_REQUESTS", "1500"))
SEED = os.environ.get("DIFFERENTIAL_SEED", "1")
VOLUMES = "/var/lib/webdock/engine/volumes/"
NETNS, OTHER_NS = "/run/w/netns/c", "/proc/4242/ns/"
ALLOWED = ("/srv/rw", "/srv/ro")

FACTS = HostFacts(
    cgroup_version=2,
    controllers=frozenset({"memory", "cpu", "cpuset", "pids", "io"}),
    features=frozenset(FEATURES),
    cpus=4,
    cpu_set=frozenset(range(4)),
    memory_nodes=frozenset({0}),
    memory_bytes=8 << 30,
    capabilities=capabilities.ALL,
)
CONTEXT = SpecContext(
    id="c" * 64,
    rootfs=Path("/run/w/mounts/c"),
    args=["sh"],
    user=User(0, 0, (), "/root", "root"),
    facts=FACTS,
    cgroup_path="/webdock/c",
    hostname="box",
    netns=Path(NETNS),
)
STRICT = PolicyConfig()
LOOSER = parse_config(
    '[policy]\nallowed_binds = ["/srv/rw", "/srv/ro:ro"]\nallowed_capabilities = ["NET_ADMIN"]',
    file=Path("x"),
    home=Path("/h"),
    run=Path("/r"),
).policy

# What the policy knows of: a harmless container and one of root's, a plain volume and one of the host's disk.
KNOWN_VOLUMES = {
    "plain": {"Name": "plain", "Driver": "local", "Options": {}},
    "hostly": {
        "Name": "hostly",
        "Driver": "local",
        "Options": {"type": "none", "o": "bind", "device": "/etc"},
    },
}
KNOWN_CONTAINERS = {
    "tame": {"Id": "a" * 64, "HostConfig": {"NetworkMode": "bridge"}, "Mounts": []},
    "wild": {"Id": "b" * 64, "HostConfig": {"Privileged": True, "NetworkMode": "host"}, "Mounts": []},
}
KNOWN_NETWORKS = {
    "host": {"Name": "host", "Driver": "host"},
    "shop": {"Name": "shop", "Driver": "bridge"},
    "hosty": {"Name": "host", "Driver": "host", "Id": "d" * 64},
}

PATHS = [
    *("/", "/etc", "/etc/../root", "//", "/./", "/proc", "/sys", "/dev", "/var/run/docker.sock", "/srv"),
    *(
        "/srv/rw",
        "/srv/rw/",
        "/srv//rw",
        "/srv/rw/x",
        "/srv/ro",
        "/srv/ro/x",
        "/srv/ro/../rw",
        "/srv/rw/..",
        "/data",
    ),
    *(
        "/data/../etc",
        "plain",
        "hostly",
        "fresh",
        "../x",
        ".",
        "~",
        "",
        "/proc/../data",
        "/run/w",
        "/dev/shm",
    ),
]
MODES = [
    *(
        "",
        "private",
        "host",
        "none",
        "shareable",
        "container:tame",
        "container:wild",
        "HOST",
        "host ",
        "default",
    ),
    *("ns:/proc/1/ns/net", "bridge", "shop", "hosty", "container:", "slirp4netns"),
]
WORDS = [
    *(
        "ro",
        "rw",
        "z",
        "Z",
        "nocopy",
        "rshared",
        "shared",
        "rslave",
        "slave",
        "rprivate",
        "dev",
        "suid",
        "exec",
    ),
    *("bind", "rbind", "size=1m", "mode=1777", "uid=0", "remount", "nodev", ""),
]
SECURITY = [
    *("no-new-privileges", "no-new-privileges:false", "seccomp=unconfined", "seccomp:unconfined"),
    *(
        "apparmor=unconfined",
        "label=disable",
        "systempaths=unconfined",
        "seccomp={}",
        "credentialspec=x",
        "mask=/x",
    ),
]
CAPS = ["ALL", "all", "SYS_ADMIN", "CAP_SYS_ADMIN", "cap_sys_ptrace", "NET_ADMIN", "CHOWN", "NET_RAW", "BPF"]
SYSCTLS = [
    *(
        "net.ipv4.ip_forward",
        "kernel.core_pattern",
        "kernel/core_pattern",
        "net.ipv4/../../kernel/x",
        "kernel.msgmax",
    ),
    *("net/ipv4/ip_forward", "fs.mqueue.msg_max", "vm.overcommit_memory", "net.core.somaxconn", "NET.ipv4.x"),
]


def bind(chance: random.Random) -> str:
    parts = [chance.choice(PATHS) for _ in range(chance.choice((1, 2, 2, 2, 2, 3)))]
    if chance.random() < 0.6:
        parts = [chance.choice(PATHS), chance.choice(("/data", "/x", "/proc/x", "/sys", "/"))]
    words = ",".join(chance.choice(WORDS) for _ in range(chance.randrange(3)))
    return ":".join([*parts, words] if words else parts)


def mount(chance: random.Random) -> Body:
    body: Body = {"Type": chance.choice(("bind", "volume", "tmpfs", "", "cluster", "npipe", "image"))}
    body["Target"] = chance.choice(("/data", "/x", "/proc", "/sys/fs", "/", "x", "/a/../proc"))
    if chance.random() < 0.8:
        body["Source"] = chance.choice(PATHS)
    if chance.random() < 0.5:
        body["ReadOnly"] = chance.random() < 0.5
    if chance.random() < 0.3:
        body["BindOptions"] = {
            "Propagation": chance.choice(("rprivate", "rshared", "shared", "")),
            "NonRecursive": True,
        }
    if chance.random() < 0.3:
        body["VolumeOptions"] = {
            "DriverConfig": {"Name": chance.choice(("local", "", "nfs")), "Options": options(chance)}
        }
    if chance.random() < 0.2:
        body["TmpfsOptions"] = {"SizeBytes": 1 << 20, "Options": [[chance.choice(WORDS)]]}
    return body


def options(chance: random.Random) -> dict[str, str]:
    body: dict[str, str] = {}
    if chance.random() < 0.7:
        body["type"] = chance.choice(("tmpfs", "none", "ext4", "nfs", "overlay", ""))
    if chance.random() < 0.7:
        body["device"] = chance.choice(("tmpfs", "/etc", "/dev/sda1", "", ":/export", "overlay"))
    if chance.random() < 0.7:
        body["o"] = ",".join(chance.choice(WORDS) for _ in range(chance.randrange(4)))
    if chance.random() < 0.05:
        body["upperdir"] = "/etc"
    return body


def host_config(chance: random.Random) -> Body:
    """A HostConfig with a few fields, mostly harmless ones, so that some pass."""
    makers: dict[str, Any] = {
        "Privileged": lambda: chance.random() < 0.3,
        "Binds": lambda: [bind(chance) for _ in range(chance.randrange(3))],
        "Mounts": lambda: [mount(chance) for _ in range(chance.randrange(3))],
        "CapAdd": lambda: [chance.choice(CAPS) for _ in range(chance.randrange(3))],
        "CapDrop": lambda: [chance.choice(CAPS)],
        "SecurityOpt": lambda: [chance.choice(SECURITY) for _ in range(chance.randrange(2))],
        "Sysctls": lambda: {chance.choice(SYSCTLS): "1"},
        "Tmpfs": lambda: {chance.choice(PATHS): ",".join(chance.choice(WORDS) for _ in range(2))},
        "Devices": lambda: [
            {"PathOnHost": "/dev/sda", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}
        ],
        "DeviceCgroupRules": lambda: ["b 8:* rwm"],
        "DeviceRequests": lambda: [{"Driver": "nvidia", "Count": -1}],
        "CgroupParent": lambda: chance.choice(("/", "/system.slice", "")),
        "MaskedPaths": lambda: chance.choice(([], ["/proc/kcore"])),
        "ReadonlyPaths": lambda: chance.choice(([], ["/proc/sys"])),
        "VolumesFrom": lambda: [chance.choice(("tame", "wild", "tame:ro", "wild:ro"))],
        "VolumeDriver": lambda: chance.choice(("", "local", "nfs")),
        "Runtime": lambda: chance.choice(("runc", "crun", "/bin/sh", "kata")),
        "OomScoreAdj": lambda: chance.choice((0, 500, -1000)),
        "Annotations": lambda: {"run.oci.handler": "krun"},
        "Ulimits": lambda: [{"Name": "nofile", "Soft": 1, "Hard": 1 << 20}],
        "Memory": lambda: 64 << 20,
        "ReadonlyRootfs": lambda: True,
        "PublishAllPorts": lambda: True,
        "Init": lambda: False,
        "LogConfig": lambda: {"Type": chance.choice(("json-file", "syslog")), "Config": {}},
        **{
            key: (lambda: chance.choice(MODES))
            for key in ("NetworkMode", "PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode")
        },
    }
    chosen = chance.sample(sorted(makers), chance.choice((1, 1, 1, 2, 2, 3, 4)))
    body = {key: makers[key]() for key in chosen}
    if chance.random() < 0.05:
        body[chance.choice(("binds", "PRIVILEGED", "privileged", "mounts"))] = chance.choice(
            (True, ["/:/x"], [])
        )
    return body


def dangers(spec: Body, host: Body) -> list[str]:
    """What of the host is in an OCI configuration. Knows the specification, not the policy."""
    found = []
    linux = spec["linux"]
    spaces = {space["type"]: space.get("path", "") for space in linux["namespaces"]}
    for kind in ("mount", "pid", "ipc", "uts", "network", "cgroup"):
        if kind not in spaces:
            found.append(f"the host's {kind} namespace")
        elif spaces[kind] not in ("", NETNS, OTHER_NS + kind.removesuffix("work")):
            found.append(f"namespace {spaces[kind]}")
    held = set(spec["process"]["capabilities"]["bounding"])
    if more := held - set(capabilities.DEFAULT) - {"CAP_NET_ADMIN"}:
        found.append(f"capabilities {sorted(more)}")
    for one in spec["mounts"]:
        source, words = str(one.get("source", "")), set(one.get("options", ()))
        if one["type"] == "bind" or words & {"bind", "rbind"}:
            own = source.startswith((VOLUMES, str(CONTEXT.rootfs)))
            allowed = source == "/srv/rw" or (
                source.startswith("/srv/ro") and "ro" in words and ".." not in source
            )
            if not own and not (allowed and any(source.startswith(path) for path in ALLOWED)):
                found.append(f"host file {source}")
        elif one["type"] not in ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup"):
            found.append(f"file system {one['type']}")
        loose = words & {"shared", "rshared", "slave", "rslave"}
        loose |= words & {"dev", "suid"} if one["type"] == "tmpfs" else set()
        if loose and one["destination"] != "/dev":
            found.append(f"mount options {sorted(loose)}")
        if one["destination"].split("/")[1] in ("proc", "sys") and one["type"] in ("bind", "tmpfs"):
            found.append(f"a mount over {one['destination']}")
    if linux.get("devices") or tuple(linux["resources"]["devices"])[: len(DEVICE_RULES)] != DEVICE_RULES:
        found.append("devices")
    if len(linux["resources"]["devices"]) > len(DEVICE_RULES):
        found.append("device rules")
    if not linux.get("seccomp"):
        found.append("no seccomp profile")
    for key, needed in (("maskedPaths", "/proc/kcore"), ("readonlyPaths", "/proc/sys")):
        if needed not in (linux.get(key) or ()):
            found.append(f"{key} without {needed}")
    for name in linux.get("sysctl") or ():
        plain = name.replace("/", ".")
        if "/" in name or not plain.startswith(
            ("net.", "fs.mqueue.", "kernel.msg", "kernel.sem", "kernel.shm")
        ):
            found.append(f"sysctl {name}")
    if not str(linux["cgroupsPath"]).startswith("/webdock/") or spec.get("hooks") or host.get("Annotations"):
        found.append("a cgroup, hook or annotation")
    if linux.get("rootfsPropagation") in ("shared", "rshared", "slave", "rslave") or host.get("CgroupParent"):
        found.append("propagation or a cgroup of others")
    if int(spec["process"].get("oomScoreAdj") or 0) < 0:
        found.append("protection from the kernel's memory killer")
    return found


def volume_source(name: str, options: Body, driver: str = "") -> str:
    """What a volume would be made of: its own directory, or what its options mount."""
    known = KNOWN_VOLUMES.get(name)
    if known is not None:
        options = known["Options"]
    plan = parse_options(options)
    if plan is not None and (plan.is_bind or plan.kind != "tmpfs"):
        return plan.device or "?"
    return VOLUMES + (name or "anonymous")


def as_started(body: Body) -> tuple[Body, Body]:
    """(OCI configuration, HostConfig) the engine would start. Raises: EngineError when it would refuse."""
    config = bodies.container_config(body, {"Cmd": ["sh"]})
    host = bodies.host_config(body.get("HostConfig", {}), runtime="crun", cgroup_version=2)
    checks.check_config(config)
    checks.check_host_config(config, host)
    host, _warnings = resources.adapt(host, FACTS)
    check(config, host, FACTS)
    inherited = []
    for text in host["VolumesFrom"] or ():
        name, mode = mountpoints.parse_volumes_from(text)
        source = "/etc" if name == "wild" else VOLUMES + "tame"
        inherited += mountpoints.inherit([mountpoints.MountPoint("bind", "/inherited", source=source)], mode)
    mounts = []
    for wish in mountpoints.plan(config, host, inherited):
        point = wish.point
        if point.type == "tmpfs":
            continue
        source = (
            point.source if point.type == "bind" else volume_source(point.name, dict(wish.driver_options))
        )
        mounts.append(
            Mount(
                point.destination,
                source=source,
                read_only=not point.rw,
                propagation=point.propagation or "rprivate",
            )
        )
    return _spec(config, host, mounts), host


def _spec(config: Body, host: Body, mounts: list[Mount]) -> Body:
    def other(field: str, kind: str) -> Path | None:
        ref = checks.joined(host[field])
        return None if ref is None else Path("/proc/1/ns/" + kind if ref == "wild" else OTHER_NS + kind)

    mode = host["NetworkMode"]
    on_host = mode == "host" or KNOWN_NETWORKS.get(mode, {}).get("Driver") == "host"
    netns = other("NetworkMode", "net") or (None if on_host else Path(NETNS))
    found = [*(devices.all_devices() if host["Privileged"] else ())]
    if host["Devices"]:
        found.append(devices.Device("/dev/x", "/dev/sda", "b", 8, 0, 0o660, 0, 6, "rwm"))
    context = replace(
        CONTEXT,
        mounts=mounts,
        netns=netns,
        ipcns=other("IpcMode", "ipc"),
        pidns=other("PidMode", "pid"),
        devices=found,
    )
    return build_spec(config, host, context)


def facts() -> Facts:
    return Facts(dict(KNOWN_CONTAINERS), dict(KNOWN_VOLUMES), dict(KNOWN_NETWORKS))


def passes(
    operation: str, kind: Any, body: Body, config: PolicyConfig, about: Facts, **more: Any
) -> Body | None:
    """The body as the engine would act on it; None when the policy, or the decoder, refuses."""
    try:
        shaped = shape(json.loads(json.dumps(body)), kind, strict=True)
        Policy(config).check(Asked(operation, body=shaped, **more), about)
    except EngineError:
        return None
    return dict(shaped)


@pytest.mark.parametrize(("name", "config"), [("strict", STRICT), ("looser", LOOSER)])
def test_nothing_that_passes_a_create_holds_anything_of_the_host(name: str, config: PolicyConfig) -> None:
    chance = random.Random(f"create {SEED} {name}")
    seen: Counter[str] = Counter()
    for number in range(REQUESTS):
        body = {"Image": "busybox", "HostConfig": host_config(chance)}
        if chance.random() < 0.1:
            body["Volumes"] = {chance.choice(PATHS): {}}
        if chance.random() < 0.1:
            body["NetworkingConfig"] = {"EndpointsConfig": {chance.choice(MODES): {}}}
        accepted = passes("container_create", types.ContainerCreateBody, body, config, facts())
        try:
            spec, host = as_started(accepted if accepted is not None else body)
        except (EngineError, KeyError, TypeError, AttributeError, OSError):
            seen["the engine refuses"] += 1
            continue
        found = dangers(spec, host)
        assert accepted is None or not found, (number, body, found)
        seen["passes" if accepted is not None else "refused, and rightly" if found else "refused"] += 1
    # The oracle must see dangers, and the policy must let something pass: else nothing was tested.
    assert seen["passes"] > REQUESTS // 20, seen
    assert seen["refused, and rightly"] > REQUESTS // 20, seen


def test_no_field_the_engine_decodes_brings_anything_of_the_host() -> None:
    """As above, with bodies that are made of the types alone, so that no field is forgotten here."""
    chance = random.Random(f"fields {SEED}")
    maker = Maker(chance, [*PATHS, *MODES, *WORDS, *SECURITY, *CAPS, *SYSCTLS, "bind", "volume", "tmpfs"])
    known = fields_of(types.HostConfig)
    deep = [name for name in known if list(tables_in(known[name]))]  # with fields of their own inside
    passed = started = 0
    for number in range(2 * REQUESTS):
        host = maker.value(types.HostConfig)
        if number % 2:
            name = chance.choice(deep)
            host = {name: maker.value(known[name])}
        body = {"Image": "busybox", "HostConfig": host}
        accepted = passes("container_create", types.ContainerCreateBody, body, STRICT, facts())
        passed += accepted is not None
        if accepted is None:
            continue
        try:
            spec, told = as_started(accepted)
        except EngineError:
            continue
        started += 1
        found = dangers(spec, told)
        assert not found, (number, body, found)
    for table in set(tables_in(types.HostConfig)):
        missing = {name for name in fields_of(table) if (table.__name__, name) not in maker.made}
        assert not missing, (table.__name__, missing)
    assert started > REQUESTS // 20, (passed, started)


def test_nobody_enters_a_container_that_holds_something_of_the_host() -> None:
    """exec, commit, archive put, attach with input, update: one rule for all that goes in."""
    chance = random.Random(f"enter {SEED}")
    entered = wild = 0
    for number in range(REQUESTS // 2):
        body = {"Image": "busybox", "HostConfig": host_config(chance)}
        try:
            shaped = shape(body, types.ContainerCreateBody)
            spec, host = as_started(shaped)
        except (EngineError, KeyError, TypeError, AttributeError, OSError):
            continue
        mounts = [
            {"Type": "bind", "Source": one["source"], "RW": "ro" not in one["options"], "Name": ""}
            for one in spec["mounts"]
            if one["type"] == "bind"
        ]
        volumes = [one for one in mounts if one["Source"].startswith(VOLUMES)]
        for one in volumes:
            one |= {"Type": "volume", "Name": one["Source"].removeprefix(VOLUMES)}
        about = facts()
        about.containers["it"] = {"Id": "e" * 64, "HostConfig": host, "Mounts": mounts}
        about.execs["x"] = {"ID": "x", "ContainerID": "it", "ProcessConfig": {"privileged": False}}
        found = dangers(spec, host)
        ref = {"ref": "it"}
        for operation, kind, asks, how in (
            ("exec_create", types.ExecCreateBody, {"Cmd": ["sh"]}, {"params": ref}),
            ("exec_start", types.ExecStartBody, {}, {"params": {"ref": "x"}}),
            ("container_update", types.ContainerUpdateBody, {"Memory": 1 << 27}, {"params": ref}),
            ("container_archive_put", None, {}, {"params": ref, "query": Query([("path", "/")])}),
            ("container_commit", types.ContainerConfig, {}, {"query": Query([("container", "it")])}),
            ("container_attach", None, {}, {"params": ref, "query": Query([("stdin", "1")])}),
        ):
            into = (
                passes(operation, kind, asks, STRICT, about, **how) if kind else _plain(operation, about, how)
            )
            assert into is None or not found, (number, operation, body, found)
            entered += into is not None
        wild += bool(found)
    assert entered > 100
    assert wild > REQUESTS // 20


def _plain(operation: str, about: Facts, how: Body) -> Body | None:
    try:
        Policy(STRICT).check(Asked(operation, **how), about)
    except Forbidden:
        return None
    return {}


def test_no_exec_has_more_rights_than_its_container() -> None:
    chance = random.Random(f"exec {SEED}")
    spec = build_spec({}, bodies.host_config({}, runtime="crun", cgroup_version=2), CONTEXT)
    passed = 0
    for number in range(REQUESTS // 2):
        body: Body = {"Cmd": ["sh"]}
        for key, value in (("Privileged", True), ("User", "root"), ("privileged", True), ("Env", ["A=1"])):
            if chance.random() < 0.4:
                body[key] = value
        about = facts()
        accepted = passes("exec_create", types.ExecCreateBody, body, STRICT, about, params={"ref": "tame"})
        if accepted is None:
            continue
        passed += 1
        process = exec_process(accepted, CONTEXT.user, spec, FACTS)
        assert set(process["capabilities"]["bounding"]) <= set(capabilities.DEFAULT), (number, body)
    assert passed


def test_no_update_lifts_what_the_policy_limits() -> None:
    chance = random.Random(f"update {SEED}")
    limits = PolicyConfig(memory_max_bytes=1 << 28, cpus_max=1.0, pids_max=100)
    for number in range(REQUESTS):
        before = {"Memory": 1 << 27, "PidsLimit": 50, "MemorySwap": 1 << 28}
        before |= chance.choice(
            ({"NanoCpus": 5 * 10**8}, {"CpuQuota": 50_000, "CpuPeriod": 100_000}, {"CpuQuota": 50_000})
        )
        host = bodies.host_config(before, runtime="crun", cgroup_version=2)
        body = {
            key: chance.choice((-1, 0, 1, 1000, 10_000, 10**6, 1 << 27, 1 << 29, 10**9, 4 * 10**9))
            for key in chance.sample(
                [
                    "Memory",
                    "MemorySwap",
                    "PidsLimit",
                    "NanoCpus",
                    "CpuQuota",
                    "CpuPeriod",
                    "CpuShares",
                    "Devices",
                ],
                2,
            )
        }
        body.pop("Devices", None)
        about = facts()
        about.containers["tame"] = {
            "Id": "a" * 64,
            "HostConfig": {**host, "CgroupnsMode": "private"},
            "Mounts": [],
        }
        accepted = passes(
            "container_update", types.ContainerUpdateBody, body, limits, about, params={"ref": "tame"}
        )
        if accepted is None:
            continue
        try:
            merged, _warnings = update.merge(host, accepted, FACTS)
        except EngineError:
            continue
        assert 0 < merged["Memory"] <= 1 << 28, (number, before, body)
        assert 0 <= merged["MemorySwap"] <= 2 << 28, (number, before, body)
        assert 0 < merged["PidsLimit"] <= 100, (number, before, body)
        cpus = merged["NanoCpus"] / 1e9 or merged["CpuQuota"] / (merged["CpuPeriod"] or 100_000)
        assert 0 < cpus <= 1.0, (number, before, body)


def test_no_volume_that_passes_mounts_anything_of_the_host() -> None:
    chance = random.Random(f"volume {SEED}")
    passed = 0
    for number in range(REQUESTS):
        body: Body = {
            "Name": "v",
            "Driver": chance.choice(("local", "", "nfs")),
            "DriverOpts": options(chance),
        }
        accepted = passes("volume_create", types.VolumeCreateBody, body, STRICT, facts())
        if accepted is None:
            continue
        try:
            plan = parse_options(accepted.get("DriverOpts", {}))
        except EngineError:
            continue
        passed += 1
        assert plan is None or (plan.kind == "tmpfs" and not plan.is_bind), (number, body)
        assert plan is None or not plan.flags & 4096, (number, body)
    assert passed > 20


def test_no_network_that_passes_reaches_into_the_hosts_own() -> None:
    chance = random.Random(f"network {SEED}")
    subnets = [
        "10.1.0.0/16",
        "192.168.0.0/16",
        "0.0.0.0/0",
        "8.8.8.0/24",
        "127.0.0.0/8",
        "172.16.0.0/11",
        "::/0",
        "fd00::/8",
    ]
    passed = 0
    for number in range(REQUESTS):
        body: Body = {"Name": "n"}
        if chance.random() < 0.5:
            body["Driver"] = chance.choice(("bridge", "host", "macvlan", "ipvlan", "null", "overlay", ""))
        if chance.random() < 0.6:
            body["IPAM"] = {"Config": [{chance.choice(("Subnet", "IPRange")): chance.choice(subnets)}]}
        if chance.random() < 0.3:
            body["Options"] = {
                chance.choice(
                    ("com.docker.network.bridge.name", "parent", "com.docker.network.driver.mtu")
                ): "docker0"
            }
        for key in ("ConfigOnly", "Ingress", "Internal", "Attachable"):
            if chance.random() < 0.1:
                body[key] = True
        accepted = passes("network_create", types.NetworkCreateBody, body, STRICT, facts())
        if accepted is None:
            continue
        passed += 1
        assert accepted.get("Driver", "") in ("", "bridge"), (number, body)
        assert not set(accepted.get("Options", {})) & {"com.docker.network.bridge.name", "parent"}, (
            number,
            body,
        )
        for pool in accepted.get("IPAM", {}).get("Config", ()):
            for text in pool.values():
                assert ip_network(text).is_private, (number, body)
                assert not ip_network(text).is_loopback, (number, body)
    assert passed > 20
