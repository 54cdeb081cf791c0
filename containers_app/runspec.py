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
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")


def lines(text: str) -> Iterator[str]:
    """The lines that say something."""
    for line in text.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            yield line.strip()


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
    first, last = port_range(inside, line)
    if not host:
        for number in range(first, last + 1):
            yield f"{number}/{protocol}", ip, ""
        return
    low, high = port_range(host, line, zero=True)
    if high - low == last - first:
        for offset in range(last - first + 1):
            yield f"{first + offset}/{protocol}", ip, str(low + offset)
    elif first == last:
        yield f"{first}/{protocol}", ip, f"{low}-{high}"
    else:
        raise ValueError(_("“%(line)s”: the two ranges differ in length") % {"line": line})


def port_range(text: str, line: str, *, zero: bool = False) -> tuple[int, int]:
    """ "80" or "80-90". Raises: ValueError naming the line."""
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
