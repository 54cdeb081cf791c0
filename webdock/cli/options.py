"""The options of ``run`` and ``create``, and the body of POST /containers/create they make; pure but for
files that options name.

Spec: Docker API 1.47, ContainerCreate; the option texts follow the docker command line.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from webdock.cli.endpoints import endpoint_settings, networks_of, ports
from webdock.cli.errors import USAGE, Failure
from webdock.cli.limits import resources
from webdock.cli.mounts import mount_option, volume_options
from webdock.cli.pairs import duration_ns, environment, pairs


def container_body(options: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    """The request of ``options``; ``image`` and ``command`` are among them.

    Raises:
        Failure: for a value that is no such value, named with its option.
    """
    attached = attached_streams(options)
    exposed, bindings = ports(options.publish, options.expose)
    volumes, binds = volume_options(options.volume)
    networks = networks_of(options)
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
        "NetworkMode": networks[0][0],
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
        "Isolation": options.isolation,
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


def restart_policy(text: str) -> dict[str, Any]:
    """``on-failure:3`` -> {"Name": "on-failure", "MaximumRetryCount": 3}."""
    name, colon, count = text.partition(":")
    if colon and not count.isdigit():
        raise Failure(f"--restart: {text!r}: write on-failure:NUMBER", USAGE)
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


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
