"""The shorter notations of the Run form, both ways: networks, devices, limits, options, times. Pure.

Spec: ``docker run``, whose spellings these are; a network's settings stand behind its name.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app.intent import JOINED
from containers_app.runspec import NAME, lines, parse_size

Body = dict[str, Any]
NS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")
_ULIMIT = re.compile(r"([a-z]+)=(-?\d+)(?::(-?\d+))?")
_DEVICE_MODE = re.compile(r"[rwm]{1,3}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")


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
        if match is None:
            raise ValueError(_("“%(line)s” is not a limit such as nofile=1024:2048") % {"line": line})
        found.append({"Name": match[1], "Soft": int(match[2]), "Hard": int(match[3] or match[2])})
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
        raise ValueError(_('a list of words is written ["curl", "-f", "http://localhost"]'))
    return ["CMD-SHELL", text.strip()]


def check_text(test: list[str] | None) -> str:
    kind, *words = test or [""]
    if kind == "NONE":
        return "none"
    if kind == "CMD-SHELL":
        return words[0] if words else ""
    return json.dumps(words, ensure_ascii=False) if words else ""


def parse_networks(text: str) -> list[tuple[str, Body]]:
    """Lines of a network's name with settings behind it: "shop alias=web,www ip=10.0.0.9 mac=…".

    Returns [(name, EndpointSettings)]; the first is what it is made on. Raises: ValueError naming the line.
    """
    found: dict[str, Body] = {}
    for line in lines(text):
        try:
            name, *words = shlex.split(line)
        except ValueError:
            raise ValueError(_("“%(line)s”: a quotation mark is never closed") % {"line": line}) from None
        if not (name.startswith(JOINED) or NAME.fullmatch(name)):
            raise ValueError(_("“%(line)s” does not begin with the name of a network") % {"line": line})
        if name in found:
            raise ValueError(_("“%(line)s”: this network is there already") % {"line": line})
        found[name] = _endpoint(words, line)
    alone = [name for name in found if name in ("host", "none") or name.startswith(JOINED)]
    if alone and len(found) > 1:
        raise ValueError(_("%(name)s goes with no other network") % {"name": alone[0]})
    return list(found.items())


def _endpoint(words: list[str], line: str) -> Body:
    settings: Body = {}
    for word in words:
        key, _equals, value = word.partition("=")
        if key == "alias" and value:
            settings.setdefault("Aliases", []).extend(one for one in value.split(",") if one)
        elif key in ("ip", "ip6"):
            try:
                version = ipaddress.ip_address(value).version
            except ValueError:
                version = 0
            if version != (4 if key == "ip" else 6):
                raise ValueError(
                    _("“%(line)s”: “%(text)s” is not an address") % {"line": line, "text": value}
                )
            settings.setdefault("IPAMConfig", {})["IPv4Address" if key == "ip" else "IPv6Address"] = value
        elif key == "mac" and _MAC.fullmatch(value):
            settings["MacAddress"] = value
        else:
            words_known = "alias=, ip=, ip6=, mac="
            raise ValueError(
                _("“%(line)s”: “%(text)s” is none of %(known)s")
                % {"line": line, "text": word, "known": words_known}
            )
    return settings


def networks_text(networks: Iterable[tuple[str, Body]]) -> str:
    return "\n".join(" ".join([name, *_endpoint_words(settings)]) for name, settings in networks)


def _endpoint_words(settings: Body) -> Iterable[str]:
    if aliases := settings.get("Aliases"):
        yield shlex.quote(f"alias={','.join(aliases)}")
    ipam = settings.get("IPAMConfig") or {}
    if ipam.get("IPv4Address"):
        yield f"ip={ipam['IPv4Address']}"
    if ipam.get("IPv6Address"):
        yield f"ip6={ipam['IPv6Address']}"
    if settings.get("MacAddress"):
        yield f"mac={settings['MacAddress']}"
