"""The networks of a create body as lines of the Run form, both ways. Pure; errors name the line.

The mode and the endpoints are one list, the network it is made on first; settings stand behind a name.

Spec: Docker API 1.47, EndpointSettings; ``docker run --network`` of Docker 28.
"""

from __future__ import annotations

import copy
import ipaddress
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app.intent import BRIDGE, JOINED, NETWORKLESS
from containers_app.runspec import NAME, lines

Body = dict[str, Any]

WORDS = "alias=, ip=, ip6=, mac=, link-local=, driver-opt=, gw-priority="
# What ``docker run`` calls them.
OF_DOCKER = {"mac": "mac-address", "link-local": "link-local-ip"}
_ADDRESSES = {"ip": "IPv4Address", "ip6": "IPv6Address"}
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_LINK = re.compile(rf"{NAME.pattern}(:{NAME.pattern})?")


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
    alone = [name for name in found if name in NETWORKLESS or name.startswith(JOINED)]
    if alone and len(found) > 1:
        raise ValueError(_("%(name)s goes with no other network") % {"name": alone[0]})
    return list(found.items())


def _endpoint(words: list[str], line: str) -> Body:
    settings: Body = {}
    for word in words:
        key, _equals, value = word.partition("=")
        if key == "alias" and value:
            settings.setdefault("Aliases", []).extend(one for one in value.split(",") if one)
        elif key in _ADDRESSES:
            ipam = settings.setdefault("IPAMConfig", {})
            ipam[_ADDRESSES[key]] = _address(value, line, 4 if key == "ip" else 6)
        elif key == "link-local":
            places = settings.setdefault("IPAMConfig", {}).setdefault("LinkLocalIPs", [])
            places.extend(_address(one, line) for one in value.split(","))
        elif key == "mac" and _MAC.fullmatch(value):
            settings["MacAddress"] = value
        elif key == "driver-opt" and "=" in value:
            name, _equals, text = value.partition("=")
            settings.setdefault("DriverOpts", {})[name] = text
        elif key == "gw-priority" and re.fullmatch(r"-?\d{1,9}", value):
            settings["GwPriority"] = int(value)
        else:
            raise ValueError(
                _("“%(line)s”: “%(text)s” is none of %(known)s")
                % {"line": line, "text": word, "known": WORDS}
            )
    return settings


def _address(text: str, line: str, version: int | None = None) -> str:
    try:
        found = ipaddress.ip_address(text).version
    except ValueError:
        found = 0  # type: ignore[assignment]
    if found not in ((version,) if version else (4, 6)):
        raise ValueError(_("“%(line)s”: “%(text)s” is not an address") % {"line": line, "text": text})
    return text


def networks_text(networks: Iterable[tuple[str, Body]]) -> str:
    return "\n".join(" ".join([name, *map(shlex.quote, _words(settings))]) for name, settings in networks)


def _words(settings: Body) -> Iterable[str]:
    if aliases := settings.get("Aliases"):
        yield f"alias={','.join(aliases)}"
    ipam = settings.get("IPAMConfig") or {}
    for word, key in _ADDRESSES.items():
        if ipam.get(key):
            yield f"{word}={ipam[key]}"
    if settings.get("MacAddress"):
        yield f"mac={settings['MacAddress']}"
    if ipam.get("LinkLocalIPs"):
        yield f"link-local={','.join(ipam['LinkLocalIPs'])}"
    for name, value in (settings.get("DriverOpts") or {}).items():
        yield f"driver-opt={name}={value}"
    if settings.get("GwPriority"):
        yield f"gw-priority={settings['GwPriority']}"


def option_value(line: str) -> str:
    """A line of the form as the value of ``--network``."""
    try:
        name, *words = shlex.split(line)
    except ValueError:
        return line
    if not words:
        return name
    parts = [f"name={name}"]
    for word in words:
        key, _equals, value = word.partition("=")
        values = value.split(",") if key in ("alias", "link-local") else [value]
        parts += [f"{OF_DOCKER.get(key, key)}={one}" for one in values]
    return ",".join(parts)


def words_of_option(value: str) -> tuple[str, list[str], list[str]]:
    """``--network``'s value as (name, words of the form, what is not known)."""
    if "=" not in value:
        return value, [], []
    ours = {docker: own for own, docker in OF_DOCKER.items()}
    name, words, unknown = "", list[str](), list[str]()
    for part in value.split(","):
        key, _equals, text = part.partition("=")
        if key == "name":
            name = text
        elif f"{ours.get(key, key)}=" in WORDS.split(", "):
            words.append(f"{ours.get(key, key)}={text}")
        else:
            unknown.append(part)
    return name, words, unknown


def joined_words(words: Iterable[str]) -> list[str]:
    """Words of one key that take a list, as one word: "alias=a,b"."""
    found: list[str] = []
    lists: dict[str, list[str]] = {}
    for word in words:
        key, _equals, value = word.partition("=")
        if key not in ("alias", "link-local"):
            found.append(word)
        else:
            lists.setdefault(key, []).append(value)
    return [*(f"{key}={','.join(values)}" for key, values in lists.items()), *found]


# Parts of a create body


def networks_of(body: Body) -> list[tuple[str, Body]]:
    """The network it is made on, then the others."""
    mode = str((body.get("HostConfig") or {}).get("NetworkMode") or "")
    endpoints: Body = dict((body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {})
    if mode in NETWORKLESS or mode.startswith(JOINED):
        return [(mode, {})]
    primary = "bridge" if mode in BRIDGE else mode
    first = dict(endpoints.pop(primary, None) or {})
    if body.get("MacAddress"):
        first["MacAddress"] = body["MacAddress"]
    return [(primary, first), *endpoints.items()]


def read(body: Body) -> str:
    found = networks_of(body)
    shown = [(name, {key: settings[key] for key in settings if key != "Links"}) for name, settings in found]
    return "" if shown == [("bridge", {})] else networks_text(shown)


def write(body: Body, networks: Any) -> None:
    before = dict(networks_of(body))
    linked = links_of(body)
    body.pop("NetworkingConfig", None)
    body.pop("MacAddress", None)
    asked: list[tuple[str, Body]] = list(networks or ())
    body["HostConfig"]["NetworkMode"] = asked[0][0] if asked else "default"
    endpoints: Body = {}
    for at, (name, given) in enumerate(asked):
        settings = copy.deepcopy(given)
        if links := (before.get(name) or {}).get("Links"):
            settings["Links"] = links
        if at == 0 and settings.get("MacAddress"):
            body["MacAddress"] = settings.pop("MacAddress")  # the spelling every version knows
        if name not in NETWORKLESS and not name.startswith(JOINED):
            endpoints[name] = settings
    if endpoints and endpoints != {"bridge": {}}:
        body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    if linked:
        write_links(body, linked)


# Links: the host configuration's on the default bridge, the first network's own elsewhere.


def parse_links(text: str) -> list[str]:
    """Lines of container[:name for it]. Raises: ValueError naming the line."""
    found = list(lines(text))
    for line in found:
        if not _LINK.fullmatch(line):
            raise ValueError(_("“%(line)s” is not a container's name, or name:alias") % {"line": line})
    return found


def links_of(body: Body) -> list[str]:
    of_host = (body.get("HostConfig") or {}).get("Links")
    return list(of_host or networks_of(body)[0][1].get("Links") or ())


def write_links(body: Body, links: Any) -> None:
    host = body["HostConfig"]
    mode = str(host.get("NetworkMode") or "")
    endpoints: Mapping[str, Body] = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
    host.pop("Links", None)
    if mode in endpoints:
        endpoints[mode].pop("Links", None)
    if not links:
        return
    host["Links"] = list(links)
    if mode in BRIDGE or mode in NETWORKLESS or mode.startswith(JOINED):
        return
    everywhere = body.setdefault("NetworkingConfig", {}).setdefault("EndpointsConfig", {})
    everywhere.setdefault(mode, {})["Links"] = list(links)
