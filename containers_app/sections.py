"""How the Run form is laid out: what is shown at once, and what one click away. No rules."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

RESTARTS = [
    ("no", _("Never")),
    ("on-failure", _("When it fails")),
    ("on-failure:5", _("When it fails, at most 5 times")),
    ("unless-stopped", _("Always, unless stopped")),
    ("always", _("Always")),
]

# (title, what is in it, fields): shown closed, in this order, below the first few.
SECTIONS: list[tuple[Any, Any, list[str]]] = [
    (
        _("Command"),
        _("entrypoint, user, directory"),
        ["entrypoint", "workdir", "user", "group_add", "stop_signal", "stop_timeout"],
    ),
    (
        _("Network"),
        _("networks, names, addresses"),
        [
            "network",
            "links",
            "hostname",
            "domainname",
            "extra_hosts",
            "dns",
            "dns_search",
            "dns_options",
            "expose",
        ],
    ),
    (
        _("Storage"),
        _("mounts, files in memory, volumes of others"),
        ["mounts", "tmpfs", "volumes_from", "volume_driver", "storage_opt"],
    ),
    (
        _("Limits"),
        _("memory, CPUs, processes"),
        [
            "memory",
            "memory_reservation",
            "memory_swap",
            "memory_swappiness",
            "cpus",
            "cpu_shares",
            "cpuset_cpus",
            "cpuset_mems",
            "cpu_period",
            "cpu_quota",
            "cpu_rt_period",
            "cpu_rt_runtime",
            "pids",
            "shm_size",
            "oom_score_adj",
            "cgroup_parent",
            "ulimits",
            "oom_kill_disable",
        ],
    ),
    (
        _("Disk speed"),
        _("weights, bytes and operations a second"),
        [
            "device_read_bps",
            "device_write_bps",
            "device_read_iops",
            "device_write_iops",
            "blkio_weight",
            "blkio_weight_device",
        ],
    ),
    (
        _("Restart and health"),
        _("restart policy, health check"),
        [
            "restart",
            "health_cmd",
            "health_interval",
            "health_timeout",
            "health_retries",
            "health_start_period",
            "health_start_interval",
        ],
    ),
    (
        _("Rights"),
        _("capabilities, devices, kernel settings"),
        [
            "cap_add",
            "cap_drop",
            "devices",
            "device_rules",
            "sysctls",
            "security_opt",
            "userns_mode",
            "pid_mode",
            "ipc_mode",
            "uts_mode",
            "cgroupns_mode",
            "runtime",
        ],
    ),
    (
        _("Labels, log and more"),
        _("labels, log options"),
        ["labels", "annotations", "log_driver", "log_opts", "platform"],
    ),
]
BOXES = ["tty", "open_stdin", "auto_remove", "init", "read_only", "publish_all", "privileged"]
