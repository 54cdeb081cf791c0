"""Networks and ports of a container: ``--network`` in both spellings, ``--publish``, ``--expose``; pure.

Spec: Docker API 1.47, EndpointSettings and PortMap.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from webdock.cli.errors import USAGE, Failure
from webdock.cli.pairs import pairs

ADDRESSES = {"ip": "IPv4Address", "ip6": "IPv6Address"}
FLAGS = {"Aliases": "alias", "IPAMConfig": "its addresses", "MacAddress": "mac-address"}

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


def networks_of(options: argparse.Namespace) -> list[tuple[str, dict[str, Any]]]:
    """Each ``--network`` with what its own spelling asks of it; without any, the engine's default."""
    return [network_option(text) for text in options.network] or [("default", {})]


def network_option(text: str) -> tuple[str, dict[str, Any]]:
    """``lab`` -> ("lab", {}); ``name=lab,alias=x,ip=10.0.0.2`` -> ("lab", {"Aliases": ["x"], …})."""
    if not re.match(r"[\w-]+=", text):
        return text, {}
    name = ""
    settings: dict[str, Any] = {}
    addresses: dict[str, Any] = {}
    for part in next(csv.reader([text]), []):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals or not value:
            raise Failure(f"--network: {part!r} has no value; write name=NETWORK,alias=…", USAGE)
        if key == "name":
            name = value
        elif key == "alias":
            settings.setdefault("Aliases", []).append(value)
        elif key in ADDRESSES:
            addresses[ADDRESSES[key]] = value
        elif key == "link-local-ip":
            addresses.setdefault("LinkLocalIPs", []).append(value)
        elif key == "mac-address":
            settings["MacAddress"] = value
        elif key == "driver-opt":
            settings.setdefault("DriverOpts", {}).update(pairs([value], [], "--network driver-opt"))
        elif key == "gw-priority":
            settings["GwPriority"] = int(value) if re.fullmatch(r"-?\d+", value) else bad_priority(value)
        else:
            raise Failure(f"--network: {key!r} is not known", USAGE)
    if not name:
        raise Failure(f"--network: {text!r} has no name=", USAGE)
    if addresses:
        settings["IPAMConfig"] = addresses
    return name, settings


def bad_priority(value: str) -> NoReturn:
    raise Failure(f"--network gw-priority: {value!r} is no whole number", USAGE)


def endpoint_settings(
    options: argparse.Namespace, networks: Sequence[tuple[str, dict[str, Any]]]
) -> dict[str, Any]:
    """EndpointsConfig: the options of their own (``--ip``, ``--network-alias``) are the first network's.

    Raises:
        Failure: when they and the first network's own spelling ask for the same thing.
    """
    (first, own), *others = networks
    settings = dict(own)
    asked: dict[str, Any] = {}
    if options.network_alias:
        asked["Aliases"] = options.network_alias
    if addresses := address_settings(options):
        asked["IPAMConfig"] = addresses
    if options.mac_address:
        asked["MacAddress"] = options.mac_address
    for key in asked:
        if key in own:
            raise Failure(f"--network {first} says {FLAGS[key]} by itself; leave the other one out", USAGE)
    settings |= asked
    if options.link and user_defined(first):
        settings["Links"] = options.link
    endpoints: dict[str, Any] = {}
    for name, wanted in ((first, settings), *others):
        if name in endpoints:
            raise Failure(f"--network {name} is given twice", USAGE)
        if wanted or len(networks) > 1:
            endpoints[name] = wanted
    return endpoints


def address_settings(options: argparse.Namespace) -> dict[str, Any]:
    """IPAMConfig of ``--ip``, ``--ip6`` and ``--link-local-ip``; empty when none is given."""
    settings: dict[str, Any] = {}
    if options.ip:
        settings["IPv4Address"] = options.ip
    if options.ip6:
        settings["IPv6Address"] = options.ip6
    if options.link_local_ip:
        settings["LinkLocalIPs"] = options.link_local_ip
    return settings


def user_defined(network: str) -> bool:
    """Whether it is a network somebody made, and no mode."""
    return network not in ("default", "bridge", "host", "none") and not network.startswith("container:")
