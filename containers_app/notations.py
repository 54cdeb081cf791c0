"""The shorter notations of the Run form, both ways: devices, limits, options, times. Pure.

Spec: ``docker run``, whose spellings these are.
"""

from __future__ import annotations

import ipaddress
import json
import re
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app.runspec import PORTS_MAX, PROTOCOLS, lines, parse_size, port_range, size_text

Body = dict[str, Any]
Throttle = tuple[Callable[[str], list[Body]], Callable[[Iterable[Body] | None], str]]
NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_ULIMIT = re.compile(r"([a-z]+)=(-?\d+)(?::(-?\d+))?")
_HOST = re.compile(r"[^\s:=]+")
_DEVICE_MODE = re.compile(r"[rwm]{1,3}")
_SIGNAL = re.compile(r"RT(MIN|MAX)([+-]\d{1,2})?")
ULIMITS = frozenset(
    (
        *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss"),
        *("rtprio", "rttime", "sigpending", "stack"),
    )
)


def parse_duration(text: str) -> int:
    """ "1m30s" or "10" (seconds) as nanoseconds.

    Raises: ValueError.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return int(text) * NS["s"]
    if not text or _DURATION.sub("", text):
        raise ValueError(_("“%(text)s” is not a time such as 30s or 1m30s") % {"text": text})
    return int(sum(float(number) * NS[unit] for number, unit in _DURATION.findall(text)))


def duration_text(ns: int) -> str:
    """Nanoseconds as ``parse_duration`` reads them: "1m30s"."""
    if ns % NS["s"] or not ns:
        unit = next(unit for unit in ("ms", "us", "ns") if ns % NS[unit] == 0)
        return f"{ns // NS[unit]}{unit}" if ns else ""
    seconds = ns // NS["s"]
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def parse_pairs(text: str) -> dict[str, str]:
    """name=value lines.

    Raises: ValueError naming the line.
    """
    found = {}
    for line in lines(text):
        name, equals, value = line.partition("=")
        if not name.strip() or not equals:
            raise ValueError(_("“%(line)s” is not name=value") % {"line": line})
        found[name.strip()] = value.strip()
    return found


def pairs_text(pairs: Mapping[str, str] | None) -> str:
    return "\n".join(f"{name}={value}" for name, value in (pairs or {}).items())


def parse_lines(text: str) -> list[str]:
    return list(lines(text))


def lines_like(pattern: str, words: Any) -> Callable[[str], list[str]]:
    """A reader of lines that all look like this; ``words`` say so when one does not."""
    known = re.compile(pattern)

    def parse(text: str) -> list[str]:
        found = list(lines(text))
        for line in found:
            if not known.fullmatch(line):
                raise ValueError(str(words) % {"line": line})
        return found

    return parse


def text_like(pattern: str, words: Any) -> Callable[[str], str]:
    """A reader of one text that looks like this; ``words`` say so when it does not."""
    known = re.compile(pattern)

    def parse(text: str) -> str:
        if not known.fullmatch(text.strip()):
            raise ValueError(str(words) % {"text": text.strip()})
        return text.strip()

    return parse


def parse_signal(text: str) -> str:
    """ "TERM", "SIGTERM", "15" or "RTMIN+3". Raises: ValueError."""
    name = text.strip().upper()
    short = name.removeprefix("SIG")
    numbered = name.isascii() and name.isdigit() and 0 < int(name) <= signal.SIGRTMAX
    if not (numbered or _SIGNAL.fullmatch(short) or f"SIG{short}" in signal.Signals.__members__):
        raise ValueError(_("“%(text)s” is not a signal such as TERM or 15") % {"text": text.strip()})
    return text.strip()


def parse_addresses(text: str) -> list[str]:
    """Lines of one address each. Raises: ValueError naming the line."""
    found = list(lines(text))
    for line in found:
        if not _is_address(line):
            raise ValueError(_("“%(line)s” is not an address") % {"line": line})
    return found


def parse_hosts(text: str) -> list[str]:
    """name:address or name=address lines; an address of version 6 may stand in brackets.

    Raises: ValueError naming the line.
    """
    found = []
    for line in lines(text):
        name, separator, address = line.partition("=" if "=" in line else ":")
        address = address.removeprefix("[").removesuffix("]") if address.endswith("]") else address
        if not (separator and _HOST.fullmatch(name) and (address == "host-gateway" or _is_address(address))):
            raise ValueError(_("“%(line)s” is not name:address, or name:host-gateway") % {"line": line})
        found.append(f"{name}:{address}")
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def parse_expose(text: str) -> list[str]:
    """port[-port][/protocol] lines as ["80/tcp", ...]. Raises: ValueError naming the line."""
    found = []
    for line in lines(text):
        ports, _slash, protocol = line.partition("/")
        first, last = port_range(ports, line)
        if last - first >= PORTS_MAX:
            raise ValueError(_("more than %(n)d ports") % {"n": PORTS_MAX})
        if (protocol or "tcp").lower() not in PROTOCOLS:
            raise ValueError(
                _("“%(line)s”: the protocol is one of %(all)s") % {"line": line, "all": ", ".join(PROTOCOLS)}
            )
        found += [f"{number}/{(protocol or 'tcp').lower()}" for number in range(first, last + 1)]
    return found


def throttles(key: str, *, low: int = 0, high: int = 2**63 - 1, sizes: bool = False) -> Throttle:
    """The reader and the writer of /dev/name:number lines; ``key`` is Rate or Weight."""

    def parse(text: str) -> list[Body]:
        found = []
        for line in lines(text):
            path, _colon, number = line.rpartition(":")
            try:
                count = parse_size(number) if sizes else int(number) if number.isdigit() else -1
            except ValueError:
                count = -1
            if not path.startswith("/dev/"):
                raise ValueError(_("“%(line)s” is not /dev/name:number") % {"line": line})
            if not low <= count <= high:
                raise ValueError(
                    _("“%(line)s”: “%(text)s” is not a size such as 1m") % {"line": line, "text": number}
                    if sizes
                    else _("“%(line)s”: “%(text)s” is not a number it may be")
                    % {"line": line, "text": number}
                )
            found.append({"Path": path, key: count})
        return found

    def show(found: Iterable[Body] | None) -> str:
        shown = size_text if sizes else str
        return "\n".join(f"{one.get('Path')}:{shown(one.get(key) or 0) or 0}" for one in found or ())

    return parse, show


BYTES = throttles("Rate", sizes=True)
COUNTS = throttles("Rate")
WEIGHTS = throttles("Weight", low=10, high=1000)


def parse_tmpfs(text: str) -> dict[str, str]:
    """/path[:options] lines.

    Raises: ValueError naming the line.
    """
    found = {}
    for line in lines(text):
        path, _colon, options = line.partition(":")
        if not path.startswith("/"):
            raise ValueError(_("“%(line)s”: the path in the container starts with /") % {"line": line})
        found[path] = options
    return found


def tmpfs_text(mounts: Mapping[str, str] | None) -> str:
    return "\n".join(f"{path}:{options}" if options else path for path, options in (mounts or {}).items())


def parse_devices(text: str) -> list[dict[str, str]]:
    """/dev/on-host[:/dev/inside[:rwm]] lines.

    Raises: ValueError naming the line.
    """
    found = []
    for line in lines(text):
        outside, _colon, rest = line.partition(":")
        inside, _colon, mode = rest.partition(":")
        if _DEVICE_MODE.fullmatch(inside) and not mode:
            inside, mode = "", inside
        inside, mode = inside or outside, mode or "rwm"
        if not (outside.startswith("/") and inside.startswith("/") and _DEVICE_MODE.fullmatch(mode)):
            raise ValueError(_("“%(line)s” is not /dev/name[:/dev/name[:rwm]]") % {"line": line})
        found.append({"PathOnHost": outside, "PathInContainer": inside, "CgroupPermissions": mode})
    return found


def devices_text(devices: Iterable[Mapping[str, str]] | None) -> str:
    return "\n".join(
        ":".join(one.get(key) or "" for key in ("PathOnHost", "PathInContainer", "CgroupPermissions"))
        for one in devices or ()
    )


def parse_ulimits(text: str) -> list[dict[str, Any]]:
    """name=soft[:hard] lines.

    Raises: ValueError naming the line.
    """
    found = []
    for line in lines(text):
        match = _ULIMIT.fullmatch(line)
        if match is None or match[1] not in ULIMITS:
            raise ValueError(_("“%(line)s” is not a limit such as nofile=1024:2048") % {"line": line})
        soft, hard = int(match[2]), int(match[3] or match[2])
        if hard != -1 and (soft == -1 or soft > hard):
            raise ValueError(_("“%(line)s”: the first number may not be over the second") % {"line": line})
        found.append({"Name": match[1], "Soft": soft, "Hard": hard})
    return found


def ulimits_text(limits: Iterable[Mapping[str, Any]] | None) -> str:
    return "\n".join(f"{one['Name']}={one.get('Soft')}:{one.get('Hard')}" for one in limits or ())


def parse_swap(text: str) -> int:
    """A size, or -1 for swap without a limit.

    Raises: ValueError.
    """
    return -1 if text.strip() == "-1" else parse_size(text)


def parse_check(text: str) -> list[str]:
    """A shell command, ["a", "list"] run without a shell, or "none".

    Raises: ValueError.
    """
    if text.strip() == "none":
        return ["NONE"]
    if text.lstrip().startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            return ["CMD", *words]
        if text.lstrip().startswith('["'):  # "[ -f /ok ]" is a shell's own word
            raise ValueError(_('a list of words is written ["curl", "-f", "http://localhost"]'))
    return ["CMD-SHELL", text.strip()]


def check_text(test: list[str] | None) -> str:
    kind, *words = test or [""]
    if kind == "NONE":
        return "none"
    if kind == "CMD-SHELL":
        return words[0] if words else ""
    return json.dumps(words, ensure_ascii=False) if words else ""
