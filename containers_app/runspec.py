"""What people type into the Run form -> the Engine API's create body. Pure; every error names the line.

Spec: Docker API 1.47, ContainerCreate; the notations are those of ``docker run``.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator
from typing import Any

from django.utils.translation import gettext as _

PORT_MAX = 65535
PORTS_MAX = 1000  # one range may not become a body of megabytes
PROTOCOLS = ("tcp", "udp", "sctp")
UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
RESTART_NAMES = ("no", "always", "unless-stopped", "on-failure")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def lines(text: str) -> Iterator[str]:
    """The lines that say something."""
    for line in text.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            yield line.strip()


def parse_env(text: str) -> list[str]:
    """KEY=VALUE lines, also those of a pasted .env file: ``export`` and one pair of quotes are taken off.

    Raises: ValueError naming the line.
    """
    found: dict[str, str] = {}
    for line in lines(text):
        key, equals, value = line.removeprefix("export ").partition("=")
        key = key.strip()
        if not key or any(sign.isspace() for sign in key) or "\0" in line:
            raise ValueError(_("“%(line)s” is not KEY=VALUE") % {"line": line})
        if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        found[key] = f"{key}={value}" if equals else key
    return list(found.values())


def parse_labels(text: str) -> dict[str, str]:
    """KEY=VALUE lines; a bare KEY has an empty value.

    Raises: ValueError naming the line.
    """
    found = {}
    for line in lines(text):
        key, _equals, value = line.partition("=")
        if not key.strip():
            raise ValueError(_("“%(line)s” is not KEY=VALUE") % {"line": line})
        found[key.strip()] = value
    return found


def parse_words(text: str) -> list[str]:
    """A command line as the shell would cut it.

    Raises: ValueError for a quote that is never closed.
    """
    try:
        return shlex.split(text)
    except ValueError:
        raise ValueError(_("a quotation mark is never closed")) from None


def parse_size(text: str) -> int:
    """ "512m", "1.5g" or plain bytes as a number of bytes.

    Raises: ValueError.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(_("“%(text)s” is not a size such as 512m or 2g") % {"text": text.strip()})
    return int(float(found[1]) * UNITS[found[2].lower()])


def parse_restart(text: str) -> dict[str, Any]:
    """ "no", "always", "unless-stopped", "on-failure" or "on-failure:5".

    Raises: ValueError.
    """
    name, colon, count = text.strip().partition(":")
    if name not in RESTART_NAMES or (colon and (name != "on-failure" or not count.isdigit())):
        raise ValueError(_("“%(text)s” is not a restart policy") % {"text": text.strip()})
    return {"Name": name, "MaximumRetryCount": int(count) if colon else 0}


def parse_ports(text: str) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    """[ip:][host:]container[/protocol] lines, ranges allowed -> (ExposedPorts, PortBindings).

    Raises: ValueError naming the line.
    """
    exposed: dict[str, Any] = {}
    bindings: dict[str, list[dict[str, str]]] = {}
    for line in lines(text):
        for port, ip, public in _published(line):
            exposed[port] = {}
            bindings.setdefault(port, []).append({"HostIp": ip, "HostPort": public})
            if len(exposed) > PORTS_MAX:
                raise ValueError(_("more than %(n)d ports") % {"n": PORTS_MAX})
    return exposed, bindings


def _published(line: str) -> Iterator[tuple[str, str, str]]:
    """("80/tcp", ip, public port) for each port of a line; public "" lets the engine choose."""
    rest, slash, protocol = line.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol not in PROTOCOLS:
        raise ValueError(
            _("“%(line)s”: the protocol is one of %(all)s") % {"line": line, "all": ", ".join(PROTOCOLS)}
        )
    ip, host = "", ""
    if rest.startswith("["):
        ip, _bracket, rest = rest[1:].partition("]:")
    parts = rest.split(":")
    if len(parts) == 3 and not ip:
        ip, host, inside = parts
    elif len(parts) == 2:
        host, inside = parts
    elif len(parts) == 1:
        inside = parts[0]
    else:
        raise ValueError(_("“%(line)s” is not [address:][host port:]container port") % {"line": line})
    if ip:
        try:
            ipaddress.ip_address(ip)
        except ValueError:
            raise ValueError(_("“%(line)s”: %(ip)s is not an address") % {"line": line, "ip": ip}) from None
    first, last = _range(inside, line)
    if not host:
        for number in range(first, last + 1):
            yield f"{number}/{protocol}", ip, ""
        return
    low, high = _range(host, line, zero=True)
    if high - low == last - first:
        for offset in range(last - first + 1):
            yield f"{first + offset}/{protocol}", ip, str(low + offset)
    elif first == last:
        yield f"{first}/{protocol}", ip, f"{low}-{high}"
    else:
        raise ValueError(_("“%(line)s”: the two ranges differ in length") % {"line": line})


def _range(text: str, line: str, *, zero: bool = False) -> tuple[int, int]:
    found = _PORTS.fullmatch(text.strip())
    if found is None:
        raise ValueError(_("“%(line)s”: “%(text)s” is not a port") % {"line": line, "text": text})
    low, high = int(found[1]), int(found[2] or found[1])
    if not (0 if zero else 1) <= low <= high <= PORT_MAX:
        raise ValueError(_("“%(line)s”: ports go from 1 to 65535") % {"line": line})
    return low, high


def parse_volumes(text: str) -> tuple[list[str], dict[str, Any]]:
    """name:/path[:ro], /host/path:/path[:ro] or a bare /path -> (Binds, Volumes).

    Raises: ValueError naming the line.
    """
    binds: list[str] = []
    anonymous: dict[str, Any] = {}
    for line in lines(text):
        parts = line.split(":")
        if len(parts) == 1:
            if not line.startswith("/"):
                raise ValueError(_("“%(line)s”: the path in the container starts with /") % {"line": line})
            anonymous[line] = {}
            continue
        if len(parts) > 3 or not parts[0]:
            raise ValueError(_("“%(line)s” is not source:/path[:options]") % {"line": line})
        if not parts[1].startswith("/"):
            raise ValueError(_("“%(line)s”: the path in the container starts with /") % {"line": line})
        if not parts[0].startswith("/") and NAME.fullmatch(parts[0]) is None:
            raise ValueError(
                _("“%(line)s”: the source is a volume's name or a path that starts with /") % {"line": line}
            )
        binds.append(line)
    return binds, anonymous


def create_body(fields: dict[str, Any]) -> dict[str, Any]:
    """The body of POST /containers/create from a form's cleaned, parsed fields; empty ones are left out,
    so that the image's own settings hold."""
    exposed, bindings = fields.get("ports") or ({}, {})
    binds, volumes = fields.get("volumes") or ([], {})
    host: dict[str, Any] = {
        "AutoRemove": bool(fields.get("auto_remove")),
        "RestartPolicy": fields.get("restart") or {"Name": "no", "MaximumRetryCount": 0},
    }
    if bindings:
        host["PortBindings"] = bindings
    if binds:
        host["Binds"] = binds
    if fields.get("network"):
        host["NetworkMode"] = fields["network"]
    if fields.get("memory"):
        host["Memory"] = fields["memory"]
    if fields.get("cpus"):
        host["NanoCpus"] = int(fields["cpus"] * 10**9)
    if fields.get("pids"):
        host["PidsLimit"] = fields["pids"]
    tty, stdin = bool(fields.get("tty")), bool(fields.get("open_stdin"))
    body: dict[str, Any] = {
        "Image": fields["image"],
        "Tty": tty,
        "OpenStdin": stdin,
        "HostConfig": host,
    }
    if fields.get("command"):
        body["Cmd"] = fields["command"]
    if fields.get("entrypoint"):
        body["Entrypoint"] = fields["entrypoint"]
    if fields.get("env"):
        body["Env"] = fields["env"]
    if fields.get("labels"):
        body["Labels"] = fields["labels"]
    if exposed:
        body["ExposedPorts"] = exposed
    if volumes:
        body["Volumes"] = volumes
    for key, name in (("WorkingDir", "workdir"), ("User", "user"), ("Hostname", "hostname")):
        if fields.get(name):
            body[key] = fields[name]
    return body


def initial_of(container: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """The Run form's fields that would make this container again; what its image says anyway is left out.

    ``container`` and ``image`` are inspect documents; an unknown image is an empty one.
    """
    config, host = container.get("Config") or {}, container.get("HostConfig") or {}
    defaults = image.get("Config") or {}
    own_env = [entry for entry in config.get("Env") or () if entry not in (defaults.get("Env") or ())]
    own_labels = {
        key: value
        for key, value in (config.get("Labels") or {}).items()
        if (defaults.get("Labels") or {}).get(key) != value
    }
    policy = host.get("RestartPolicy") or {}
    restart = policy.get("Name") or "no"
    if restart == "on-failure" and policy.get("MaximumRetryCount"):
        restart += f":{policy['MaximumRetryCount']}"
    hostname = config.get("Hostname") or ""
    network = host.get("NetworkMode") or ""
    fields = {
        "image": config.get("Image") or "",
        "command": shlex.join(config.get("Cmd") or ()) if config.get("Cmd") != defaults.get("Cmd") else "",
        "entrypoint": shlex.join(config.get("Entrypoint") or ())
        if config.get("Entrypoint") != defaults.get("Entrypoint")
        else "",
        "env": "\n".join(own_env),
        "ports": "\n".join(_port_lines(host.get("PortBindings") or {})),
        "volumes": "\n".join([*(host.get("Binds") or ()), *(config.get("Volumes") or ())]),
        "network": "" if network in ("default", "bridge") else network,
        "workdir": _unless_same(config, defaults, "WorkingDir"),
        "user": _unless_same(config, defaults, "User"),
        "hostname": "" if str(container.get("Id", "")).startswith(hostname) else hostname,
        "labels": "\n".join(f"{key}={value}" for key, value in own_labels.items()),
        "tty": bool(config.get("Tty")),
        "open_stdin": bool(config.get("OpenStdin")),
        "auto_remove": bool(host.get("AutoRemove")),
        "memory": _size_text(int(host.get("Memory") or 0)),
        "cpus": f"{int(host.get('NanoCpus') or 0) / 10**9:g}" if host.get("NanoCpus") else "",
        "pids": host.get("PidsLimit") or "",
        "restart": restart,
    }
    return {key: value for key, value in fields.items() if value not in ("", None)}


def _unless_same(config: dict[str, Any], defaults: dict[str, Any], key: str) -> str:
    value = str(config.get(key) or "")
    return "" if value == str(defaults.get(key) or "") else value


def _port_lines(bindings: dict[str, Any]) -> Iterator[str]:
    for port, published in bindings.items():
        number, _slash, protocol = str(port).partition("/")
        inside = number if protocol in ("", "tcp") else f"{number}/{protocol}"
        for one in published or ():
            ip, public = str(one.get("HostIp") or ""), str(one.get("HostPort") or "")
            ip = f"[{ip}]" if ":" in ip else ip
            yield ":".join([ip, public, inside] if ip else [public, inside] if public else [inside])


def _size_text(size: int) -> str:
    for unit, factor in (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size) if size else ""
