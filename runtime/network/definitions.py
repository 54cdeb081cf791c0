"""What a request to create a network, or to put a container on one, says; read and checked.

Pure. Subnets that were not named are chosen elsewhere; whether a name is free is known elsewhere.

Spec: Docker API 1.47, NetworkCreate, EndpointSettings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network
from typing import Any

from runtime.api.errors import Forbidden, InvalidArgument, NotFound, NotSupported
from runtime.network.endpoints import link_local_addresses
from runtime.network.ipam import Address, Network, Pool, overlapping
from runtime.network.store import SubnetConfig

PREDEFINED = ("bridge", "host", "none")
NAME_CHARACTERS = 255
SUBNETS_MAX = 16
ALIASES_MAX = 256
LABELS_BYTES = 1 << 16

_INTERFACE = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,14}", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}", re.IGNORECASE)
_HOST_NAME = re.compile(r"[a-zA-Z0-9_.-]+", re.ASCII)  # compose makes aliases of services' names, "--db" too
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})

OPTION = "com.docker.network.bridge."
OPTION_MTU = "com.docker.network.driver.mtu"
OPTION_MTU_OLD = "com.docker.network.mtu"
OPTION_PREFIX = "com.docker.network.container_iface_prefix"
_FLAGS = (f"{OPTION}enable_icc", f"{OPTION}enable_ip_masquerade", f"{OPTION}default_bridge")


@dataclass(frozen=True, slots=True)
class BridgeOptions:
    """The driver options of a bridge network, read."""

    interface: str = ""
    neighbours: bool = True  # enable_icc
    masquerade: bool = True
    host_binding: str = ""
    mtu: int | None = None
    prefix: str = "eth"


@dataclass(frozen=True, slots=True)
class Definition:
    """A network as asked for."""

    name: str
    internal: bool
    attachable: bool
    enable_ipv6: bool
    subnets: tuple[SubnetConfig, ...]
    ipam_options: dict[str, str] | None
    options: dict[str, str]
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class Wish:
    """What one container asks of one network."""

    ipv4: Address | None = None
    ipv6: Address | None = None
    mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    gateway_priority: int = 0
    asked: dict[str, Any] = field(default_factory=dict)


def flag(value: str, what: str) -> bool:
    """A boolean as Go reads it.

    Raises: InvalidArgument.
    """
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise InvalidArgument(f"invalid value {value!r} of {what}: must be true or false")


def check_name(name: object) -> str:
    """A network's name.

    Raises: InvalidArgument, Forbidden for the predefined ones.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidArgument("invalid name: name is empty")
    # Docker takes any name; one that holds a slash could not be named in a path.
    if len(name) > NAME_CHARACTERS or "/" in name or not name.isprintable():
        raise InvalidArgument(
            f"invalid network name {name[:NAME_CHARACTERS]!r}: "
            f"at most {NAME_CHARACTERS} printable characters are allowed, and no slash"
        )
    if name in (*PREDEFINED, "default", "container"):
        raise Forbidden(f"operation is not permitted on predefined {name} network")
    return name


def texts(value: object, what: str) -> dict[str, str]:
    """A map of strings.

    Raises: InvalidArgument.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"invalid {what}: must be an object")
    for key, entry in value.items():
        if not isinstance(entry, str):
            raise InvalidArgument(f"invalid {what}: the value of {key!r} must be a string")
    if sum(len(key) + len(entry) for key, entry in value.items()) > LABELS_BYTES:
        raise InvalidArgument(f"invalid {what}: more than {LABELS_BYTES} bytes")
    return dict(value)


def parse_network(body: Mapping[str, Any]) -> Definition:
    """A NetworkCreate body.

    Raises: InvalidArgument, Forbidden, NotFound, NotSupported.
    """
    name = check_name(body.get("Name"))
    driver = body.get("Driver") or "bridge"
    if driver in ("host", "null"):
        raise Forbidden(f'only one instance of "{driver}" network is allowed')
    if driver in ("overlay", "macvlan", "ipvlan"):
        raise NotSupported(f"this engine has bridge networks only, not {driver}")
    if driver != "bridge":
        raise NotFound(f'plugin "{driver}" not found')
    for key in ("Ingress", "ConfigOnly"):
        if body.get(key):
            raise NotSupported(f"{key} networks are not supported by this engine")
    if (body.get("ConfigFrom") or {}).get("Network"):
        raise NotSupported("networks made from config-only networks are not supported by this engine")
    if body.get("Scope") not in (None, "", "local"):
        raise NotSupported(f"scope {body.get('Scope')!r} is not supported by this engine, only local")
    if body.get("EnableIPv4") is False:
        raise NotSupported("networks without IPv4 are not supported by this engine")
    ipam = body.get("IPAM") or {}
    if not isinstance(ipam, Mapping):
        raise InvalidArgument("invalid IPAM: must be an object")
    if ipam.get("Driver") not in (None, "", "default"):
        raise NotFound(f'plugin "{ipam.get("Driver")}" not found')
    options = texts(body.get("Options"), "options")
    parse_options(options)
    return Definition(
        name=name,
        internal=bool(body.get("Internal")),
        attachable=bool(body.get("Attachable")),
        enable_ipv6=bool(body.get("EnableIPv6")),
        subnets=parse_ipam(ipam.get("Config") or []),
        ipam_options=texts(ipam["Options"], "IPAM options") if ipam.get("Options") is not None else None,
        options=options,
        labels=texts(body.get("Labels"), "labels"),
    )


def parse_options(options: Mapping[str, str]) -> BridgeOptions:
    """Options of the bridge driver; unknown ones are kept and mean nothing, as with Docker.

    Raises: InvalidArgument, NotSupported.
    """
    for key in _FLAGS:
        if key in options:
            flag(options[key], key)
    for key in (f"{OPTION}gateway_mode_ipv4", f"{OPTION}gateway_mode_ipv6"):
        if options.get(key, "nat") not in ("", "nat"):
            raise NotSupported(f"{key}={options[key]} is not supported by this engine, only nat")
    if f"{OPTION}inhibit_ipv4" in options and flag(options[f"{OPTION}inhibit_ipv4"], "inhibit_ipv4"):
        raise NotSupported("a bridge without an address of its own is not supported by this engine")
    interface = options.get(f"{OPTION}name", "")
    if interface and not _INTERFACE.fullmatch(interface):
        raise InvalidArgument(f"invalid bridge name {interface!r}: at most 15 of [a-zA-Z0-9_.-]")
    prefix = options.get(OPTION_PREFIX, "eth")
    if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_-]{0,10}", prefix, re.ASCII) or prefix == "lo":
        raise InvalidArgument(f"invalid interface prefix {prefix!r}")
    binding = options.get(f"{OPTION}host_binding_ipv4", "")
    if binding:
        _parse_address(binding, "host binding address")
    return BridgeOptions(
        interface=interface,
        neighbours=options.get(f"{OPTION}enable_icc", "true") in _TRUE,
        masquerade=options.get(f"{OPTION}enable_ip_masquerade", "true") in _TRUE,
        host_binding=binding,
        mtu=_mtu(options.get(OPTION_MTU) or options.get(OPTION_MTU_OLD)),
        prefix=prefix,
    )


def _mtu(value: str | None) -> int | None:
    if not value or value == "0":
        return None
    if not value.isascii() or not value.isdigit() or not 68 <= int(value) <= 65535:
        raise InvalidArgument(f"invalid MTU {value!r}: must lie between 68 and 65535")
    return int(value)


def _parse_address(value: object, what: str) -> Address:
    try:
        return ip_address(str(value))
    except ValueError:
        raise InvalidArgument(f"invalid {what} {value}: not an IP address") from None


def _parse_subnet(value: object, what: str) -> Network:
    try:
        found = ip_network(str(value), strict=False)
    except ValueError:
        raise InvalidArgument(f"invalid network config: invalid {what} {value}: invalid CIDR block") from None
    if "/" not in str(value):
        raise InvalidArgument(f"invalid network config: invalid {what} {value}: invalid CIDR block")
    if str(ip_network(found)) != str(found) or ip_address(str(value).split("/")[0]) != found.network_address:
        raise InvalidArgument(f"invalid network config: invalid {what} {value}: it should be {found}")
    return found


def parse_ipam(config: object) -> tuple[SubnetConfig, ...]:
    """IPAM.Config with gateways filled in; entries without a subnet are left out (one will be chosen).

    Raises: InvalidArgument.
    """
    if not isinstance(config, Sequence) or isinstance(config, str):
        raise InvalidArgument("invalid IPAM config: must be a list")
    if len(config) > SUBNETS_MAX:
        raise InvalidArgument(f"invalid IPAM config: {len(config)} subnets, at most {SUBNETS_MAX}")
    found: list[SubnetConfig] = []
    for entry in config:
        if not isinstance(entry, Mapping):
            raise InvalidArgument("invalid IPAM config: an entry must be an object")
        if not entry.get("Subnet"):
            rest = [key for key in ("Gateway", "IPRange", "AuxiliaryAddresses") if entry.get(key)]
            if rest:
                raise InvalidArgument(f"invalid network config: {rest[0]} needs a subnet")
            continue
        parsed = _subnet(entry)
        for other in found:
            if overlapping(parsed.subnet, [other.subnet]):
                raise InvalidArgument(
                    f"invalid network config: subnets {other.subnet} and {parsed.subnet} overlap"
                )
        found.append(parsed)
    return tuple(found)


def _subnet(entry: Mapping[str, Any]) -> SubnetConfig:
    subnet = _parse_subnet(entry["Subnet"], "subnet")
    if subnet.num_addresses < 4:
        raise InvalidArgument(f"invalid network config: subnet {subnet} is too small for a gateway and hosts")
    if subnet.is_multicast or subnet.is_loopback or subnet.network_address.is_unspecified:
        raise InvalidArgument(f"invalid network config: subnet {subnet} cannot be used for hosts")
    ip_range = None
    if entry.get("IPRange"):
        ip_range = _parse_subnet(entry["IPRange"], "ip-range")
        if ip_range.version != subnet.version or not ip_range.subnet_of(subnet):  # type: ignore[arg-type]
            raise InvalidArgument(
                f"invalid network config: invalid ip-range {ip_range}: not inside subnet {subnet}"
            )
    gateway = subnet.network_address + 1
    if entry.get("Gateway"):
        # A prefix after the address is what some clients write.
        gateway = _parse_address(str(entry["Gateway"]).split("/")[0], "gateway address")
        _check_host(gateway, subnet, "gateway")
    auxiliary = texts(entry.get("AuxiliaryAddresses"), "auxiliary addresses")
    used = {gateway: "the gateway"}
    for name, value in auxiliary.items():
        address = _parse_address(value, "auxiliary address")
        _check_host(address, subnet, f"auxiliary address {name}")
        if address in used:
            raise InvalidArgument(
                f"invalid network config: auxiliary address {name}: {address} is {used[address]} already"
            )
        used[address] = f"auxiliary address {name}"
    return SubnetConfig(subnet, gateway, ip_range, auxiliary, asked=True)


def _check_host(address: Address, subnet: Network, what: str) -> None:
    if address.version != subnet.version or address not in subnet:
        raise InvalidArgument(f"invalid network config: invalid {what} {address}: not inside subnet {subnet}")
    if address in (subnet.network_address, subnet.broadcast_address):
        raise InvalidArgument(
            f"invalid network config: invalid {what} {address}: the first and last address of {subnet} "
            "are not for hosts"
        )


def parse_endpoint(settings: Mapping[str, Any] | None) -> Wish:
    """An EndpointSettings body, its observed fields ignored.

    Raises: InvalidArgument.
    """
    if settings is None:
        return Wish()
    if not isinstance(settings, Mapping):
        raise InvalidArgument("invalid endpoint settings: must be an object")
    ipam = settings.get("IPAMConfig") or {}
    if not isinstance(ipam, Mapping):
        raise InvalidArgument("invalid endpoint settings: IPAMConfig must be an object")
    found: dict[int, Address | None] = {4: None, 6: None}
    for version, key in ((4, "IPv4Address"), (6, "IPv6Address")):
        if ipam.get(key):
            address = _parse_address(ipam[key], f"IPv{version} address")
            if address.version != version or address.is_unspecified:
                raise InvalidArgument(f"invalid endpoint settings: invalid IPv{version} address: {address}")
            found[version] = address
    link_local_addresses(ipam)
    priority = settings.get("GwPriority") or 0
    if not isinstance(priority, int):
        raise InvalidArgument("invalid endpoint settings: GwPriority must be a number")
    asked = {key: settings[key] for key in ("IPAMConfig", "DriverOpts", "GwPriority") if settings.get(key)}
    return Wish(
        ipv4=found[4],
        ipv6=found[6],
        mac=check_mac(settings.get("MacAddress") or ""),
        aliases=_names(settings.get("Aliases"), "Aliases"),
        links=_links(settings.get("Links")),
        gateway_priority=priority,
        asked=asked,
    )


def check_mac(value: object) -> str:
    """A MAC address in lower case with colons, or "".

    Raises: InvalidArgument.
    """
    if value == "":
        return ""
    if not isinstance(value, str) or not _MAC.fullmatch(value):
        raise InvalidArgument(f"invalid MAC address {value}: must be six pairs of hex digits")
    mac = value.lower().replace("-", ":")
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise InvalidArgument(f"invalid MAC address {value}: a group's address cannot be a container's")
    return mac


def _names(value: object, what: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > ALIASES_MAX:
        raise InvalidArgument(f"invalid {what}: must be a list of at most {ALIASES_MAX} names")
    for name in value:
        if not isinstance(name, str) or len(name) > 253 or not _HOST_NAME.fullmatch(name):
            raise InvalidArgument(f"invalid {what}: {name!r} is not a host name")
    return tuple(dict.fromkeys(value))


def _links(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > ALIASES_MAX:
        raise InvalidArgument(f"invalid Links: must be a list of at most {ALIASES_MAX} entries")
    return tuple(dict.fromkeys(":".join(split_link(entry)) for entry in value))


def split_link(value: object) -> tuple[str, str]:
    """("container", "alias") of ``container``, ``container:alias`` or ``/container:/other/alias``.

    Raises: InvalidArgument.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgument(f"invalid link {value!r}: must be container:alias")
    name, _, alias = value.partition(":")
    name = name.removeprefix("/")
    alias = alias.rpartition("/")[2] or name
    if not name or ":" in alias or not _HOST_NAME.fullmatch(alias):
        raise InvalidArgument(f"invalid link {value!r}: bad format for links, must be container:alias")
    return name, alias


def pools_of(subnets: Sequence[SubnetConfig]) -> list[Pool]:
    """The address pools of a network's subnets."""
    return [
        Pool(
            entry.subnet,
            entry.gateway,
            entry.ip_range,
            frozenset(ip_address(value) for value in entry.auxiliary.values()),
        )
        for entry in subnets
    ]


def interface_in(address: Address, subnet: Network) -> IPv4Interface | IPv6Interface:
    """The address with its subnet's prefix."""
    if address.version == 4:
        return IPv4Interface(f"{address}/{subnet.prefixlen}")
    return IPv6Interface(f"{address}/{subnet.prefixlen}")
