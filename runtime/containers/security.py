"""How a container is confined: HostConfig's SecurityOpt, masked and read-only paths, seccomp; pure.

Spec: Docker API 1.47 HostConfig.SecurityOpt, MaskedPaths, ReadonlyPaths; OCI runtime 1.1 config-linux.md.
"""

from __future__ import annotations

from typing import Any

from runtime.api.errors import InvalidArgument, NotSupported
from runtime.containers import seccomp
from runtime.containers.facts import HostFacts

MASKED_PATHS = (
    *("/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def security_options(host_config: dict[str, Any], facts: HostFacts) -> dict[str, str]:
    """HostConfig.SecurityOpt as a dict. Raises: InvalidArgument, NotSupported."""
    options: dict[str, str] = {}
    for text in host_config.get("SecurityOpt") or ():
        if text in ("no-new-privileges", "disable-no-new-privileges"):
            options["no-new-privileges"] = "true" if text[0] == "n" else "false"
            continue
        separator = "=" if "=" in text else ":"
        name, found, value = text.partition(separator)
        if not found:
            raise InvalidArgument(f"invalid --security-opt 1: {text!r}")
        if name == "no-new-privileges":
            if value.lower() not in ("true", "false"):
                raise InvalidArgument(f"invalid --security-opt 2: {text!r}")
            value = value.lower()
        elif name == "apparmor":
            if value != "unconfined" and value not in facts.apparmor:
                raise NotSupported(f"the AppArmor profile {value} is not loaded on this host")
        elif name == "label":
            if value != "disable":
                raise NotSupported("this host has no SELinux, so a label cannot be applied")
        elif name == "seccomp":
            if value != "unconfined" and not facts.seccomp:
                raise NotSupported("this kernel has no seccomp, so the profile cannot be applied")
            if value not in ("unconfined", "builtin"):
                seccomp.parse(value)
        elif name not in ("systempaths", "writable-cgroups"):
            raise InvalidArgument(f"invalid --security-opt 2: {text!r}")
        elif name == "writable-cgroups":
            raise NotSupported(
                "writable-cgroups is not available; privileged containers can write their cgroups"
            )
        options[name] = value
    return options


def seccomp_option(host_config: dict[str, Any]) -> dict[str, Any] | None:
    """The client's own profile among the security options, parsed."""
    for text in host_config.get("SecurityOpt") or ():
        name, _, value = text.partition("=" if "=" in text else ":")
        if name == "seccomp" and value not in ("unconfined", "builtin"):
            return seccomp.parse(value)
    return None


def confine(
    host_config: dict[str, Any], facts: HostFacts, held: list[str], profile: dict[str, Any] | None
) -> dict[str, Any]:
    """The part of OCI's `linux` that confines: maskedPaths, readonlyPaths, seccomp.

    held: the container's capabilities. profile: a client's own, None for the default one.
    """
    security = security_options(host_config, facts)
    privileged = bool(host_config.get("Privileged"))
    masked, read_only = host_config.get("MaskedPaths"), host_config.get("ReadonlyPaths")
    unmasked = privileged or security.get("systempaths") == "unconfined"
    if masked is None:
        masked = [] if unmasked else list(MASKED_PATHS)
    if read_only is None:
        read_only = [] if unmasked else list(READONLY_PATHS)
    linux: dict[str, Any] = {"maskedPaths": masked, "readonlyPaths": read_only}
    if not facts.seccomp or security.get("seccomp") == "unconfined":
        return linux
    if profile is not None:
        linux["seccomp"] = seccomp.resolve(profile, capabilities=held, arch=facts.arch, kernel=facts.kernel)
    elif not privileged:
        linux["seccomp"] = seccomp.default(capabilities=held, arch=facts.arch, kernel=facts.kernel)
    return linux
