"""What each option of ``docker run`` means to the Run form: one table, which ``runline.py`` reads. Pure.

Spec: ``docker run`` of Docker 28.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _


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
    "oom_kill_disable": "--oom-kill-disable",
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
    "volume_driver": "--volume-driver",
    "platform": "--platform",
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
    "links": "--link",
    "annotations": "--annotation",
    "storage_opt": "--storage-opt",
    "device_read_bps": "--device-read-bps",
    "device_write_bps": "--device-write-bps",
    "device_read_iops": "--device-read-iops",
    "device_write_iops": "--device-write-iops",
    "blkio_weight_device": "--blkio-weight-device",
}
FLAGS = {name: flag for flag in _flags() for name in flag.names}
# Known, and about the terminal a line is typed in, not about the container: (takes a value)
OF_THE_TERMINAL = {
    "-d": False,
    "--detach": False,
    "--sig-proxy": False,
    "--quiet": False,
    "-q": False,
    "--disable-content-trust": False,
    "--pull": True,
    "--attach": True,
    "-a": True,
    "--detach-keys": True,
    "--cidfile": True,
    "--pidfile": True,
    "--conmon-pidfile": True,
    "--log-level": True,
}
ENDPOINT = {
    "--ip": "ip",
    "--ip6": "ip6",
    "--mac-address": "mac",
    "--link-local-ip": "link-local",
    "--network-alias": "alias",
    "--net-alias": "alias",
}
# Why what takes a value, or none, has no place in the form.
_WINDOWS = _("it is for containers of Windows")
_FILE = _("paste what is in the file into the field")
_PODMAN = _("only Podman knows it")
UNTAKEN = {
    "--gpus": _("this engine gives no graphics cards to containers"),
    "--env-file": _FILE,
    "--label-file": _FILE,
    "--kernel-memory": _("no kernel counts it any more"),
    "--cpu-count": _WINDOWS,
    "--cpu-percent": _WINDOWS,
    "--io-maxbandwidth": _WINDOWS,
    "--io-maxiops": _WINDOWS,
    "--isolation": _WINDOWS,
    **dict.fromkeys(
        (
            *(
                "--pod",
                "--secret",
                "--tz",
                "--authfile",
                "--arch",
                "--os",
                "--variant",
                "--umask",
                "--sdnotify",
            ),
            *("--systemd", "--image-volume", "--health-on-failure", "--uidmap", "--gidmap", "--subuidname"),
            *("--subgidname", "--requires", "--unsetenv", "--cgroups", "--cgroup-conf", "--init-path"),
            *("--timeout", "--passwd-entry", "--group-entry", "--hostuser", "--shm-size-systemd", "--creds"),
            *("--env-merge", "--personality", "--preserve-fd", "--preserve-fds"),
        ),
        _PODMAN,
    ),
}
UNTAKEN_BOXES = {
    "--use-api-socket": _("it would hand the engine's own socket to the container"),
    "--help": _("it only prints help"),
    **dict.fromkeys(
        ("--replace", "--rmi", "--rootfs", "--env-host", "--http-proxy", "--no-hosts", "--no-hostname"),
        _PODMAN,
    ),
    "--tls-verify": _PODMAN,
}
