"""What the confined socket may ask: every known way to the host is refused, in every spelling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.api.errors import Forbidden
from runtime.api.types import ContainerConfig, HostConfig, Mount, NetworkCreateBody
from runtime.config import PolicyConfig, parse_config
from runtime.server import confined_mounts, confinement, policy, references
from runtime.server.decode import Query
from runtime.server.policy import Asked, Facts, Policy
from runtime.server.routes import ROUTES
from tests.unit.runtime.server.made_up import fields_of, tables_in

Body = dict[str, Any]
STRICT = PolicyConfig()
BINDS = parse_config(
    '[policy]\nallowed_binds = ["/srv/rw", "/srv/ro:ro", "/srv/ro/inner"]',
    file=Path("x"),
    home=Path("/h"),
    run=Path("/r"),
).policy


def create(
    host: Body | None = None, *, config: PolicyConfig = STRICT, facts: Facts | None = None, **body: Any
) -> None:
    body = {"Image": "webdock/busybox", **body}
    if host is not None:
        body["HostConfig"] = host
    Policy(config).check(Asked("container_create", body=body), facts or Facts())


def ask(operation: str, *, config: PolicyConfig = STRICT, facts: Facts | None = None, **how: Any) -> None:
    query = Query(list(how.pop("query", {}).items()))
    Policy(config).check(Asked(operation, query=query, **how), facts or Facts())


def container(host: Body | None = None, **more: Any) -> Body:
    return {"Id": "c" * 64, "HostConfig": {"NetworkMode": "default", **(host or {})}, "Mounts": [], **more}


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    assert {route.operation for route in ROUTES} == set(policy.RULES)


def test_every_field_of_a_host_config_is_judged_or_known_to_be_harmless() -> None:
    source = Path(confinement.__file__).read_text() + Path(confined_mounts.__file__).read_text()
    for field in HostConfig.__annotations__:
        assert f'"{field}"' in source or field in confinement.HARMLESS, field
    assert set(HostConfig.__annotations__) >= confinement.HARMLESS


def test_every_field_of_a_mount_is_judged() -> None:
    source = Path(confined_mounts.__file__).read_text()
    for field in set(Mount.__annotations__) - {"Consistency"}:
        assert f'"{field}"' in source, field


# What is judged of each type besides those with a test of their own, and what has no say over the host. Of
# devices no field is judged: a body with any of them is refused.
JUDGED_AND_HARMLESS = {
    "Nothing": ("", ""),
    "HealthConfig": ("", "Interval Retries StartInterval StartPeriod Test Timeout"),
    "WeightDevice": ("", "Path Weight"),
    "ThrottleDevice": ("", "Path Rate"),
    "DeviceMapping": ("", "CgroupPermissions PathInContainer PathOnHost"),
    "DeviceRequest": ("", "Capabilities Count DeviceIDs Driver Options"),
    "Ulimit": ("Name", "Hard Soft"),
    "LogConfig": ("Config Type", ""),
    "PortBinding": ("HostPort", "HostIp"),
    "RestartPolicy": ("", "MaximumRetryCount Name"),
    "BindOptions": (
        "CreateMountpoint Propagation",
        "NonRecursive ReadOnlyForceRecursive ReadOnlyNonRecursive",
    ),
    "VolumeOptions": ("DriverConfig Subpath", "Labels NoCopy"),
    "DriverConfig": ("Name Options", ""),
    "TmpfsOptions": ("Options", "Mode SizeBytes"),
    "NetworkingConfig": ("EndpointsConfig", ""),
    "EndpointSettings": (
        "DriverOpts",
        "Aliases DNSNames EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen GwPriority IPAMConfig "
        "IPAddress IPPrefixLen IPv6Gateway Links MacAddress NetworkID",
    ),
    "EndpointIPAMConfig": ("", "IPv4Address IPv6Address LinkLocalIPs"),
    "ExecCreateBody": (
        "DebugShell Privileged",
        "AttachStderr AttachStdin AttachStdout Cmd ConsoleSize Detach DetachKeys Env KeepOutput Tty User "
        "WorkingDir",
    ),
    "ExecStartBody": ("", "ConsoleSize Detach Tty"),
    "ConfigReference": ("", "Network"),  # refused with ConfigFrom
    "IPAM": ("Config Driver Options", ""),
    "IPAMConfig": ("IPRange Subnet", "AuxAddress AuxiliaryAddresses Gateway"),
    "NetworkConnectBody": ("EndpointConfig", "Container"),
    "NetworkDisconnectBody": ("", "Container Force"),
    "VolumeCreateBody": ("ClusterVolumeSpec Driver DriverOpts", "Labels Name"),
    "VolumeCloneBody": ("", "Labels Name"),
}


def test_no_field_of_any_other_body_is_new() -> None:
    bodies = {
        route.body
        for route in ROUTES
        if route.operation.startswith(("container", "exec", "network", "volume"))
    }
    tables = {one.__name__: one for body in bodies if body is not None for one in tables_in(body)}
    for own in (
        "ContainerCreateBody",
        "ContainerConfig",
        "ContainerUpdateBody",
        "HostConfig",
        "Mount",
        "NetworkCreateBody",
    ):
        tables.pop(own, None)
    source = "".join(Path(one.__file__).read_text() for one in (confinement, confined_mounts, policy))
    assert set(tables) == set(JUDGED_AND_HARMLESS)
    for name, table in tables.items():
        judged, harmless = (set(words.split()) for words in JUDGED_AND_HARMLESS[name])
        assert set(fields_of(table)) == judged | harmless, name
        assert all(f'"{field}"' in source for field in judged), name


def test_no_field_of_a_container_config_is_new() -> None:
    harmless = (
        "ArgsEscaped AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env ExposedPorts "
        "Healthcheck Hostname Labels MacAddress NetworkDisabled OnBuild OpenStdin Shell StdinOnce StopSignal "
        "StopTimeout Tty User WorkingDir"
    )
    assert set(ContainerConfig.__annotations__) == {*harmless.split(), "Image", "Volumes"}


def test_no_field_of_a_network_is_new() -> None:
    harmless = {"Name", "CheckDuplicate", "Internal", "Attachable", "EnableIPv4", "EnableIPv6", "Labels"}
    judged = {"Driver", "Scope", "Ingress", "ConfigOnly", "ConfigFrom", "IPAM", "Options"}
    assert set(NetworkCreateBody.__annotations__) == harmless | judged


def test_an_ordinary_container_passes() -> None:
    create(
        {
            "AutoRemove": True,
            "Binds": ["data:/data:rw", "/anonymous"],
            "CapAdd": ["CAP_CHOWN", "kill"],
            "CapDrop": ["ALL"],
            "CgroupnsMode": "private",
            "Dns": ["9.9.9.9"],
            "IpcMode": "shareable",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}},
            "Memory": 1 << 26,
            "Mounts": [
                {"Type": "volume", "Source": "data", "Target": "/x"},
                {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 1, "Options": [["noexec"]]}},
            ],
            "NetworkMode": "bridge",
            "OomScoreAdj": 100,
            "PidsLimit": 100,
            "PortBindings": {"80/tcp": [{"HostPort": "8080"}]},
            "ReadonlyRootfs": True,
            "RestartPolicy": {"Name": "always"},
            "Runtime": "crun",
            "SecurityOpt": ["no-new-privileges"],
            "ShmSize": 1 << 26,
            "Sysctls": {"net.ipv4.ip_unprivileged_port_start": "0", "kernel.shmmax": "1"},
            "Tmpfs": {"/run": "size=64m,mode=1777,noexec", "/tmp": ""},
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
            "MaskedPaths": sorted(confinement.MASKED_PATHS | {"/proc/more"}),
        },
        NetworkingConfig={"EndpointsConfig": {"front": {"Aliases": ["web"]}}},
        Volumes={"/var/lib/data": {}},
        User="root",
    )


DANGEROUS: list[Body] = [
    {"Privileged": True},
    {"CapAdd": ["SYS_ADMIN"]},
    {"CapAdd": ["CAP_SYS_PTRACE"]},
    {"CapAdd": ["all"]},
    {"CapAdd": ["ALL"]},
    {"Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/x", "CgroupPermissions": "rwm"}]},
    {"DeviceCgroupRules": ["b *:* rwm"]},
    {"DeviceRequests": [{"Driver": "nvidia", "Count": -1}]},
    {"PidMode": "host"},
    {"IpcMode": "host"},
    {"UTSMode": "host"},
    {"UsernsMode": "host"},
    {"CgroupnsMode": "host"},
    {"NetworkMode": "host"},
    {"NetworkMode": "ns:/proc/1/ns/net"},
    {"PidMode": "ns:/proc/1/ns/pid"},
    {"SecurityOpt": ["seccomp=unconfined"]},
    {"SecurityOpt": ["seccomp:unconfined"]},
    {"SecurityOpt": ["apparmor=unconfined"]},
    {"SecurityOpt": ["label=disable"]},
    {"SecurityOpt": ["systempaths=unconfined"]},
    {"SecurityOpt": ["no-new-privileges=false"]},
    {"SecurityOpt": ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}']},
    {"MaskedPaths": []},
    {"ReadonlyPaths": []},
    {"ReadonlyPaths": ["/proc/bus"]},
    {"Binds": ["/:/host"]},
    {"Binds": ["/etc:/etc:ro"]},
    {"Binds": ["//etc:/etc:ro"]},
    {"Binds": ["/./etc:/etc"]},
    {"Binds": ["/srv/../etc:/etc"]},
    {"Binds": ["/var/run/docker.sock:/s"]},
    {"Binds": ["data:/x:rshared"]},
    {"Binds": ["data:/x:z"]},
    {"Binds": ["../etc:/x"]},
    {"Binds": ["a/b:/x"]},
    {"Binds": ["~/x:/x"]},
    {"Binds": ["data:/proc"]},
    {"Binds": ["data:/proc/sys"]},
    {"Binds": ["data:/./sys/fs"]},
    {"Binds": ["data:/"]},
    {"Binds": ["data:/x/../proc"]},
    {"Binds": ["a:b:c:d"]},
    {"Binds": [":/x"]},
    {"Mounts": [{"Type": "bind", "Source": "/etc", "Target": "/e", "ReadOnly": True}]},
    {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/e"}]},
    {"Mounts": [{"Type": "npipe", "Source": "x", "Target": "/e"}]},
    {"Mounts": [{"Type": "cluster", "Source": "x", "Target": "/e"}]},
    {"Mounts": [{"Source": "/etc", "Target": "/e"}]},
    {"Mounts": [{"Type": "image", "Source": "x", "Target": "/e"}]},
    {"Mounts": [{"Type": "tmpfs", "Target": "/proc/x"}]},
    {"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Options": [["dev"]]}}]},
    {"Mounts": [{"Type": "volume", "Source": "/etc", "Target": "/e"}]},
    {"Mounts": [{"Type": "volume", "Source": "..", "Target": "/e"}]},
    {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/e", "VolumeOptions": {"Subpath": "../.."}}]},
    {
        "Mounts": [
            {
                "Type": "volume",
                "Source": "v",
                "Target": "/e",
                "VolumeOptions": {
                    "DriverConfig": {"Name": "local", "Options": {"type": "none", "o": "bind", "device": "/"}}
                },
            }
        ]
    },
    {
        "Mounts": [
            {
                "Type": "volume",
                "Target": "/e",
                "VolumeOptions": {"DriverConfig": {"Options": {"o": "bind", "device": "/etc"}}},
            }
        ]
    },
    {"VolumeDriver": "vieux/sshfs"},
    {"Tmpfs": {"/run": "dev"}},
    {"Tmpfs": {"/run": "suid,exec"}},
    {"Tmpfs": {"/sys": ""}},
    {"Sysctls": {"kernel.core_pattern": "|/x"}},
    {"Sysctls": {"net/../kernel/core_pattern": "|/x"}},
    {"Sysctls": {"net.ipv4./../../kernel/core_pattern": "|/x"}},
    {"Sysctls": {"net.ipv4...": "1"}},
    {"Sysctls": {"vm.overcommit_memory": "1"}},
    {"CgroupParent": "/"},
    {"Cgroup": "container:x"},
    {"Runtime": "/bin/evil"},
    {"Runtime": "kata"},
    {"OomScoreAdj": -1000},
    {"OomKillDisable": True},
    {"Annotations": {"run.oci.hooks.stdout": "/x"}},
    {"StorageOpt": {"size": "1T"}},
    {"Ulimits": [{"Name": "rtprio", "Soft": 99, "Hard": 99}]},
    {"Ulimits": [{"Name": "memlock", "Soft": -1, "Hard": -1}]},
    {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://x"}}},
    {"LogConfig": {"Type": "json-file", "Config": {"path": "/etc/x"}}},
    {"BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1}]},
    {"BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 1}]},
    {"CpuRealtimeRuntime": 1000},
    {"ContainerIDFile": "/etc/x"},
    {"Isolation": "process"},
]


@pytest.mark.parametrize("host", DANGEROUS, ids=str)
def test_a_way_to_the_host_is_refused_at_create(host: Body) -> None:
    with pytest.raises(Forbidden, match=r"^not allowed on this socket: "):
        create(host)


ENTRANCES = DANGEROUS  # whoever made such a container, nobody confined goes into it


@pytest.mark.parametrize("host", ENTRANCES, ids=str)
@pytest.mark.parametrize(
    ("operation", "how"),
    [
        ("exec_create", {"body": {"Cmd": ["sh"]}}),
        ("container_attach", {"query": {"stdin": "1"}}),
        ("container_attach_websocket", {"query": {"stdin": "true"}}),
        ("container_archive", {"query": {"path": "/"}}),
        ("container_archive_put", {"query": {"path": "/"}}),
        ("container_shells", {}),
        ("container_archive_stat", {"query": {"path": "/"}}),
        ("container_image_archive", {"query": {"path": "/"}}),
        ("container_export", {}),
        ("container_changes", {}),
        ("container_update", {}),
    ],
)
def test_nobody_enters_a_container_that_is_a_way_to_the_host(host: Body, operation: str, how: Body) -> None:
    facts = Facts(containers={"x": container(host)})
    with pytest.raises(Forbidden, match="entering container cccccccccccc: "):
        ask(operation, params={"ref": "x"}, facts=facts, **how)


@pytest.mark.parametrize("host", ENTRANCES, ids=str)
def test_nobody_commits_a_container_that_is_a_way_to_the_host(host: Body) -> None:
    with pytest.raises(Forbidden, match="entering container"):
        ask("container_commit", query={"container": "x"}, facts=Facts(containers={"x": container(host)}))


@pytest.mark.parametrize("key", ["NetworkMode", "PidMode", "IpcMode"])
@pytest.mark.parametrize("host", ENTRANCES, ids=str)
def test_nobody_shares_with_a_container_that_is_a_way_to_the_host(host: Body, key: str) -> None:
    facts = Facts(containers={"x": container(host)})
    with pytest.raises(Forbidden, match=f"{key} of container x: "):
        create({key: "container:x"}, facts=facts)


def test_volumes_from_a_container_with_host_paths_are_refused() -> None:
    mounts = [{"Type": "bind", "Source": "/etc", "RW": False}]
    facts = Facts(containers={"x": container(Mounts=mounts)})
    with pytest.raises(
        Forbidden, match=r"VolumesFrom of container x: host path /etc \(policy.allowed_binds\)"
    ):
        create({"VolumesFrom": ["x:ro"]}, facts=facts)


def test_sharing_through_a_third_container_is_refused() -> None:
    facts = Facts(
        containers={"a": container({"PidMode": "container:b"}), "b": container({"PidMode": "host"})}
    )
    with pytest.raises(Forbidden, match=r"PidMode of container a: PidMode of container b: PidMode 'host'"):
        create({"PidMode": "container:a"}, facts=facts)


def test_sharing_in_a_circle_is_refused() -> None:
    facts = Facts(
        containers={"a": container({"IpcMode": "container:b"}), "b": container({"IpcMode": "container:a"})}
    )
    with pytest.raises(Forbidden, match="without end"):
        create({"IpcMode": "container:a"}, facts=facts)


def test_sharing_with_a_confined_container_passes() -> None:
    facts = Facts(containers={"a": container()})
    create({"NetworkMode": "container:a", "VolumesFrom": ["a"]}, facts=facts)


VOLUME_FILES = ("volume_files", "volume_archive_stat", "volume_archive", "volume_archive_put", "volume_clone")


@pytest.mark.parametrize("where", ["Binds", "Mounts"])
@pytest.mark.parametrize(
    ("driver", "options"),
    [
        ("local", {"type": "none", "o": "bind", "device": "/etc"}),
        ("local", {"type": "ext4", "device": "/dev/sda1"}),
        ("local", {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/x"}),
        ("local", {"type": "overlay", "o": "lowerdir=/etc,upperdir=/x,workdir=/y"}),
        ("vieux/sshfs", {}),
    ],
)
def test_a_volume_somebody_made_of_the_host_is_refused(where: str, driver: str, options: Body) -> None:
    facts = Facts(volumes={"v": {"Name": "v", "Driver": driver, "Options": options}})
    host: Body = (
        {"Binds": ["v:/x"]}
        if where == "Binds"
        else {"Mounts": [{"Type": "volume", "Source": "v", "Target": "/x"}]}
    )
    with pytest.raises(Forbidden, match="volume v: "):
        create(host, facts=facts)
    with pytest.raises(Forbidden):
        ask("volume_create", body={"Name": "v", "Driver": driver, "DriverOpts": options})
    for operation in VOLUME_FILES:
        with pytest.raises(Forbidden, match="volume v: "):
            ask(operation, params={"ref": "v"}, facts=facts)


@pytest.mark.parametrize("options", [{}, {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=1000"}])
def test_a_plain_volume_passes(options: Body) -> None:
    ask("volume_create", body={"Name": "v", "DriverOpts": options})
    facts = Facts(volumes={"v": {"Name": "v", "Driver": "local", "Options": options or None}})
    for operation in VOLUME_FILES:
        ask(operation, params={"ref": "v"}, facts=facts)
        assert references.volumes(Asked(operation, params={"ref": "v"})) == ["v"]


@pytest.mark.parametrize(
    "options",
    [
        {"type": "tmpfs", "o": "dev"},
        {"type": "tmpfs", "device": "/dev/sda"},
        {"type": "tmpfs", "more": "x"},
        {"o": "bind"},
        {"device": "/etc"},
        {"Type": "none", "type": "tmpfs"},
    ],
)
def test_other_volume_options_are_refused(options: Body) -> None:
    with pytest.raises(Forbidden):
        ask("volume_create", body={"DriverOpts": options})


@pytest.mark.parametrize(
    ("bind", "passes"),
    [
        ("/srv/rw:/x", True),
        ("/srv/rw/:/x:rw", True),
        ("/srv/rw:/x:ro", True),
        ("//srv//rw:/x", True),
        ("/srv/rw/below:/x", False),  # a container may have put a link there
        ("/srv/rw/below:/x:ro", False),
        ("/srv/rwx:/x", False),
        ("/srv:/x", False),
        ("/srv/ro:/x:ro", True),
        ("/srv/ro:/x", False),
        ("/srv/ro/below:/x:ro", True),
        ("/srv/ro/below:/x", False),
        ("/srv/ro/inner:/x", True),
        ("/srv/ro/inner/below:/x:ro", False),
        ("/srv/ro/../rw:/x", False),
    ],
)
def test_allowed_binds_are_exact(bind: str, passes: bool) -> None:
    source, target, *mode = bind.split(":")
    mount = {"Type": "bind", "Source": source, "Target": target, "ReadOnly": mode == ["ro"]}
    for host in ({"Binds": [bind]}, {"Mounts": [mount]}):
        if passes:
            create(host, config=BINDS)
        else:
            with pytest.raises(Forbidden):
                create(host, config=BINDS)


def test_mounts_of_a_container_are_judged_as_they_are_mounted() -> None:
    mounts = [{"Type": "bind", "Source": "/srv/ro", "RW": True}]
    with pytest.raises(Forbidden, match="other than read-only"):
        ask(
            "exec_create",
            params={"ref": "x"},
            config=BINDS,
            facts=Facts(containers={"x": container(Mounts=mounts)}),
        )


@pytest.mark.parametrize(
    ("body", "passes"),
    [
        ({"Name": "n"}, True),
        ({"Name": "n", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "10.1.0.0/16"}]}}, True),
        ({"Name": "n", "EnableIPv6": True, "IPAM": {"Config": [{"Subnet": "fd00:1::/64"}]}}, True),
        ({"Name": "n", "Options": {"com.docker.network.driver.mtu": "1400"}}, True),
        ({"Name": "n", "IPAM": {"Config": [{"Subnet": "8.8.8.0/24"}]}}, False),
        ({"Name": "n", "IPAM": {"Config": [{"Subnet": "0.0.0.0/0"}]}}, False),
        ({"Name": "n", "IPAM": {"Config": [{"Subnet": "10.0.0.0/7"}]}}, False),
        ({"Name": "n", "IPAM": {"Driver": "dhcp"}}, False),
        ({"Name": "n", "Driver": "macvlan"}, False),
        ({"Name": "n", "Driver": "host"}, False),
        ({"Name": "n", "Options": {"com.docker.network.bridge.name": "eth0"}}, False),
        ({"Name": "n", "Options": {"com.docker.network.bridge.host_binding_ipv4": "1.2.3.4"}}, False),
        ({"Name": "n", "Options": {"parent": "eth0"}}, False),
        ({"Name": "n", "Scope": "swarm"}, False),
        ({"Name": "n", "ConfigFrom": {"Network": "x"}}, False),
        ({"Name": "n", "Ingress": True}, False),
    ],
)
def test_networks_stay_among_themselves(body: Body, passes: bool) -> None:
    if passes:
        ask("network_create", body=body)
    else:
        with pytest.raises(Forbidden):
            ask("network_create", body=body)


def test_the_hosts_network_is_known_by_any_name() -> None:
    facts = Facts(networks={"e0e0": {"Name": "host", "Driver": "host"}})
    for how in (
        lambda: create({"NetworkMode": "e0e0"}, facts=facts),
        lambda: create({}, facts=facts, NetworkingConfig={"EndpointsConfig": {"e0e0": {}}}),
        lambda: create({}, NetworkingConfig={"EndpointsConfig": {"host": {}}}),
        lambda: ask("network_connect", params={"ref": "e0e0"}, facts=facts, body={"Container": "c"}),
    ):
        with pytest.raises(Forbidden, match="the host's network"):
            how()
    allowed = PolicyConfig(allow_host_network=True)
    create({"NetworkMode": "host"}, config=allowed)


def test_endpoints_carry_no_driver_options() -> None:
    options = {"com.docker.network.endpoint.sysctls": "net.x=1"}
    with pytest.raises(Forbidden, match="driver options of an endpoint"):
        create({}, NetworkingConfig={"EndpointsConfig": {"n": {"DriverOpts": options}}})
    with pytest.raises(Forbidden, match="driver options of an endpoint"):
        ask("network_connect", params={"ref": "n"}, body={"EndpointConfig": {"DriverOpts": options}})


def test_sysctls_of_a_shared_network_are_refused() -> None:
    facts = Facts(containers={"a": container()})
    with pytest.raises(Forbidden, match="of a shared network"):
        create({"NetworkMode": "container:a", "Sysctls": {"net.ipv4.ip_forward": "1"}}, facts=facts)


def test_a_privileged_exec_is_refused() -> None:
    with pytest.raises(Forbidden, match="a privileged exec session"):
        ask("exec_create", params={"ref": "x"}, body={"Cmd": ["sh"], "Privileged": True})


@pytest.mark.parametrize("operation", ["exec_start", "exec_attach", "exec_resize", "exec_kill", "exec_end"])
def test_somebody_elses_privileged_session_is_closed(operation: str) -> None:
    session = {"ContainerID": "x", "ProcessConfig": {"privileged": True}}
    with pytest.raises(Forbidden, match="this exec session is privileged"):
        ask(operation, params={"ref": "e"}, facts=Facts(execs={"e": session}, containers={"x": container()}))
    session = {"ContainerID": "x", "ProcessConfig": {"privileged": False}}
    facts = Facts(execs={"e": session}, containers={"x": container({"Privileged": True})})
    with pytest.raises(Forbidden, match="a privileged container"):
        ask(operation, params={"ref": "e"}, facts=facts)


def test_reading_the_output_of_a_privileged_container_passes() -> None:
    facts = Facts(containers={"x": container({"Privileged": True})})
    ask("container_attach", params={"ref": "x"}, query={"stream": "1", "stdout": "1"}, facts=facts)
    ask("container_logs", params={"ref": "x"}, query={"stdout": "1"}, facts=facts)
    for verb in ("stop", "start", "kill", "restart", "remove", "pause", "inspect"):
        ask(f"container_{verb}", params={"ref": "x"}, facts=facts)


def test_update_is_judged_like_create() -> None:
    facts = Facts(containers={"x": container()})
    ask("container_update", params={"ref": "x"}, facts=facts, body={"Memory": 1 << 26})
    for body in ({"CgroupParent": "/"}, {"OomKillDisable": True}, {"Devices": [{"PathOnHost": "/dev/sda"}]}):
        with pytest.raises(Forbidden):
            ask("container_update", params={"ref": "x"}, facts=facts, body=body)


def test_an_unknown_operation_or_query_is_refused() -> None:
    with pytest.raises(Forbidden, match="the operation swarm_init"):
        ask("swarm_init")
    with pytest.raises(Forbidden, match="the query parameter 'magic' of container_start"):
        ask("container_start", query={"magic": "1"})


def test_images_come_as_a_body_not_from_an_address() -> None:
    ask("image_create", query={"fromSrc": "-", "repo": "x"})
    for source in ("http://169.254.169.254/", "file:///etc/shadow", ""):
        with pytest.raises(Forbidden, match="importing from an address"):
            ask("image_create", query={"fromSrc": source})


CEILINGS = PolicyConfig(memory_max_bytes=1 << 28, cpus_max=1.0, pids_max=100, containers_max=2)
LIMITS = {"Memory": 1 << 27, "NanoCpus": 500_000_000, "PidsLimit": 50}


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        (LIMITS, True),
        ({**LIMITS, "NanoCpus": 0, "CpuQuota": 50_000}, True),
        ({}, False),
        ({**LIMITS, "Memory": 0}, False),
        ({**LIMITS, "Memory": 1 << 29}, False),
        ({**LIMITS, "MemorySwap": -1}, False),
        ({**LIMITS, "NanoCpus": 2_000_000_000}, False),
        ({**LIMITS, "NanoCpus": 0, "CpuQuota": 500_000}, False),
        ({**LIMITS, "NanoCpus": 0, "CpuQuota": 50_000, "CpuPeriod": 1000}, False),
        ({**LIMITS, "PidsLimit": -1}, False),
        ({**LIMITS, "PidsLimit": 1000}, False),
    ],
)
def test_ceilings_hold(host: Body, passes: bool) -> None:
    if passes:
        create(host, config=CEILINGS)
    else:
        with pytest.raises(Forbidden, match="policy\\."):
            create(host, config=CEILINGS)


@pytest.mark.parametrize(
    "body", [{"Memory": 1 << 29}, {"PidsLimit": -1}, {"NanoCpus": -1}, {"CpuQuota": 900_000}]
)
def test_ceilings_hold_for_updates(body: Body) -> None:
    ask("container_update", params={"ref": "x"}, body={"CpuShares": 5}, config=CEILINGS)
    with pytest.raises(Forbidden, match="over the ceiling"):
        ask("container_update", params={"ref": "x"}, body=body, config=CEILINGS)


def test_the_number_of_containers_is_limited() -> None:
    create(LIMITS, config=CEILINGS, facts=Facts(container_count=1))
    with pytest.raises(Forbidden, match=r"policy\.containers_max"):
        create(LIMITS, config=CEILINGS, facts=Facts(container_count=2))


def test_images_and_registries_can_be_pinned() -> None:
    config = PolicyConfig(
        allowed_images=("webdock/*", "docker.io/library/redis:*"), allowed_registries=("docker.io",)
    )
    create({}, config=config)
    create({}, config=config, Image="redis:7")
    ask("image_create", query={"fromImage": "redis", "tag": "7"}, config=config)
    for image in ("alpine", "evil.example/webdock/x", "sha256:" + "a" * 64, "webdock/../x"):
        with pytest.raises(Forbidden, match=r"policy\.allowed_images"):
            create({}, config=config, Image=image)
    with pytest.raises(Forbidden, match=r"registry evil\.example"):
        ask("image_create", query={"fromImage": "evil.example/webdock/x"}, config=config)
    with pytest.raises(Forbidden, match=r"registry 10\.0\.0\.1:80"):
        ask("auth", body={"serveraddress": "http://10.0.0.1:80/v1/"}, config=config)
    ask("auth", body={"serveraddress": "https://index.docker.io/v1/"}, config=config)
    for operation in ("image_load", "image_tag", "container_commit"):
        with pytest.raises(Forbidden, match="look like an allowed one"):
            ask(operation, config=config)
    with pytest.raises(Forbidden, match="look like an allowed one"):
        ask("image_create", query={"fromSrc": "-"}, config=config)


def test_registries_are_set_within_what_may_be_named() -> None:
    named = PolicyConfig(allowed_registries=("docker.io", "m.example"))
    for operation, body in (("registry_set", {}), ("registry_test", {"Host": "docker.io"})):
        path = {"params": {"ref": "docker.io"}} if operation == "registry_set" else {}
        ask(operation, body={**body, "Mirrors": ["https://m.example/hub"]}, config=named, **path)
        with pytest.raises(Forbidden, match=r"registry evil\.example"):
            ask(operation, body={**body, "Mirrors": ["https://evil.example"]}, config=named, **path)
        with pytest.raises(Forbidden, match=r"registry evil\.example"):
            ask(operation, body={**body, "TokenHosts": ["evil.example"]}, config=named, **path)
        with pytest.raises(Forbidden, match=r"engine\.toml"):
            ask(operation, body={**body, "Local": True}, **path)
        given = Facts(local_registries=frozenset({"docker.io"}))
        ask(operation, body={**body, "Local": True}, facts=given, **path)  # root's word is kept
    with pytest.raises(Forbidden, match=r"registry evil\.example"):
        ask("registry_test", body={"Host": "evil.example"}, config=named)
    with pytest.raises(Forbidden, match=r"registry evil\.example"):
        ask("registry_forget", params={"ref": "evil.example"}, config=named)


def test_who_may_not_make_images_does_not_say_where_they_come_from() -> None:
    config = PolicyConfig(allowed_images=("webdock/*",))
    for operation in ("registry_set", "registry_forget"):
        with pytest.raises(Forbidden, match="look like an allowed one"):
            ask(operation, params={"ref": "docker.io"}, config=config)
    ask("registry_list", config=config)
    ask("registry_test", body={"Host": "docker.io"}, config=config)


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ({"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}}, True),
        ({"PortBindings": {"80/tcp": [{"HostPort": "9000-9001"}]}}, True),
        ({"PortBindings": {"80/tcp": [{"HostPort": "22"}]}}, False),
        ({"PortBindings": {"80/tcp": [{"HostPort": "8999-9001"}]}}, False),
        ({"PortBindings": {"80/tcp": [{"HostPort": ""}]}}, False),
        ({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}, False),
        ({"PortBindings": {"80/tcp": []}}, False),
        ({"PublishAllPorts": True}, False),
    ],
)
def test_host_ports_can_be_pinned(host: Body, passes: bool) -> None:
    text = '[policy]\nallowed_ports = ["8080", "9000-9010"]'
    config = parse_config(text, file=Path("x"), home=Path("/h"), run=Path("/r")).policy
    if passes:
        create(host, config=config)
    else:
        with pytest.raises(Forbidden, match=r"policy\.allowed_ports"):
            create(host, config=config)


def test_allowed_capabilities_pass() -> None:
    create({"CapAdd": ["CAP_NET_ADMIN"]}, config=PolicyConfig(allowed_capabilities=("NET_ADMIN",)))


def test_references_are_found_and_pinned() -> None:
    body = {
        "HostConfig": {"PidMode": "container:p", "NetworkMode": "container:n", "VolumesFrom": ["v:ro", "w"]}
    }
    asked = Asked("container_create", body=body)
    assert sorted(references.containers(asked)) == ["n", "p", "v", "w"]
    references.pin(body, {"p": "P", "n": "N", "v": "V", "w": "W"})
    assert body["HostConfig"] == {
        "PidMode": "container:P",
        "NetworkMode": "container:N",
        "VolumesFrom": ["V:ro", "W"],
    }


def test_volumes_and_networks_of_a_request_are_found() -> None:
    host = {
        "Binds": ["a:/x", "/b:/y", "/c"],
        "Mounts": [{"Type": "volume", "Source": "m"}, {"Type": "tmpfs"}],
        "NetworkMode": "front",
    }
    asked = Asked(
        "container_create",
        body={"HostConfig": host, "NetworkingConfig": {"EndpointsConfig": {"front": {}, "back": {}}}},
    )
    assert references.volumes(asked) == ["a", "m"]
    assert references.networks(asked) == ["front", "back"]


# Whatever a generated request says, what passes gives nothing of the host away. The oracle below knows the
# effects, not the rules.

WORDS = st.sampled_from(
    [
        "",
        "host",
        "private",
        "none",
        "default",
        "container:x",
        "ns:/proc/1/ns/net",
        "shareable",
        "bridge",
        "HOST",
        " host",
    ]
)
PATHS = st.sampled_from(
    [
        "/",
        "/etc",
        "//etc",
        "/srv/rw",
        "/srv/rw/../..",
        "/srv/ro/x",
        "data",
        "../x",
        "",
        ".",
        "/srv/rw/./x",
        "\0/etc",
    ]
)
HOSTS = st.fixed_dictionaries(
    {},
    optional={
        "Privileged": st.booleans(),
        "PidMode": WORDS,
        "IpcMode": WORDS,
        "UTSMode": WORDS,
        "UsernsMode": WORDS,
        "CgroupnsMode": WORDS,
        "NetworkMode": WORDS,
        "CapAdd": st.lists(
            st.sampled_from(["CHOWN", "SYS_ADMIN", "cap_sys_admin", "ALL", "all"]), max_size=2
        ),
        "Binds": st.lists(
            st.builds(
                lambda source, target, mode: f"{source}:{target}{mode}",
                PATHS,
                st.sampled_from(["/x", "/proc", "/"]),
                st.sampled_from(["", ":ro", ":rw", ":rshared", ":ro,z"]),
            ),
            max_size=2,
        ),
        "Mounts": st.lists(
            st.fixed_dictionaries(
                {
                    "Type": st.sampled_from(["bind", "volume", "tmpfs", "BIND", ""]),
                    "Source": PATHS,
                    "Target": PATHS,
                },
                optional={
                    "ReadOnly": st.booleans(),
                    "BindOptions": st.fixed_dictionaries(
                        {"Propagation": st.sampled_from(["", "rshared", "rprivate"])}
                    ),
                },
            ),
            max_size=2,
        ),
        "SecurityOpt": st.lists(
            st.sampled_from(["seccomp=unconfined", "no-new-privileges", "x"]), max_size=2
        ),
        "MaskedPaths": st.sampled_from([[], sorted(confinement.MASKED_PATHS)]),
        "Devices": st.lists(st.just({"PathOnHost": "/dev/sda"}), max_size=1),
    },
)


def gives_the_host_away(host: Body) -> bool:
    import posixpath

    namespaces = ("PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode")
    if any(str(host.get(key, "")).strip().lower().startswith(("host", "ns:")) for key in namespaces):
        return True
    if str(host.get("NetworkMode", "")).startswith(("host", "ns:")):  # others are names of networks
        return True
    if host.get("Privileged") or host.get("Devices") or host.get("MaskedPaths") == []:
        return True
    if any("SYS_ADMIN" in name.upper() or name.upper() == "ALL" for name in host.get("CapAdd", ())):
        return True
    if "seccomp=unconfined" in host.get("SecurityOpt", ()):
        return True
    mounts = [
        (parts[0], "ro" in "".join(parts[2:]).split(","), "shared" in "".join(parts[2:]))
        for parts in (bind.split(":") for bind in host.get("Binds", ()))
        if len(parts) > 1
    ]
    mounts += [
        (
            mount["Source"],
            bool(mount.get("ReadOnly")),
            mount.get("BindOptions", {}).get("Propagation") == "rshared",
        )
        for mount in host.get("Mounts", ())
        if mount["Type"].lower() == "bind" or mount["Source"].startswith(("/", "\0", "."))
        if mount["Type"] != "tmpfs"
    ]
    for source, read_only, shared in mounts:
        if not source.strip("\0").startswith(("/", ".")):
            continue
        real = posixpath.normpath(source.replace("\0", "")).replace("//", "/")
        if shared or not (real == "/srv/rw" or (read_only and (real + "/").startswith("/srv/ro/"))):
            return True
    return False


@settings(max_examples=1000, deadline=None)
@given(HOSTS)
def test_what_passes_gives_nothing_of_the_host_away(host: Body) -> None:
    try:
        create(host, config=BINDS)
    except Forbidden:
        return
    assert not gives_the_host_away(host)


def test_a_debug_shell_is_refused_unless_it_is_allowed() -> None:
    asked = {"Cmd": [], "Tty": True, "DebugShell": True}
    facts = Facts(containers={"x": container()})
    with pytest.raises(Forbidden, match="allow_debug_shell"):
        ask("exec_create", params={"ref": "x"}, body=asked, facts=facts)
    ask(
        "exec_create",
        params={"ref": "x"},
        body=asked,
        facts=facts,
        config=PolicyConfig(allow_debug_shell=True),
    )
