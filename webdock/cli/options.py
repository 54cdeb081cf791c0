"""The options of ``run`` and ``create``, and the body of POST /containers/create they make; pure but for
files that options name.

Spec: Docker API 1.47, ContainerCreate; the option texts follow the docker command line.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from webdock.cli.errors import Failure
from webdock.cli.output import parse_size

USAGE = 125
NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def container_options(parser: argparse.ArgumentParser) -> None:
    """Everything that describes a container, without image and command."""

    def text(*flags: str, **more: Any) -> None:
        parser.add_argument(*flags, **more)

    def many(*flags: str, **more: Any) -> None:
        parser.add_argument(*flags, action="append", default=[], **more)

    def switch(*flags: str, **more: Any) -> None:
        parser.add_argument(*flags, action="store_true", **more)

    text("--name", help="name of the container")
    switch("-i", "--interactive", help="keep its standard input open")
    switch("-t", "--tty", help="give it a terminal")
    many(
        "-a", "--attach", metavar="STREAM", choices=["stdin", "stdout", "stderr", "STDIN", "STDOUT", "STDERR"]
    )
    switch("--rm", help="remove it when it has ended")
    many("-e", "--env", metavar="KEY=VALUE", help="set a variable; without =VALUE it is copied from here")
    many("--env-file", metavar="FILE", help="variables, one a line")
    text("-w", "--workdir", metavar="DIR", help="working directory")
    text("-u", "--user", metavar="USER[:GROUP]", help="whom the command runs as")
    many("--group-add", metavar="GROUP")
    many("-l", "--label", metavar="KEY=VALUE", help="set a label")
    many("--label-file", metavar="FILE", help="labels, one a line")
    many("--annotation", metavar="KEY=VALUE")
    text("-h", "--hostname", metavar="NAME", help="its host name")
    text("--domainname", metavar="NAME")
    text("--entrypoint", metavar="COMMAND", help="replaces the image's entry point; empty for none")
    text("--restart", metavar="POLICY", default="", help="no, always, unless-stopped or on-failure[:N]")
    text("--stop-signal", metavar="SIGNAL")
    text("--stop-timeout", type=int, metavar="SECONDS")
    switch("--init", help="run a small init that collects dead processes")
    # limits
    text("-m", "--memory", metavar="SIZE", help="limit of memory, like 512m")
    text("--memory-swap", metavar="SIZE", help="limit of memory and swap together; -1 for any amount")
    text("--memory-reservation", metavar="SIZE")
    text("--cpus", metavar="NUMBER", help="how many processors' worth of time, like 1.5")
    text("-c", "--cpu-shares", type=int, metavar="WEIGHT")
    text("--cpu-period", type=int)
    text("--cpu-quota", type=int)
    text("--cpuset-cpus", metavar="LIST", help="the processors it may use, like 0-1")
    text("--cpuset-mems", metavar="LIST")
    text("--pids-limit", type=int, metavar="NUMBER", help="limit of processes; -1 for any number")
    text("--blkio-weight", type=int)
    text("--shm-size", metavar="SIZE", help="size of /dev/shm")
    many("--ulimit", metavar="NAME=SOFT[:HARD]", help="limits per process, like nofile=1024")
    text("--oom-score-adj", type=int)
    switch("--oom-kill-disable")
    # network
    many("-p", "--publish", metavar="[[IP:]HOST:]PORT[/PROTO]", help="publish a port on this machine")
    switch("-P", "--publish-all", help="publish every exposed port on a free one")
    many("--expose", metavar="PORT[/PROTO]")
    many("--network", "--net", metavar="NETWORK", help="network, none, host or container:NAME")
    many("--network-alias", "--net-alias", metavar="NAME")
    text("--ip", metavar="ADDRESS")
    text("--ip6", metavar="ADDRESS")
    text("--mac-address", metavar="ADDRESS")
    many("--link", metavar="CONTAINER[:ALIAS]")
    many("--dns", metavar="ADDRESS")
    many("--dns-search", metavar="DOMAIN")
    many("--dns-option", metavar="OPTION")
    many("--add-host", metavar="NAME:ADDRESS")
    # files
    many("-v", "--volume", metavar="SOURCE:PATH[:OPTIONS]", help="mount a volume or directory")
    many("--mount", metavar="KEY=VALUE,…", help="type=bind|volume|tmpfs,source=…,target=…")
    many("--tmpfs", metavar="PATH[:OPTIONS]")
    many("--volumes-from", metavar="CONTAINER")
    text("--volume-driver", metavar="DRIVER")
    switch("--read-only", help="mount the root file system read-only")
    many("--device", metavar="PATH[:PATH[:RIGHTS]]")
    many("--storage-opt", metavar="KEY=VALUE")
    # rights
    switch("--privileged", help="give every right; as good as being root on this machine")
    many("--cap-add", metavar="CAPABILITY")
    many("--cap-drop", metavar="CAPABILITY")
    many("--security-opt", metavar="OPTION")
    text("--userns", default="", metavar="MODE")
    text("--pid", default="", metavar="MODE")
    text("--ipc", default="", metavar="MODE")
    text("--uts", default="", metavar="MODE")
    text("--cgroupns", default="", metavar="MODE")
    text("--cgroup-parent", default="", metavar="PATH")
    many("--sysctl", metavar="KEY=VALUE")
    text("--runtime", metavar="NAME", default="")
    # health
    text("--health-cmd", metavar="COMMAND")
    text("--health-interval", metavar="TIME")
    text("--health-timeout", metavar="TIME")
    text("--health-start-period", metavar="TIME")
    text("--health-start-interval", metavar="TIME")
    text("--health-retries", type=int, metavar="N")
    switch("--no-healthcheck")
    # logs
    text("--log-driver", metavar="DRIVER", default="")
    many("--log-opt", metavar="KEY=VALUE")
    # the image
    text("--platform", metavar="OS/ARCH")
    text("--pull", choices=["always", "missing", "never"], default="missing")
    switch("-q", "--quiet", help="no progress while the image is fetched")
    text("--cidfile", metavar="FILE", help="write the id there")


def container_body(options: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    """The request of ``options``; ``image`` and ``command`` are among them.

    Raises:
        Failure: for a value that is no such value, named with its option.
    """
    attached = attached_streams(options)
    exposed, bindings = ports(options.publish, options.expose)
    volumes, binds = volume_options(options.volume)
    networks = options.network or ["default"]
    config: dict[str, Any] = {
        "Hostname": options.hostname or "",
        "Domainname": options.domainname or "",
        "User": options.user or "",
        "AttachStdin": "stdin" in attached,
        "AttachStdout": "stdout" in attached,
        "AttachStderr": "stderr" in attached,
        "Tty": options.tty,
        "OpenStdin": options.interactive,
        "StdinOnce": "stdin" in attached,
        "Env": environment(options.env, options.env_file, environ),
        "Cmd": options.command or None,
        "Image": options.image,
        "WorkingDir": options.workdir or "",
        "Labels": pairs(options.label, options.label_file, "--label"),
        "ExposedPorts": exposed,
        "Volumes": volumes,
    }
    if options.entrypoint is not None:
        config["Entrypoint"] = [options.entrypoint] if options.entrypoint else [""]
    if options.stop_signal:
        config["StopSignal"] = options.stop_signal
    if options.stop_timeout is not None:
        config["StopTimeout"] = options.stop_timeout
    if options.mac_address:
        config["MacAddress"] = options.mac_address
    if health := health_check(options):
        config["Healthcheck"] = health
    config["HostConfig"] = {
        **resources(options),
        "AutoRemove": options.rm,
        "Binds": binds,
        "Mounts": [mount_option(text) for text in options.mount],
        "Tmpfs": dict(text.partition(":")[::2] for text in options.tmpfs),
        "VolumesFrom": options.volumes_from,
        "VolumeDriver": options.volume_driver or "",
        "ReadonlyRootfs": options.read_only,
        "StorageOpt": pairs(options.storage_opt, [], "--storage-opt"),
        "PortBindings": bindings,
        "PublishAllPorts": options.publish_all,
        "NetworkMode": networks[0],
        "Links": options.link,
        "Dns": options.dns,
        "DnsSearch": options.dns_search,
        "DnsOptions": options.dns_option,
        "ExtraHosts": options.add_host,
        "RestartPolicy": restart_policy(options.restart),
        "Init": options.init or None,
        "Privileged": options.privileged,
        "CapAdd": options.cap_add,
        "CapDrop": options.cap_drop,
        "SecurityOpt": [security_option(text) for text in options.security_opt],
        "GroupAdd": options.group_add,
        "UsernsMode": options.userns,
        "PidMode": options.pid,
        "IpcMode": options.ipc,
        "UTSMode": options.uts,
        "CgroupnsMode": options.cgroupns,
        "CgroupParent": options.cgroup_parent,
        "Sysctls": pairs(options.sysctl, [], "--sysctl"),
        "Annotations": pairs(options.annotation, [], "--annotation"),
        "Runtime": options.runtime,
        "LogConfig": {"Type": options.log_driver, "Config": pairs(options.log_opt, [], "--log-opt")},
    }
    if endpoints := endpoint_settings(options, networks):
        config["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return config


def attached_streams(options: argparse.Namespace) -> set[str]:
    """Which streams ``run`` copies: what -a says, else all of them unless detached."""
    if options.attach:
        return {name.lower() for name in options.attach}
    if getattr(options, "detach", False):
        return set()
    return {"stdout", "stderr"} | ({"stdin"} if options.interactive else set())


# -- single options ----------------------------------------------------------------------------------------


def resources(options: argparse.Namespace) -> dict[str, Any]:
    """Limits, as ``run`` and ``update`` share them; only those that were given."""
    given: dict[str, Any] = {}
    sizes = {"memory": "Memory", "memory_reservation": "MemoryReservation", "shm_size": "ShmSize"}
    for name, key in sizes.items():
        if value := getattr(options, name, None):
            given[key] = parse_size(value, f"--{name.replace('_', '-')}")
    if swap := getattr(options, "memory_swap", None):
        given["MemorySwap"] = -1 if swap == "-1" else parse_size(swap, "--memory-swap")
    if cpus := getattr(options, "cpus", None):
        given["NanoCpus"] = nano_cpus(cpus)
    plain = {
        "cpu_shares": "CpuShares",
        "cpu_period": "CpuPeriod",
        "cpu_quota": "CpuQuota",
        "cpuset_cpus": "CpusetCpus",
        "cpuset_mems": "CpusetMems",
        "pids_limit": "PidsLimit",
        "blkio_weight": "BlkioWeight",
        "oom_score_adj": "OomScoreAdj",
    }
    for name, key in plain.items():
        if (value := getattr(options, name, None)) is not None:
            given[key] = value
    if getattr(options, "oom_kill_disable", False):
        given["OomKillDisable"] = True
    if limits := getattr(options, "ulimit", None):
        given["Ulimits"] = [ulimit(text) for text in limits]
    if devices := getattr(options, "device", None):
        given["Devices"] = [device(text) for text in devices]
    return given


def nano_cpus(text: str) -> int:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Failure(f"--cpus: {text!r} is no number; write 1.5", USAGE) from None
    if value <= 0 or not value.is_finite():
        raise Failure(f"--cpus: {text!r} must be more than 0", USAGE)
    return int(value * 10**9)


def environment(given: Sequence[str], files: Sequence[str], environ: Mapping[str, str]) -> list[str]:
    """Files first, then -e in its order; a bare name is copied from here, or left out when unset here."""
    result = []
    for text in [*(line for name in files for line in read_lines(name, "--env-file")), *given]:
        name, equals, _ = text.partition("=")
        if not name:
            raise Failure(f"-e: {text!r} has no name; write KEY=VALUE", USAGE)
        if equals:
            result.append(text)
        elif name in environ:
            result.append(f"{name}={environ[name]}")
    return result


def pairs(given: Sequence[str], files: Sequence[str], option: str) -> dict[str, str]:
    """``["a=b", "c"]`` -> {"a": "b", "c": ""}."""
    result = {}
    for text in [*(line for name in files for line in read_lines(name, option)), *given]:
        key, _, value = text.partition("=")
        if not key:
            raise Failure(f"{option}: {text!r} has no name; write KEY=VALUE", USAGE)
        result[key] = value
    return result


def read_lines(path: str, option: str) -> list[str]:
    """The lines of a file of pairs, without comments and empty ones."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.strip("\r\n") for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{option} {path}: {getattr(error, 'strerror', None) or error}", USAGE) from None
    return [line.lstrip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


_PUBLISH = re.compile(
    r"(?:(?:(?P<ip>\[[^\]]+\]|[\d.]+):)?(?P<host>\d+(?:-\d+)?)?:)?(?P<inside>\d+(?:-\d+)?)(?:/(?P<proto>\w+))?$"
)


def ports(
    published: Sequence[str], exposed: Sequence[str]
) -> tuple[dict[str, dict[str, str]], dict[str, list[dict[str, str]]]]:
    """ExposedPorts and PortBindings of ``-p`` and ``--expose``; ranges become single ports.

    ``-p 8080-8081:80-81`` -> {"80/tcp": {}, …}, {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], …}
    """
    all_exposed: dict[str, dict[str, str]] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for text in exposed:
        range_text, _, protocol = text.partition("/")
        for port in span(range_text, text):
            all_exposed[f"{port}/{protocol or 'tcp'}"] = {}
    for text in published:
        match = _PUBLISH.match(text)
        if not match:
            raise Failure(f"-p: {text!r} is no port; write [[IP:]HOST:]PORT[/tcp|udp]", USAGE)
        inside = span(match["inside"], text)
        outside: list[str] = [""] * len(inside)
        if match["host"]:
            chosen = span(match["host"], text)
            if len(chosen) == len(inside):
                outside = [str(port) for port in chosen]
            elif len(inside) == 1:
                outside = [match["host"]]  # any one of the range
            else:
                raise Failure(f"-p: {text!r} has ranges of different length", USAGE)
        for port, host in zip(inside, outside, strict=True):
            key = f"{port}/{(match['proto'] or 'tcp').lower()}"
            all_exposed[key] = {}
            address = (match["ip"] or "").strip("[]")
            bindings.setdefault(key, []).append({"HostIp": address, "HostPort": host})
    return all_exposed, bindings


def span(text: str, whole: str) -> range:
    """``80-82`` -> 80, 81, 82."""
    first, _, last = text.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise Failure(f"{whole!r} is no port", USAGE)
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 65535:
        raise Failure(f"{whole!r} is no port: ports are 1 to 65535", USAGE)
    return range(low, high + 1)


def volume_options(given: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Anonymous volumes (``/path``), and Binds (all that have a source; relative ones become absolute)."""
    volumes: dict[str, dict[str, str]] = {}
    binds = []
    for text in given:
        source, colon, rest = text.partition(":")
        if not colon:
            volumes[source] = {}
            continue
        if source.startswith((".", "~")):
            source = os.path.abspath(os.path.expanduser(source))
        binds.append(f"{source}:{rest}")
    return volumes, binds


def mount_option(text: str) -> dict[str, Any]:
    """``type=bind,source=/srv,target=/data,readonly`` -> one entry of Mounts."""
    names = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
    mount: dict[str, Any] = {"Type": "volume"}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        key = names.get(key.strip().lower(), key.strip().lower())
        yes = not equals or value.lower() in ("true", "1")
        if key == "type":
            mount["Type"] = value
        elif key == "source":
            mount["Source"] = os.path.abspath(value) if value.startswith(".") else value
        elif key == "target":
            mount["Target"] = value
        elif key == "readonly":
            mount["ReadOnly"] = yes
        elif key == "bind-propagation":
            mount.setdefault("BindOptions", {})["Propagation"] = value
        elif key == "bind-nonrecursive":
            mount.setdefault("BindOptions", {})["NonRecursive"] = yes
        elif key == "volume-nocopy":
            mount.setdefault("VolumeOptions", {})["NoCopy"] = yes
        elif key == "volume-label":
            name, _, content = value.partition("=")
            mount.setdefault("VolumeOptions", {}).setdefault("Labels", {})[name] = content
        elif key == "tmpfs-size":
            mount.setdefault("TmpfsOptions", {})["SizeBytes"] = parse_size(value, "--mount tmpfs-size")
        elif key == "tmpfs-mode":
            if not re.fullmatch("[0-7]{3,4}", value):
                raise Failure(f"--mount tmpfs-mode: {value!r} is no mode; write 1777", USAGE)
            mount.setdefault("TmpfsOptions", {})["Mode"] = int(value, 8)
        else:
            raise Failure(f"--mount: {key!r} is not known", USAGE)
    if "Target" not in mount:
        raise Failure(f"--mount: {text!r} has no target", USAGE)
    return mount


def restart_policy(text: str) -> dict[str, Any]:
    """``on-failure:3`` -> {"Name": "on-failure", "MaximumRetryCount": 3}."""
    name, colon, count = text.partition(":")
    if colon and not count.isdigit():
        raise Failure(f"--restart: {text!r}: write on-failure:NUMBER", USAGE)
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def ulimit(text: str) -> dict[str, Any]:
    """``nofile=1024:2048`` -> {"Name": …, "Soft": …, "Hard": …}."""
    match = re.fullmatch(r"(\w+)=(-?\d+)(?::(-?\d+))?", text)
    if not match:
        raise Failure(f"--ulimit: {text!r}: write NAME=SOFT[:HARD]", USAGE)
    return {"Name": match[1], "Soft": int(match[2]), "Hard": int(match[3] or match[2])}


def device(text: str) -> dict[str, str]:
    """``/dev/fuse:/dev/fuse:rwm`` -> one entry of Devices."""
    outside, *rest = text.split(":")
    inside, rights = outside, "rwm"
    if rest and re.fullmatch("[rwm]+", rest[-1]):
        rights = rest.pop()
    if rest:
        inside = rest[0]
    return {"PathOnHost": outside, "PathInContainer": inside, "CgroupPermissions": rights}


def security_option(text: str) -> str:
    """A seccomp profile is sent as its content: the engine may be on another machine."""
    kind, separator, value = text.partition("=")
    if not separator:
        kind, separator, value = text.partition(":")
    if kind != "seccomp" or value in ("unconfined", "builtin"):
        return text
    try:
        with open(value, encoding="utf-8") as file:
            return f"seccomp={file.read()}"
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Failure(f"--security-opt seccomp: {value}: {reason}", USAGE) from None


def health_check(options: argparse.Namespace) -> dict[str, Any] | None:
    """The Healthcheck the options describe, None when they say nothing about it."""
    if options.no_healthcheck:
        return {"Test": ["NONE"]}
    check: dict[str, Any] = {}
    if options.health_cmd:
        check["Test"] = ["CMD-SHELL", options.health_cmd]
    for name, key in (
        ("health_interval", "Interval"),
        ("health_timeout", "Timeout"),
        ("health_start_period", "StartPeriod"),
        ("health_start_interval", "StartInterval"),
    ):
        if value := getattr(options, name):
            check[key] = duration_ns(value, f"--{name.replace('_', '-')}")
    if options.health_retries is not None:
        check["Retries"] = options.health_retries
    return check or None


def duration_ns(text: str, option: str) -> int:
    """Go's durations: ``1m30s`` -> 90000000000."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    if not parts or "".join(a + b for a, b in parts) != text:
        raise Failure(f"{option}: {text!r} is no time; write 30s or 1m30s", USAGE)
    return int(sum(Decimal(number) * NANOSECONDS[unit] for number, unit in parts))


def endpoint_settings(options: argparse.Namespace, networks: Sequence[str]) -> dict[str, Any]:
    """Per network what the options ask of it; nothing for the modes that are no network."""
    endpoints: dict[str, Any] = {}
    for position, network in enumerate(networks):
        first = position == 0
        settings: dict[str, Any] = {}
        if first and options.network_alias:
            settings["Aliases"] = options.network_alias
        if first and (options.ip or options.ip6):
            settings["IPAMConfig"] = {"IPv4Address": options.ip or "", "IPv6Address": options.ip6 or ""}
        if first and options.mac_address:
            settings["MacAddress"] = options.mac_address
        if settings or len(networks) > 1:
            endpoints[network] = settings
    return endpoints
