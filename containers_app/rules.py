"""What each text of the Run form may be: one reader a field, and what must fit together. Pure.

The same sentences are said while typing and when the form is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy

from containers_app import endpoints, mounts, notations, runspec, variables
from containers_app.notations import lines_like, text_like

MEMORY_MIN = 6 << 20  # less starts no program: engines refuse it

_NAME = runspec.NAME.pattern
_CPUS = r"\d+(-\d+)?(,\d+(-\d+)?)*"
_SECURITY = (
    r"no-new-privileges([=:](true|false))?|(apparmor|label|seccomp)[=:].+|systempaths=unconfined|"
    r"writable-cgroups([=:](true|false))?|(mask|unmask|proc-opts)=.+"
)
_not_a_word = _lazy("“%(line)s” has a space in it")
_no_such_cpus = _lazy("“%(text)s” is not a list such as 0-3,5")


def parse_memory(text: str) -> int:
    """Raises: ValueError."""
    size = runspec.parse_size(text)
    if 0 < size < MEMORY_MIN:
        raise ValueError(_("A container needs at least 6m of memory"))
    return size


PARSERS: dict[str, Callable[[str], Any]] = {
    "command": runspec.parse_words,
    "entrypoint": runspec.parse_words,
    "env": variables.parse_env,
    "ports": runspec.parse_ports,
    "volumes": runspec.parse_volumes,
    "labels": variables.parse_labels,
    "workdir": text_like(r"/.*", _lazy("A directory in the container starts with /")),
    "user": text_like(r"[^\s:]+(:[^\s:]+)?", _lazy("“%(text)s” is not user or user:group")),
    "group_add": lines_like(r"[^\s:]+", _lazy("“%(line)s” is not a group's name or number")),
    "stop_signal": notations.parse_signal,
    "network": endpoints.parse_networks,
    "links": endpoints.parse_links,
    "hostname": text_like(r"[^\s/]+", _lazy("“%(text)s” is not the name of a host")),
    "domainname": text_like(r"[^\s/]+", _lazy("“%(text)s” is not the name of a domain")),
    "extra_hosts": notations.parse_hosts,
    "dns": notations.parse_addresses,
    "dns_search": lines_like(r"\S+", _not_a_word),
    "dns_options": lines_like(r"\S+", _not_a_word),
    "expose": notations.parse_expose,
    "mounts": mounts.parse_mounts,
    "tmpfs": notations.parse_tmpfs,
    "volumes_from": lines_like(
        rf"{_NAME}(:[a-zA-Z,]+)?", _lazy("“%(line)s” is not container or container:ro")
    ),
    "volume_driver": text_like(r"\S+", _lazy("“%(text)s” is not the name of a driver")),
    "storage_opt": notations.parse_pairs,
    "memory": parse_memory,
    "memory_reservation": parse_memory,
    "memory_swap": notations.parse_swap,
    "shm_size": runspec.parse_size,
    "cpuset_cpus": text_like(_CPUS, _no_such_cpus),
    "cpuset_mems": text_like(_CPUS, _no_such_cpus),
    "ulimits": notations.parse_ulimits,
    "device_read_bps": notations.BYTES[0],
    "device_write_bps": notations.BYTES[0],
    "device_read_iops": notations.COUNTS[0],
    "device_write_iops": notations.COUNTS[0],
    "blkio_weight_device": notations.WEIGHTS[0],
    "restart": runspec.parse_restart,
    "health_cmd": notations.parse_check,
    "health_interval": notations.parse_duration,
    "health_timeout": notations.parse_duration,
    "health_start_period": notations.parse_duration,
    "health_start_interval": notations.parse_duration,
    "cap_add": lines_like(r"[A-Za-z_]+", _lazy("“%(line)s” is not a capability such as NET_ADMIN")),
    "cap_drop": lines_like(r"[A-Za-z_]+", _lazy("“%(line)s” is not a capability such as NET_ADMIN")),
    "devices": notations.parse_devices,
    "device_rules": lines_like(
        r"[abc] (\d+|\*):(\d+|\*) [rwm]{1,3}", _lazy("“%(line)s” is not a rule such as c 188:* rwm")
    ),
    "sysctls": notations.parse_pairs,
    "security_opt": lines_like(
        _SECURITY,
        _lazy("“%(line)s” is none of no-new-privileges, apparmor=, label=, seccomp=, systempaths=unconfined"),
    ),
    "userns_mode": text_like(r"[a-z][a-z-]*(:\S*)?", _lazy("“%(text)s” is no user namespace; host is one")),
    "pid_mode": text_like(
        rf"host|private|container:{_NAME}", _lazy("“%(text)s” is not host or container:name")
    ),
    "ipc_mode": text_like(
        rf"none|host|private|shareable|container:{_NAME}",
        _lazy("“%(text)s” is none of host, none, private, shareable, container:name"),
    ),
    "uts_mode": text_like(r"host|private", _lazy("“%(text)s” is not host")),
    "cgroupns_mode": text_like(r"host|private", _lazy("“%(text)s” is not host or private")),
    "runtime": text_like(r"[A-Za-z0-9._/-]+", _lazy("“%(text)s” is not the name of a runtime")),
    "annotations": notations.parse_pairs,
    "platform": text_like(
        r"[a-z0-9]+(/[a-z0-9_]+(/[a-z0-9.]+)?)?", _lazy("“%(text)s” is not a platform such as linux/arm64")
    ),
    "log_driver": text_like(r"\S+", _lazy("“%(text)s” is not the name of a driver")),
    "log_opts": notations.parse_pairs,
}


def judge(body: dict[str, Any], changed: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """(field, what is wrong) where two settings do not fit; what nobody changed is the engine's matter."""
    host = body.get("HostConfig") or {}
    memory, swap, kept = (int(host.get(key) or 0) for key in ("Memory", "MemorySwap", "MemoryReservation"))
    told: list[tuple[bool, tuple[str, ...], str]] = [
        (
            swap > 0 and not memory,
            ("memory_swap", "memory"),
            _("Memory and swap goes with a limit of the memory itself."),
        ),
        (
            0 < swap < memory,
            ("memory_swap", "memory"),
            _("Memory and swap together may not be less than memory."),
        ),
        (
            bool(memory and kept > memory),
            ("memory_reservation", "memory"),
            _("What it shall keep may not be more than its memory."),
        ),
        (
            bool(host.get("NanoCpus") and (host.get("CpuPeriod") or host.get("CpuQuota"))),
            ("cpus", "cpu_quota", "cpu_period"),
            _("CPUs do not go with a period or a quota: they say the same."),
        ),
    ]
    for wrong, names, words in told:
        at = next((name for name in names if changed(name)), None)
        if wrong and at:
            yield at, words
