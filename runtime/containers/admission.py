"""What of a create body the OCI side accepts, and in which mode it will run; pure.

Spec: Docker API 1.47 ContainerCreate; messages as Docker's, since clients show and match them.
"""

from __future__ import annotations

from typing import Any

from runtime.api.errors import InvalidArgument, NotSupported
from runtime.containers import capabilities, health, resources
from runtime.containers.devices import cgroup_rule
from runtime.containers.facts import HostFacts
from runtime.containers.limits import rlimits, sysctls
from runtime.containers.mounts import container_mounts
from runtime.containers.security import security_options

HOSTNAME_BYTES = 64
STEP_BYTES = 255  # of a name in a cgroup's path
PATH_BYTES = 1024  # of such a path
RUNTIMES = ("", "crun", "runc", "io.containerd.runc.v2")


def check(config: dict[str, Any], host_config: dict[str, Any], facts: HostFacts) -> list[str]:
    """Everything in these bodies that belongs to the OCI side, at create time; gives Docker's warnings.

    Fields that Docker discards with a warning are reset in `host_config`.
    Raises: InvalidArgument in Docker's words, NotSupported for what no machine of this kind can do.
    """
    warnings = resources.check_resources(host_config, facts, update=False)
    warnings += _healthcheck(config)
    if len(config.get("Hostname") or "") > HOSTNAME_BYTES:
        raise InvalidArgument(
            f"invalid hostname: {config['Hostname']!r} is longer than {HOSTNAME_BYTES} bytes"
        )
    if (config.get("WorkingDir") or "/")[0] != "/":
        raise InvalidArgument(
            f"the working directory '{config['WorkingDir']}' is invalid, it needs to be an absolute path"
        )
    capabilities.resolve(
        add=host_config.get("CapAdd"),
        drop=host_config.get("CapDrop"),
        privileged=bool(host_config.get("Privileged")),
        available=facts.capabilities,
    )
    rlimits(host_config)
    security_options(host_config, facts)
    _modes(host_config)
    sysctls(host_config, own_ipc=owns(host_config, "IpcMode"), own_network=owns(host_config, "NetworkMode"))
    for rule in host_config.get("DeviceCgroupRules") or ():
        cgroup_rule(rule)
    check_cgroup_parent(host_config)
    check_annotations(host_config)
    _unsupported(host_config)
    container_mounts(host_config, resolved=(), privileged=False, mapping=None, cgroup_namespace=False)
    return warnings


def _healthcheck(config: dict[str, Any]) -> list[str]:
    kind = next(iter((config.get("Healthcheck") or {}).get("Test") or ()), "NONE")
    if kind in ("", "NONE", *health.COMMANDS):
        return []
    return [f"Unknown healthcheck type {kind[:40]!r} (expected 'CMD'): there will be no health check."]


def userns_mode(host_config: dict[str, Any], default: str) -> tuple[str, str]:
    """Whether a container runs mapped or with host ids, and why: ("host", "it is privileged").

    default: the engine's, "auto" or "host". A container that shares a namespace of another must run as that
    one does: ask for the other instead.
    """
    if default != "auto":
        return "host", "the engine is told so"
    if host_config.get("UsernsMode") == "host":
        return "host", "it was asked for"
    if host_config.get("Privileged"):
        return "host", "it is privileged"
    for field_, name in (
        ("NetworkMode", "network"),
        ("IpcMode", "IPC"),
        ("PidMode", "process"),
        ("UTSMode", "UTS"),
    ):
        if host_config.get(field_) == "host":
            return "host", f"it uses the host's {name} namespace"
    return "auto", ""


def owns(host_config: dict[str, Any], mode: str) -> bool:
    """Whether the container has a namespace of its own of this kind."""
    value = host_config.get(mode) or ""
    return value != "host" and not value.startswith("container:")


def _modes(host_config: dict[str, Any]) -> None:
    for name, allowed in (
        ("IpcMode", ("", "private", "shareable", "host", "none")),
        ("PidMode", ("", "private", "host")),
        ("UTSMode", ("", "private", "host")),
        ("UsernsMode", ("", "host", "private")),
        ("CgroupnsMode", ("", "private", "host")),
    ):
        value = host_config.get(name) or ""
        if value in allowed:
            continue
        if name in ("IpcMode", "PidMode") and value.startswith("container:") and value != "container:":
            continue
        shown = {"IpcMode": "IPC", "PidMode": "PID", "UTSMode": "UTS"}.get(name, name[:-4])
        raise InvalidArgument(f"invalid {shown} mode: {value}")


def check_cgroup_parent(host_config: dict[str, Any]) -> None:
    """Raises: InvalidArgument for what is no path of a group below the root."""
    parent = host_config.get("CgroupParent") or ""
    steps = parent.split("/")
    if (
        any(step in (".", "..") or len(step.encode()) > STEP_BYTES for step in steps)
        or len(parent.encode()) > PATH_BYTES
        or not parent.isprintable()
        or (parent and not parent.strip("/"))
    ):
        raise InvalidArgument(
            f"invalid CgroupParent: {parent[:100]!r} is no path of a control group (no . or .., names of at "
            f"most {STEP_BYTES} bytes, {PATH_BYTES} in all)"
        )


def check_annotations(host_config: dict[str, Any]) -> None:
    """Some of the runtime's own open files or load code on the host as root."""
    for name in host_config.get("Annotations") or {}:
        if not name:
            raise InvalidArgument(
                "invalid Annotations: the empty string is not permitted as an annotation key"
            )
        if name.startswith(("run.oci.", "io.kubernetes.", "org.systemd.")):
            raise InvalidArgument(f"invalid Annotations: {name} is reserved for the engine")


def _unsupported(host_config: dict[str, Any]) -> None:
    if requests := host_config.get("DeviceRequests"):
        kinds = requests[0].get("Capabilities") or []
        driver = requests[0].get("Driver") or ""
        raise NotSupported(f'could not select device driver "{driver}" with capabilities: {kinds}')
    if host_config.get("StorageOpt"):
        raise NotSupported(
            "--storage-opt is supported only for file systems with project quotas, which are not used"
        )
    if (host_config.get("Isolation") or "default") != "default":
        raise InvalidArgument(f'invalid isolation "{host_config["Isolation"]}" on linux')
    if (host_config.get("Runtime") or "") not in RUNTIMES:
        raise InvalidArgument(f"unknown or invalid runtime name: {host_config['Runtime']}")
