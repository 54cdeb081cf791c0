"""The notations of the Run form that take whole lines -> parts of a create body. Pure; errors name the line.

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
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "t": "\t"}  # the backslash first
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
        found[key] = f"{key}={unquoted(value)}" if equals else key
    return list(found.values())


def unquoted(value: str) -> str:
    """Without one pair of quotation marks; in double ones, \\n and its like are what they stand for."""
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "\"'":
        return value
    if value[0] == "'":
        return value[1:-1]
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[0]), value[1:-1])


def quoted(value: str) -> str:
    """The value as ``unquoted`` reads it back, in double marks only where it must be."""
    plain = value == value.strip() and not any(
        sign in value for sign in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
    )
    if plain and unquoted(value) == value:
        return value
    text = value
    for name, sign in _ESCAPED.items():
        text = text.replace(sign, f"\\{name}")
    return f'"{text}"'


def parse_labels(text: str) -> dict[str, str]:
    """KEY=VALUE lines; a bare KEY has an empty value.

    Raises: ValueError naming the line.
    """
    found = {}
    for line in lines(text):
        key, _equals, value = line.partition("=")
        if not key.strip() or "\0" in line:
            raise ValueError(_("“%(line)s” is not KEY=VALUE") % {"line": line})
        found[key.strip()] = unquoted(value)
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


def size_text(size: Any) -> str:
    """Bytes as ``parse_size`` reads them: "512m"."""
    size = int(size or 0)
    for unit, factor in (("g", 1 << 30), ("m", 1 << 20), ("k", 1 << 10)):
        if size > 0 and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size) if size else ""


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
