"""What is refused about a create request, in Docker's words; pure.

Types and shapes were checked when the request was decoded; what belongs to the OCI runtime (limits,
capabilities, security options, devices) is `spec.check`, networks and ports are the network room's.

Spec: Docker API 1.47, ContainerCreate.
"""

from __future__ import annotations

import ipaddress
import re
import signal
from typing import Any

from runtime.api.errors import InvalidArgument, NotSupported
from runtime.configtable import parse_size

Body = dict[str, Any]

HOSTNAME_BYTES = 64  # __NEW_UTS_LEN
MILLISECOND_NS = 1_000_000
TEXT_BYTES = 128 << 10  # one argument or variable, MAX_ARG_STRLEN
ARGUMENTS_BYTES = 2 << 20  # all of them; the kernel's limit is of this order
LABELS_BYTES = 1 << 20

_NOT_HERE = (
    *("awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "journald", "logentries", "splunk", "syslog"),
)
_FILE_OPTIONS = frozenset(
    ("max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "mode")
)
_POLICIES = ("no", "always", "on-failure", "unless-stopped")
_HOST = re.compile(r"^[^\s:]+$")


def check_config(config: Body) -> None:
    """Raises: InvalidArgument."""
    command = [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
    if not command:
        raise InvalidArgument("no command specified")
    for field in ("Hostname", "Domainname", "User", "WorkingDir", "Image"):
        _no_nul(field, config[field])
    for word in command:
        _no_nul("Cmd", word)
    _check_size("Cmd", [*command, *config["Env"]])
    for entry in config["Env"]:
        _no_nul("Env", entry)
        if not entry.partition("=")[0]:
            raise InvalidArgument(f"invalid environment variable: {entry[:80]}")
    for field in ("Hostname", "Domainname"):
        if len(config[field].encode()) > HOSTNAME_BYTES:
            raise InvalidArgument(f"invalid {field}: longer than {HOSTNAME_BYTES} bytes")
    if config["WorkingDir"] and not config["WorkingDir"].startswith("/"):
        raise InvalidArgument(
            f"the working directory '{config['WorkingDir'][:200]}' is invalid, "
            "it needs to be an absolute path"
        )
    if sum(len(key) + len(value) for key, value in config["Labels"].items()) > LABELS_BYTES:
        raise InvalidArgument(f"invalid Labels: more than {LABELS_BYTES} bytes")
    if config.get("StopSignal"):
        parse_signal(config["StopSignal"])
    if config.get("Healthcheck"):
        check_health(config["Healthcheck"])


def check_health(health: Body) -> None:
    """Raises: InvalidArgument."""
    for field in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = health.get(field, 0)
        if value != 0 and value < MILLISECOND_NS:
            raise InvalidArgument(f"{field} in Healthcheck cannot be less than 1ms")
    if health.get("Retries", 0) < 0:
        raise InvalidArgument("Retries in Healthcheck cannot be negative")
    test = health.get("Test") or []
    if test and test[0] in ("CMD", "CMD-SHELL") and len(test) < 2:
        raise InvalidArgument(f"Healthcheck {test[0]} needs a command")


def parse_signal(text: str) -> int:
    """The number of "TERM", "SIGTERM", "15" or "SIGRTMIN+3". Raises: InvalidArgument in Docker's words."""
    name = text.strip().upper()
    if name.isdecimal():
        number = int(name[:4])
        if 0 < number <= signal.SIGRTMAX:
            return number
        raise InvalidArgument(f"invalid signal: {text[:40]}")
    name = name.removeprefix("SIG")
    if found := re.match(r"^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$", name):
        base = int(signal.SIGRTMIN if found[1] == "MIN" else signal.SIGRTMAX)
        number = base + int(f"{found[2] or '+'}{found[3] or 0}")
        if signal.SIGRTMIN <= number <= signal.SIGRTMAX:
            return number
        raise InvalidArgument(f"invalid signal: {text[:40]}")
    try:
        return int(signal.Signals[f"SIG{name}"])
    except KeyError:
        raise InvalidArgument(f"invalid signal: {text[:40]}") from None


def check_restart_policy(policy: Body, *, auto_remove: bool = False) -> None:
    """Raises: InvalidArgument."""
    name, retries = policy.get("Name") or "no", policy.get("MaximumRetryCount", 0)
    if name not in _POLICIES:
        raise InvalidArgument(
            f"invalid restart policy: unknown policy '{name[:40]}'; "
            "use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        )
    if retries < 0:
        raise InvalidArgument("invalid restart policy: maximum retry count cannot be negative")
    if retries and name != "on-failure":
        raise InvalidArgument(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    if auto_remove and name != "no":
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")


def check_host_config(config: Body, host: Body) -> None:
    """Raises: InvalidArgument, NotSupported."""
    check_restart_policy(host["RestartPolicy"], auto_remove=host["AutoRemove"])
    check_log_config(host["LogConfig"])
    _check_network_mode(config, host)
    for entry in host["ExtraHosts"] or ():
        name, separator, address = entry.partition(":" if "=" not in entry else "=")
        if not separator or not _HOST.match(name):
            raise InvalidArgument(f'bad format for add-host: "{entry[:80]}"')
        if address != "host-gateway" and not _is_address(address):
            raise InvalidArgument(f'invalid IP address in add-host: "{address[:80]}"')
    for address in host["Dns"] or ():
        if not _is_address(address):
            raise InvalidArgument(f"invalid IP address: {address[:80]}")
    if host["Isolation"] not in ("", "default"):
        raise InvalidArgument(f"invalid isolation '{host['Isolation'][:40]}' on linux")
    if len(host["ConsoleSize"]) != 2 or not all(0 <= side <= 65535 for side in host["ConsoleSize"]):
        raise InvalidArgument("invalid ConsoleSize: it is [height, width]")
    if host["Cgroup"]:
        raise NotSupported(
            f"Cgroup {host['Cgroup'][:40]!r}: sharing another container's cgroup is not supported"
        )
    if config.get("Volumes") and host["VolumeDriver"] not in ("", "local"):
        raise NotSupported(f"volume driver {host['VolumeDriver'][:40]!r}: only local volumes exist here")
    for option in host.get("StorageOpt") or ():
        raise NotSupported(f"storage option {option[:40]!r} is not supported by overlay here")
    if host["DeviceRequests"]:
        raise NotSupported("could not select device driver: DeviceRequests (GPUs, CDI) are not supported")


def check_log_config(log: Body) -> None:
    """Raises: InvalidArgument, NotSupported."""
    kind, options = log["Type"], log["Config"]
    if kind in _NOT_HERE:
        raise NotSupported(f"the log driver {kind} is not available here; use json-file, local or none")
    if kind not in ("json-file", "local", "none"):
        raise InvalidArgument(f"logger: no log driver named '{kind[:40]}' is registered")
    if kind == "none":
        return
    for name, value in options.items():
        if name not in _FILE_OPTIONS:
            raise InvalidArgument(f"unknown log opt '{name[:40]}' for {kind} log driver")
        if name == "compress" and value not in ("", "false"):
            raise NotSupported("log option compress: rotated logs are kept uncompressed")
        if name == "mode" and value not in ("", "blocking"):
            raise NotSupported(f"log option mode={value[:40]}: logs are written in blocking mode")
    log_limits(log)


def log_limits(log: Body) -> tuple[int | None, int]:
    """(bytes per file or None for no limit, number of files). Raises: InvalidArgument."""
    options = log["Config"]
    default_size, default_files = ("20m", "5") if log["Type"] == "local" else ("", "1")
    size_text, files_text = options.get("max-size") or default_size, options.get("max-file") or default_files
    size = None
    if size_text and size_text != "-1":
        size = parse_size(size_text)
        if not size:
            raise InvalidArgument(f"invalid log opt max-size: {size_text[:40]!r} is not a size such as 10m")
    if not files_text.isdecimal() or not 1 <= int(files_text[:6]) <= 1000:
        raise InvalidArgument(f"invalid log opt max-file: {files_text[:40]!r} is not a number from 1 to 1000")
    return size, int(files_text)


def joined(mode: str) -> str | None:
    """The container of "container:x"; None for any other mode. Raises: InvalidArgument when x is missing."""
    head, separator, name = mode.partition(":")
    if head != "container" or not separator:
        return None
    if not name:
        raise InvalidArgument("invalid container format container:<name|id>")
    return name


def _check_network_mode(config: Body, host: Body) -> None:
    mode = host["NetworkMode"]
    if mode.startswith("container") and ":" not in mode and mode == "container":
        raise InvalidArgument("invalid container format container:<name|id>")
    shared = joined(mode) is not None
    if host["UTSMode"] not in ("", "host"):
        raise InvalidArgument(f"invalid UTS mode: {host['UTSMode'][:40]}")
    if host["UTSMode"] == "host" and config["Hostname"]:
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    if shared and config["Hostname"]:
        raise InvalidArgument("conflicting options: hostname and the network mode")
    if host["Links"] and (shared or mode == "host"):
        kind = "container" if shared else "host"
        raise InvalidArgument(
            f"conflicting options: {kind} type networking can't be used with links. "
            "This would result in undefined behavior"
        )
    if not shared:
        return
    for field, what in (
        ("Dns", "dns and the network mode"),
        ("ExtraHosts", "custom host-to-IP mapping and the network mode"),
        ("PortBindings", "port publishing and the container type network mode"),
        ("PublishAllPorts", "port publishing and the container type network mode"),
    ):
        if host[field]:
            raise InvalidArgument(f"conflicting options: {what}")
    if config.get("MacAddress"):
        raise InvalidArgument("conflicting options: mac-address and the network mode")


def _no_nul(field: str, text: str) -> None:
    if "\0" in text:
        raise InvalidArgument(f"invalid {field}: it contains a NUL byte")


def _check_size(field: str, words: list[str]) -> None:
    sizes = [len(word.encode()) for word in words]
    if any(size >= TEXT_BYTES for size in sizes) or sum(sizes) > ARGUMENTS_BYTES:
        raise InvalidArgument(f"invalid {field}: argument list too long")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
