"""build_spec: Docker's defaults, and every field it honours or refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.api.errors import EngineError, InvalidArgument, NotSupported
from runtime.containers import admission, capabilities, health, resources
from runtime.containers.devices import Device
from runtime.containers.facts import FEATURES, HostFacts
from runtime.containers.spec import Mount, SpecContext, User, build_spec, exec_process, merge_env
from runtime.idmap import IdMap

FACTS = HostFacts(
    cgroup_version=1,
    controllers=frozenset({"memory", "cpu", "pids"}),
    features=frozenset(FEATURES),
    cpus=4,
    cpu_set=frozenset(range(4)),
    memory_nodes=frozenset({0}),
    memory_bytes=8 << 30,
    capabilities=capabilities.ALL,
)
V2 = replace(FACTS, cgroup_version=2)
MAPPING = IdMap(1_879_048_192, Path("/run/w/userns"), Path("/var/lib/w"), Path("/run/w/view"))
CONTEXT = SpecContext(
    id="c" * 64,
    rootfs=Path("/run/w/mounts/c"),
    args=["sh", "-c", "true"],
    user=User(0, 0, (0, 10), "/root", "root"),
    facts=FACTS,
    cgroup_path="/webdock/c",
    hostname="box",
    netns=Path("/run/w/netns/c"),
)


def spec(host: dict[str, Any] | None = None, **context: Any) -> dict[str, Any]:
    made = build_spec({}, host or {}, replace(CONTEXT, **context))
    json.dumps(made)
    return made


def mounts(made: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in made["mounts"]}


def kinds(made: dict[str, Any]) -> set[str]:
    return {space["type"] for space in made["linux"]["namespaces"]}


def test_the_defaults_are_dockers() -> None:
    made = spec()
    process = made["process"]
    assert process["args"] == ["sh", "-c", "true"]
    assert process["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=box",
        "HOME=/root",
    ]
    assert process["user"] == {"uid": 0, "gid": 0, "additionalGids": [0, 10]}
    assert process["noNewPrivileges"] is False
    assert sorted(process["capabilities"]["bounding"]) == sorted(capabilities.DEFAULT)
    assert set(process["capabilities"]) == {"bounding", "effective", "permitted"}
    assert made["root"] == {"path": "/run/w/mounts/c", "readonly": False}
    assert made["hostname"] == "box"
    assert kinds(made) == {"mount", "network", "ipc", "pid", "uts"}
    assert list(mounts(made)) == [
        *("/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"),
    ]
    linux = made["linux"]
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert linux["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }
    assert linux["cgroupsPath"] == "/webdock/c"
    assert "uidMappings" not in linux


def test_cgroup_namespaces_are_the_default_on_version_2_only() -> None:
    assert "cgroup" not in kinds(spec())
    assert "cgroup" in kinds(spec(facts=V2))
    assert "cgroup" not in kinds(spec({"CgroupnsMode": "host"}, facts=V2))
    assert "cgroup" in kinds(spec({"CgroupnsMode": "private"}))


def test_a_terminal_has_a_type_and_a_size() -> None:
    process = spec(tty=True, console_size=(40, 120))["process"]
    assert process["terminal"] is True
    assert "TERM=xterm" in process["env"]
    assert process["consoleSize"] == {"height": 40, "width": 120}


def test_the_environment_is_merged_as_docker_does() -> None:
    env = spec(env=["PATH=/x", "A=1", "HOSTNAME", "A=2", "HOME=/h", "EMPTY="])["process"]["env"]
    assert env == ["PATH=/x", "A=2", "HOME=/h", "EMPTY="]
    assert merge_env(["A=1", "B=2"], ["B", "A=3", "C=x=y"]) == ["A=3", "C=x=y"]


def test_only_root_holds_capabilities() -> None:
    held = spec(user=User(5, 6))["process"]["capabilities"]
    assert set(held) == {"bounding"}


@pytest.mark.parametrize(
    ("host", "has", "lacks"),
    [
        ({"CapAdd": ["NET_ADMIN"]}, {"CAP_NET_ADMIN", "CAP_CHOWN"}, set()),
        ({"CapAdd": ["cap_net_admin"], "CapDrop": ["chown"]}, {"CAP_NET_ADMIN"}, {"CAP_CHOWN"}),
        ({"CapDrop": ["ALL"], "CapAdd": ["KILL"]}, {"CAP_KILL"}, capabilities.ALL - {"CAP_KILL"}),
        (
            {"CapAdd": ["ALL"], "CapDrop": ["SYS_ADMIN"]},
            capabilities.ALL - {"CAP_SYS_ADMIN"},
            {"CAP_SYS_ADMIN"},
        ),
        ({"Privileged": True}, capabilities.ALL, set()),
    ],
)
def test_capabilities_are_added_and_dropped(host: dict[str, Any], has: set[str], lacks: set[str]) -> None:
    held = set(spec(host)["process"]["capabilities"]["bounding"])
    assert has <= held
    assert not lacks & held


def test_unknown_and_missing_capabilities_are_refused() -> None:
    with pytest.raises(InvalidArgument, match='invalid CapAdd: unknown capability: "CAP_NOPE"'):
        spec({"CapAdd": ["nope"]})
    with pytest.raises(InvalidArgument, match='invalid CapDrop: unknown capability: "CAP_NOPE"'):
        spec({"CapDrop": ["nope"]})
    poor = replace(FACTS, capabilities=capabilities.ALL - {"CAP_SYS_RESOURCE", "CAP_MKNOD"})
    with pytest.raises(InvalidArgument, match="not available in the current environment"):
        spec({"CapAdd": ["SYS_RESOURCE"]}, facts=poor)
    assert "CAP_MKNOD" not in spec(facts=poor)["process"]["capabilities"]["bounding"]


def test_privileged_is_unconfined() -> None:
    device = Device("/dev/x", "/dev/x", "c", 1, 2)
    made = spec({"Privileged": True}, devices=[device])
    linux = made["linux"]
    assert (linux["maskedPaths"], linux["readonlyPaths"]) == ([], [])
    assert "seccomp" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert linux["devices"][0]["path"] == "/dev/x"
    assert "rw" in mounts(made)["/sys"]["options"]
    assert "rw" in mounts(made)["/sys/fs/cgroup"]["options"]
    with pytest.raises(InvalidArgument, match="privileged mode is incompatible with user namespaces"):
        spec({"Privileged": True}, mapping=MAPPING)


def test_limits_become_resources() -> None:
    made = spec(
        {
            "Memory": 64 << 20,
            "MemorySwap": 128 << 20,
            "MemoryReservation": 32 << 20,
            "MemorySwappiness": 10,
            "OomKillDisable": True,
            "NanoCpus": 1_500_000_000,
            "CpuShares": 512,
            "CpusetCpus": "0-1",
            "CpusetMems": "0",
            "PidsLimit": 50,
            "BlkioWeight": 300,
            "BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 1000}],
            "BlkioWeightDevice": [{"Path": "/dev/vda", "Weight": 20}],
            "OomScoreAdj": 77,
        },
        blkio_devices={"/dev/vda": (254, 0)},
    )
    limits = made["linux"]["resources"]
    assert limits["memory"] == {
        "limit": 64 << 20,
        "reservation": 32 << 20,
        "swap": 128 << 20,
        "swappiness": 10,
        "disableOOMKiller": True,
    }
    assert limits["cpu"] == {"period": 100_000, "quota": 150_000, "shares": 512, "cpus": "0-1", "mems": "0"}
    assert limits["pids"] == {"limit": 50}
    assert limits["blockIO"] == {
        "weight": 300,
        "weightDevice": [{"major": 254, "minor": 0, "weight": 20}],
        "throttleReadBpsDevice": [{"major": 254, "minor": 0, "rate": 1000}],
    }
    assert made["process"]["oomScoreAdj"] == 77
    assert resources.oci_resources({}) == {}
    assert resources.oci_resources({"PidsLimit": -1}) == {"pids": {"limit": -1}}


def test_namespaces_of_the_host_and_others_are_joined() -> None:
    made = spec({"IpcMode": "host", "PidMode": "host", "UTSMode": "host", "NetworkMode": "host"}, netns=None)
    assert kinds(made) == {"mount"}
    assert "hostname" not in made
    assert made["linux"]["sysctl"] == {}
    assert mounts(made)["/dev/shm"]["type"] == "bind"
    made = spec(
        {"IpcMode": "container:x", "PidMode": "container:x", "NetworkMode": "container:x"},
        ipcns=Path("/proc/7/ns/ipc"),
        pidns=Path("/proc/7/ns/pid"),
        netns=Path("/proc/7/ns/net"),
        own_network=False,
    )
    paths = {space["type"]: space.get("path") for space in made["linux"]["namespaces"]}
    assert paths["ipc"] == "/proc/7/ns/ipc"
    assert paths["pid"] == "/proc/7/ns/pid"
    assert made["linux"]["sysctl"] == {}
    assert "/dev/shm" not in mounts(made)
    with pytest.raises(RuntimeError):
        spec({"IpcMode": "container:x"})
    assert "/dev/shm" not in mounts(spec({"IpcMode": "none"}))


def test_mapped_containers_see_our_files_and_devices_through_the_view() -> None:
    made = spec(
        mapping=MAPPING,
        mounts=[
            Mount("/data", source="/var/lib/w/volumes/v"),
            Mount("/host", source="/srv", idmap=True),
            Mount("/elsewhere", source="/opt"),
        ],
        devices=[Device("/dev/mine", "/dev/zero", "c", 1, 5)],
        domainname="example.org",
    )
    found = mounts(made)
    assert found["/data"]["source"] == "/run/w/view/volumes/v"
    assert "idmap" in found["/host"]["options"]
    assert (found["/elsewhere"]["source"], "idmap" in found["/elsewhere"]["options"]) == ("/opt", False)
    assert found["/dev/mine"]["source"] == "/dev/zero"
    linux = made["linux"]
    assert {"type": "user", "path": "/run/w/userns"} in linux["namespaces"]
    assert linux["uidMappings"] == [{"containerID": 0, "hostID": 1_879_048_192, "size": 65536}]
    assert linux["sysctl"]["net.ipv4.ping_group_range"] == "0 65535"
    assert (made["domainname"], "kernel.domainname" in linux["sysctl"]) == ("example.org", False)


def test_own_mounts_replace_defaults_and_come_parents_first() -> None:
    made = spec(
        {"Tmpfs": {"/run": "", "/a/b/c": "size=1m"}},
        mounts=[Mount("/a/b", source="/x"), Mount("/a", source="/y"), Mount("/dev/shm", source="/z")],
    )
    order = [mount["destination"] for mount in made["mounts"]]
    assert order.index("/a") < order.index("/a/b") < order.index("/a/b/c")
    assert order.count("/dev/shm") == 1
    assert mounts(made)["/dev/shm"]["source"] == "/z"
    assert "/dev/pts" not in mounts(spec(mounts=[Mount("/dev", source="/dev")]))


def test_bind_options_are_dockers() -> None:
    def options(**fields: Any) -> list[str]:
        made = spec(mounts=[Mount("/d", source="/s", **fields)])
        return list(mounts(made)["/d"]["options"])

    assert options() == ["rbind", "rw", "rprivate"]
    assert options(read_only=True, recursive=False, propagation="slave") == ["bind", "ro", "slave"]
    assert (
        spec(mounts=[Mount("/d", source="/s", propagation="rshared")])["linux"]["rootfsPropagation"]
        == "shared"
    )
    assert "rootfsPropagation" not in spec()["linux"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", {"noexec", "nosuid", "nodev"}),
        ("exec,size=64m,mode=1777", {"exec", "nosuid", "nodev", "size=64m", "mode=1777"}),
        ("rw,ro,size=1k,size=2k", {"noexec", "nosuid", "nodev", "ro", "size=2k"}),
    ],
)
def test_tmpfs_options_override_the_defaults(text: str, options: set[str]) -> None:
    assert set(mounts(spec({"Tmpfs": {"/t": text}}))["/t"]["options"]) == options


def test_tmpfs_by_the_mounts_field() -> None:
    made = spec(
        {
            "Mounts": [
                {
                    "Type": "tmpfs",
                    "Target": "/t",
                    "ReadOnly": True,
                    "TmpfsOptions": {"SizeBytes": 5, "Mode": 1023},
                }
            ]
        }
    )
    assert {"size=5", "mode=1777", "ro"} <= set(mounts(made)["/t"]["options"])


def test_a_read_only_root_keeps_what_must_be_written_writable() -> None:
    made = spec({"ReadonlyRootfs": True})
    assert made["root"]["readonly"] is True
    assert "ro" in mounts(made)["/sys"]["options"]
    assert "ro" not in mounts(made)["/dev/shm"]["options"]


def test_the_init_program_comes_first() -> None:
    made = spec(init=Path("/usr/bin/tini-static"))
    assert made["process"]["args"][:3] == ["/sbin/docker-init", "--", "sh"]
    assert mounts(made)["/sbin/docker-init"]["source"] == "/usr/bin/tini-static"
    assert spec({"PidMode": "host"}, init=Path("/x"))["process"]["args"][0] == "sh"


def test_security_options_are_honoured() -> None:
    assert spec({"SecurityOpt": ["no-new-privileges"]})["process"]["noNewPrivileges"] is True
    assert spec({"SecurityOpt": ["no-new-privileges:false"]})["process"]["noNewPrivileges"] is False
    assert "seccomp" not in spec({"SecurityOpt": ["seccomp=unconfined"]})["linux"]
    assert spec({"SecurityOpt": ["systempaths=unconfined"]})["linux"]["maskedPaths"] == []
    assert spec({"MaskedPaths": ["/x"], "ReadonlyPaths": []})["linux"]["maskedPaths"] == ["/x"]
    assert (
        spec({"SecurityOpt": ["apparmor=mine"]}, facts=replace(FACTS, apparmor=frozenset({"mine"})))[
            "process"
        ]["apparmorProfile"]
        == "mine"
    )
    own = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert spec(seccomp_profile=own)["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ALLOW"


def test_apparmor_is_the_default_profile_where_the_host_has_it() -> None:
    there = replace(FACTS, apparmor=frozenset({"docker-default"}))
    assert (
        spec(facts=there, apparmor_profile="docker-default")["process"]["apparmorProfile"] == "docker-default"
    )
    off = spec({"SecurityOpt": ["apparmor=unconfined"]}, facts=there, apparmor_profile="docker-default")
    assert "apparmorProfile" not in off["process"]
    assert "apparmorProfile" not in spec(apparmor_profile="docker-default")["process"]


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ({"Memory": 1000}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": -5}, "Minimum memory limit allowed is 6MB"),
        ({"Memory": 64 << 20, "MemorySwap": 32 << 20}, "Minimum memoryswap limit should be larger"),
        ({"MemorySwap": 64 << 20}, "You should always set the Memory limit when using Memoryswap limit"),
        ({"MemoryReservation": 1}, "Minimum memory reservation allowed is 6MB"),
        ({"Memory": 8 << 20, "MemoryReservation": 9 << 20}, "can not be less than memory reservation limit"),
        ({"Memory": (1 << 63) - 1}, "Memory of 9223372036854775807 bytes, the most is"),
        ({"MemoryReservation": 1 << 62}, "MemoryReservation of .* bytes, the most is"),
        ({"PidsLimit": 1 << 40}, "a PIDs limit of 1099511627776, the most is 4194304"),
        ({"CpuQuota": 1 << 60}, "CPU cfs quota can not be larger than"),
        ({"MemorySwappiness": 101}, "valid memory swappiness range is 0-100"),
        ({"NanoCpus": 5 * 10**9}, "range of CPUs is from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"NanoCpus": 1, "CpuPeriod": 1000}, "Nano CPUs and CPU Period cannot both be set"),
        ({"NanoCpus": 1, "CpuQuota": 1000}, "Nano CPUs and CPU Quota cannot both be set"),
        ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms"),
        ({"CpuQuota": 10}, "CPU cfs quota can not be less than 1ms"),
        ({"CpuShares": -1}, "invalid CPU shares"),
        ({"CpusetCpus": "x"}, "Invalid value x for cpuset cpus"),
        ({"CpusetCpus": "9"}, "Requested CPUs are not available - requested 9, available: 0,1,2,3"),
        ({"CpusetMems": "1-2"}, "Requested memory nodes are not available"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"ShmSize": -1}, "SHM size can not be less than 0"),
        ({"OomScoreAdj": 1001}, r"range for oom score adj is \[-1000, 1000\]"),
        ({"Ulimits": [{"Name": "nope", "Soft": 1, "Hard": 1}]}, "invalid ulimit type: nope"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 2, "Hard": 1}]}, "soft limit must be less than or equal"),
        ({"IpcMode": "nope"}, "invalid IPC mode: nope"),
        ({"PidMode": "container:"}, "invalid PID mode: container:"),
        ({"UsernsMode": "x"}, "invalid Userns mode: x"),
        ({"Sysctls": {"kernel.pid_max": "1"}}, "is not in a separate kernel namespace"),
        ({"Sysctls": {"net.ipv4.x": "1"}, "NetworkMode": "host"}, "not allowed in host network namespace"),
        ({"Sysctls": {"kernel.sem": "1"}, "IpcMode": "host"}, "not allowed in the hosts ipc namespace"),
        ({"DeviceCgroupRules": ["c 1:3"]}, "invalid device cgroup rule format: 'c 1:3'"),
        ({"SecurityOpt": ["nope"]}, "invalid --security-opt"),
        ({"SecurityOpt": ["nope=1"]}, "invalid --security-opt"),
        ({"SecurityOpt": ["seccomp={"]}, "opening seccomp profile failed"),
        ({"Isolation": "hyperv"}, "invalid isolation"),
        ({"Runtime": "nope"}, "unknown or invalid runtime name: nope"),
        ({"IOMaximumIOps": 2}, "linux does not support configuration of maximum IOPs"),
        ({"Tmpfs": {"/t": "bogus=1"}}, "invalid tmpfs option"),
        ({"Tmpfs": {"relative": ""}}, "mount path must be absolute"),
        ({"Tmpfs": {"/": ""}}, "destination can't be '/'"),
        ({"Annotations": {"run.oci.hooks.stdout": "/etc/shadow"}}, "is reserved for the engine"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_in_dockers_words(host: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        admission.check({}, dict(host), FACTS)


@pytest.mark.parametrize(
    "host",
    [
        {"DeviceRequests": [{"Driver": "", "Capabilities": [["gpu"]]}]},
        {"StorageOpt": {"size": "10G"}},
        {"SecurityOpt": ["apparmor=docker-default"]},
        {"SecurityOpt": ["label=type:x"]},
    ],
)
def test_what_no_machine_like_this_can_do_is_not_supported(host: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        admission.check({}, host, FACTS)


def test_what_has_no_effect_here_is_told_by_warnings() -> None:
    host = {"CpuPercent": 30, "CpuCount": 2}
    percent, count = resources.check_resources(host, FACTS, update=False)
    assert "CPU percent" in percent
    assert "CPU count" in count
    assert host == {"CpuPercent": 0, "CpuCount": 2}
    (kind,) = admission.check({"Healthcheck": {"Test": ["true"]}}, {}, FACTS)
    assert kind.startswith("Unknown healthcheck type 'true'")
    assert health.parse({"Healthcheck": {"Test": ["true"]}}) is None


def test_what_the_kernel_lacks_is_discarded_with_dockers_warning() -> None:
    bare = replace(FACTS, features=frozenset())
    host = {
        "Memory": 64 << 20,
        "MemorySwappiness": 5,
        "OomKillDisable": True,
        "CpuShares": 5,
        "CpuPeriod": 5000,
        "CpusetCpus": "0",
        "BlkioWeight": 100,
        "BlkioWeightDevice": [{"Path": "/dev/x", "Weight": 20}],
        "BlkioDeviceReadBps": [{"Path": "/dev/x", "Rate": 20}],
        "PidsLimit": 5,
        "KernelMemory": 5,
        "KernelMemoryTCP": 5,
        "MemoryReservation": 64 << 20,
    }
    warnings = admission.check({}, host, bare)
    assert len(warnings) == 13
    assert all(warning.endswith(".") for warning in warnings)
    assert resources.oci_resources(host) == {}


def test_defaults_are_filled_in_as_docker_shows_them() -> None:
    adapted, warnings = resources.adapt({"Memory": 64 << 20, "PidsLimit": 0}, V2)
    assert warnings == []
    assert adapted == {
        "Memory": 64 << 20,
        "MemorySwap": 128 << 20,
        "PidsLimit": None,
        "ShmSize": 64 << 20,
        "IpcMode": "private",
        "CgroupnsMode": "private",
    }


@pytest.mark.parametrize(
    ("host", "default", "mode"),
    [
        ({}, "auto", "auto"),
        ({}, "host", "host"),
        ({"Privileged": True}, "auto", "host"),
        ({"UsernsMode": "host"}, "auto", "host"),
        ({"NetworkMode": "host"}, "auto", "host"),
        ({"PidMode": "host"}, "auto", "host"),
        ({"IpcMode": "host"}, "auto", "host"),
        ({"UTSMode": "host"}, "auto", "host"),
        ({"NetworkMode": "container:x"}, "auto", "auto"),
    ],
)
def test_ids_are_mapped_unless_the_host_is_asked_for(host: dict[str, Any], default: str, mode: str) -> None:
    assert admission.userns_mode(host, default)[0] == mode


def test_devices_are_allowed_and_made() -> None:
    made = spec(
        {"DeviceCgroupRules": ["c 189:* rw"]},
        devices=[Device("/dev/mine", "/dev/zero", "c", 1, 5, "r", 0o600, 7, 8)],
    )
    assert made["linux"]["devices"] == [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 7, "gid": 8}
    ]
    assert made["linux"]["resources"]["devices"][-2:] == [
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
        {"allow": True, "type": "c", "access": "rw", "major": 189},
    ]


def test_an_exec_runs_as_the_container_does() -> None:
    base = spec(
        {"SecurityOpt": ["no-new-privileges"], "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}]}, cwd="/w"
    )
    process = exec_process({"Cmd": ["ls"], "Tty": True, "Env": ["A=1"]}, User(5, 6, (6,), "/h"), base, FACTS)
    assert process["args"] == ["ls"]
    assert process["cwd"] == "/w"
    assert process["noNewPrivileges"] is True
    assert process["rlimits"] == [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    assert {"A=1", "TERM=xterm", "HOME=/h", "HOSTNAME=box"} <= set(process["env"])
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [6]}
    assert set(process["capabilities"]) == {"bounding"}
    root = exec_process({"Cmd": ["ls"], "Privileged": True, "WorkingDir": "/x"}, User(), base, FACTS)
    assert set(root["capabilities"]["effective"]) == capabilities.ALL
    assert (root["cwd"], root["terminal"]) == ("/x", False)


@pytest.mark.parametrize("body", [{"Cmd": []}, {"Cmd": ["ls"], "WorkingDir": "x"}])
def test_an_exec_without_command_or_place_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        exec_process(body, User(), spec(), FACTS)


def test_nothing_to_run_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        spec(args=[])


def test_our_annotation_cannot_be_given_from_outside() -> None:
    with pytest.raises(EngineError):
        spec({"Annotations": {"run.oci.seccomp_bpf_data": "AAAA"}})
    assert spec({"Annotations": {"a": "b"}})["annotations"]["a"] == "b"


@pytest.mark.parametrize("parent", ["", "a", "/a/b", "a.slice", "x" * 255, "/docker/é"])
def test_a_cgroup_parent_is_a_path_below_the_root(parent: str) -> None:
    admission.check_cgroup_parent({"CgroupParent": parent})


@pytest.mark.parametrize(
    "parent", ["..", "../../x", "/a/../b", "a/./b", "x" * 256, "a\nb", "a\0b", "ab/" * 400, "/"]
)
def test_no_other_cgroup_parent_is_taken(parent: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid CgroupParent"):
        admission.check_cgroup_parent({"CgroupParent": parent})
