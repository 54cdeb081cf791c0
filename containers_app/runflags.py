"""What each option of ``docker run`` means to the Run form: one table, which ``runline.py`` reads. Pure.

Spec: ``docker run`` of Docker 28.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """One option: the field it fills, one value or a line of it each, or a box."""

    field: str
    kind: str  # value | line | box
    names: tuple[str, ...]  # the first is the one written


def _flags() -> Iterator[Flag]:
    for field, names in VALUES.items():
        yield Flag(field, "value", tuple(names.split()))
    for field, names in LINES.items():
        yield Flag(field, "line", tuple(names.split()))
    for field, names in BOXES.items():
        yield Flag(field, "box", tuple(names.split()))


# In the order in which a line is written.
BOXES = {
    "tty": "-t --tty",
    "open_stdin": "-i --interactive",
    "auto_remove": "--rm",
    "init": "--init",
    "read_only": "--read-only",
    "publish_all": "-P --publish-all",
    "privileged": "--privileged",
}
VALUES = {
    "name": "--name",
    "hostname": "--hostname -h",
    "domainname": "--domainname",
    "restart": "--restart",
    "user": "--user -u",
    "workdir": "--workdir -w",
    "memory": "--memory -m",
    "memory_reservation": "--memory-reservation",
    "memory_swap": "--memory-swap",
    "memory_swappiness": "--memory-swappiness",
    "cpus": "--cpus",
    "cpu_shares": "--cpu-shares -c",
    "cpu_period": "--cpu-period",
    "cpu_quota": "--cpu-quota",
    "cpu_rt_period": "--cpu-rt-period",
    "cpu_rt_runtime": "--cpu-rt-runtime",
    "cpuset_cpus": "--cpuset-cpus",
    "cpuset_mems": "--cpuset-mems",
    "pids": "--pids-limit",
    "shm_size": "--shm-size",
    "oom_score_adj": "--oom-score-adj",
    "blkio_weight": "--blkio-weight",
    "cgroup_parent": "--cgroup-parent",
    "stop_signal": "--stop-signal",
    "stop_timeout": "--stop-timeout",
    "health_cmd": "--health-cmd",
    "health_interval": "--health-interval",
    "health_timeout": "--health-timeout",
    "health_start_period": "--health-start-period",
    "health_start_interval": "--health-start-interval",
    "health_retries": "--health-retries",
    "pid_mode": "--pid",
    "ipc_mode": "--ipc",
    "uts_mode": "--uts",
    "userns_mode": "--userns",
    "cgroupns_mode": "--cgroupns",
    "runtime": "--runtime",
    "log_driver": "--log-driver",
    "entrypoint": "--entrypoint",
}
LINES = {
    "network": "--network --net",
    "env": "-e --env",
    "ports": "-p --publish",
    "expose": "--expose",
    "volumes": "-v --volume",
    "mounts": "--mount",
    "tmpfs": "--tmpfs",
    "volumes_from": "--volumes-from",
    "labels": "-l --label",
    "extra_hosts": "--add-host",
    "dns": "--dns",
    "dns_search": "--dns-search",
    "dns_options": "--dns-option --dns-opt",
    "group_add": "--group-add",
    "cap_add": "--cap-add",
    "cap_drop": "--cap-drop",
    "devices": "--device",
    "device_rules": "--device-cgroup-rule",
    "sysctls": "--sysctl",
    "ulimits": "--ulimit",
    "security_opt": "--security-opt",
    "log_opts": "--log-opt",
}
FLAGS = {name: flag for flag in _flags() for name in flag.names}
# Known, and without a field: (takes a value)
DETACHED = {
    "-d": False,
    "--detach": False,
    "--sig-proxy": False,
    "--pull": True,
    "--quiet": False,
    "-q": False,
}
# Known, and not taken; named with their value. The rest of docker's options that take one.
OTHERS = frozenset(
    [
        "--add-host-gateway",
        "--annotation",
        "--attach",
        "-a",
        "--blkio-weight-device",
        "--cidfile",
        "--cpu-count",
        "--cpu-percent",
        "--detach-keys",
        "--device-read-bps",
        "--device-read-iops",
        "--device-write-bps",
        "--device-write-iops",
        "--env-file",
        "--gpus",
        "--ip",
        "--ip6",
        "--isolation",
        "--kernel-memory",
        "--label-file",
        "--link",
        "--link-local-ip",
        "--mac-address",
        "--net-alias",
        "--network-alias",
        "--platform",
        "--storage-opt",
        "--volume-driver",
    ]
)
ENDPOINT = {
    "--ip": "ip",
    "--ip6": "ip6",
    "--mac-address": "mac",
    "--network-alias": "alias",
    "--net-alias": "alias",
}
