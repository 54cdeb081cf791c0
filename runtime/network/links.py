"""The route netlink messages we need: bridges, veth pairs, addresses and routes.

Builders are pure and return a ``Message``; the few questions at the end ask a ``NetlinkSocket``.
Nothing here knows what a container or a network of ours is.

Spec: Linux uapi rtnetlink.h, if_link.h, if_addr.h; ip-link(8).
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from runtime.network.ipam import Address, Interface, Network
from runtime.network.netlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    Message,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
    nested,
    text,
)

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26

IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER = 1, 3, 4, 10
IFLA_OPERSTATE, IFLA_LINKINFO, IFLA_AF_SPEC, IFLA_NET_NS_FD = 16, 18, 26, 28
IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS = 29, 8
IFLA_GSO_IPV4_MAX_SIZE = 63
IF_OPER_UP = 6
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE = 8, 1
IFLA_BRPORT_MODE, IFLA_BRPORT_ISOLATED = 4, 33
VETH_INFO_PEER = 1
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_FLAGS = 1, 2, 4, 8
IFA_F_NODAD = 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_TABLE = 1, 4, 5, 15
RT_TABLE_MAIN = 254
RTPROT_BOOT = 3
RTN_UNICAST = 1
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 0, 253

LARGE_BYTES = 196_608  # of TCP handed over at once; three times what a network card takes


_IFINFO = struct.Struct("=BxHiII")
_IFADDR = struct.Struct("=BBBBI")
_RTMSG = struct.Struct("=BBBBBBBBI")
_DOWN = _IFINFO.pack(0, 0, 0, 0, 0)
_UP = _IFINFO.pack(0, 0, 0, IFF_UP, IFF_UP)
# Kernel: 6.3 and later (BIG TCP over IPv4); an older one passes over an attribute it does not know. With the
# sizes for IPv6 it would be IPv6 extension headers, which not every filter reads past.
_LARGE = attribute(IFLA_GSO_IPV4_MAX_SIZE, struct.pack("=I", LARGE_BYTES))
_BRIEF = attribute(IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_SKIP_STATS))
_LINK_ATTRIBUTES = frozenset({IFLA_IFNAME, IFLA_OPERSTATE, IFLA_ADDRESS, IFLA_MASTER, IFLA_LINKINFO})


@dataclass(frozen=True, slots=True)
class Link:
    index: int
    name: str
    up: bool
    usable: bool  # packets can be sent: its other end is up and the kernel has acted on that
    mac: str
    master: int  # index of the bridge it is a port of, 0 when none
    kind: str  # "bridge", "veth", "" for hardware


def _name(value: str) -> bytes:
    return attribute(IFLA_IFNAME, value.encode() + b"\0")


def _word(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _mac(value: str) -> bytes:
    return attribute(IFLA_ADDRESS, bytes.fromhex(value.replace(":", "")))


def new_bridge(name: str, mac: str, mtu: int) -> Message:
    """Create a bridge that is up, with a MAC of its own so that it does not change with its ports."""
    info = nested(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"bridge"))
    return Message(
        RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _UP + _name(name) + _mac(mac) + _word(IFLA_MTU, mtu) + info
    )


def new_veth(
    name: str, bridge: int, peer: str, mac: str, namespace: int, mtu: int, *, large: bool = False
) -> Message:
    """Create a pair: ``name`` here, a port of ``bridge``; ``peer`` in the namespace of that fd; both down.

    What goes in at ``name`` may be large. With ``large`` also what ``peer`` sends: only where nothing goes on
    to a network card, which would have to be handed pieces cut by the processor instead of cutting itself.
    Kernel: the peer is opened before it knows its other end, so asking for it up fails with ENOTCONN.
    """
    inner = _DOWN + _name(peer) + _mac(mac) + _word(IFLA_NET_NS_FD, namespace) + _word(IFLA_MTU, mtu)
    inner += _LARGE if large else b""
    info = nested(
        IFLA_LINKINFO,
        attribute(IFLA_INFO_KIND, b"veth"),
        nested(IFLA_INFO_DATA, nested(VETH_INFO_PEER, inner)),
    )
    outer = _name(name) + _word(IFLA_MASTER, bridge) + _word(IFLA_MTU, mtu) + _LARGE + info
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _DOWN + outer)


def set_port(name: str, *, hairpin: bool, isolated: bool) -> Message:
    """Let a bridge port send frames back where they came from; keep it apart from other isolated ports."""
    data = nested(
        IFLA_INFO_SLAVE_DATA,
        attribute(IFLA_BRPORT_MODE, bytes([hairpin])),
        attribute(IFLA_BRPORT_ISOLATED, bytes([isolated])),
    )
    info = nested(IFLA_LINKINFO, attribute(IFLA_INFO_SLAVE_KIND, b"bridge"), data)
    return Message(RTM_NEWLINK, 0, _DOWN + _name(name) + info)


def set_large(name: str) -> Message:
    """Have what the host sends into an interface handed over in large pieces.

    Kernel: EINVAL for a bridge with a port that cannot; before its first port it is such a bridge, too.
    """
    return Message(RTM_NEWLINK, 0, _DOWN + _name(name) + _LARGE)


def set_quiet(name: str) -> Message:
    """No IPv6 address of its own, before it comes up: a bridge's port would ask everybody about one."""
    mode = attribute(IFLA_INET6_ADDR_GEN_MODE, bytes([IN6_ADDR_GEN_MODE_NONE]))
    spec = nested(IFLA_AF_SPEC, nested(socket.AF_INET6, mode))
    return Message(RTM_NEWLINK, 0, _DOWN + _name(name) + spec)


def set_up(index: int) -> Message:
    return Message(RTM_SETLINK, 0, _IFINFO.pack(0, 0, index, IFF_UP, IFF_UP))


def set_up_named(name: str) -> Message:
    return Message(RTM_NEWLINK, 0, _UP + _name(name))


def unplug(index: int) -> Message:
    """Take a port off its bridge and down: from here on nothing behind it is heard or answers."""
    return Message(RTM_SETLINK, 0, _IFINFO.pack(0, 0, index, 0, IFF_UP) + _word(IFLA_MASTER, 0))


def delete_link(name: str) -> Message:
    """Remove an interface; of a veth pair both ends go.

    Kernel: waits for a grace period, 10 to 40 ms, during which other requests go on.
    """
    return Message(RTM_DELLINK, 0, _DOWN + _name(name))


def _family(value: Address) -> int:
    return socket.AF_INET if value.version == 4 else socket.AF_INET6


def add_address(index: int, interface: Interface) -> Message:
    """Give an interface an address; IPv6 without duplicate detection, as we hand the addresses out."""
    packed = interface.ip.packed
    parts = attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed)
    if isinstance(interface, IPv6Interface):
        parts += _word(IFA_FLAGS, IFA_F_NODAD)
    elif interface.network.prefixlen < 31:
        parts += attribute(IFA_BROADCAST, interface.network.broadcast_address.packed)
    scope = RT_SCOPE_LINK if interface.ip.is_link_local else RT_SCOPE_UNIVERSE
    head = _IFADDR.pack(_family(interface.ip), interface.network.prefixlen, 0, scope, index)
    return Message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, head + parts)


def delete_address(index: int, interface: Interface) -> Message:
    head = _IFADDR.pack(_family(interface.ip), interface.network.prefixlen, 0, 0, index)
    packed = interface.ip.packed
    return Message(RTM_DELADDR, 0, head + attribute(IFA_LOCAL, packed) + attribute(IFA_ADDRESS, packed))


def _default_route(version: int, *parts: bytes) -> bytes:
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    head = _RTMSG.pack(family, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0)
    return head + b"".join(parts)


def set_default_route(index: int, gateway: Address) -> Message:
    """The way to everywhere else, in place of the one there is."""
    route = _default_route(gateway.version, attribute(RTA_GATEWAY, gateway.packed), _word(RTA_OIF, index))
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, route)


def delete_default_route(version: int) -> Message:
    return Message(RTM_DELROUTE, 0, _default_route(version))


def link(netlink: NetlinkSocket, name: str) -> Link | None:
    """The interface of that name, or None."""
    try:
        return _link(netlink.get(Message(RTM_GETLINK, 0, _DOWN + _name(name) + _BRIEF))[1])
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return None
        raise


def links(netlink: NetlinkSocket) -> list[Link]:
    answers = netlink.dump(Message(RTM_GETLINK, 0, _DOWN + _BRIEF))
    return [_link(payload) for kind, payload in answers if kind == RTM_NEWLINK]


def addresses(netlink: NetlinkSocket) -> list[tuple[int, Interface]]:
    """Every address, with the index of its interface."""
    found: list[tuple[int, Interface]] = []
    for kind, payload in netlink.dump(Message(RTM_GETADDR, 0, _IFADDR.pack(0, 0, 0, 0, 0))):
        if kind != RTM_NEWADDR:
            continue
        family, prefix, _, _, index = _IFADDR.unpack_from(payload)
        values = dict(attributes(payload[_IFADDR.size :]))
        raw = values.get(IFA_LOCAL) or values.get(IFA_ADDRESS)
        if raw is not None and family == socket.AF_INET:
            found.append((index, IPv4Interface((raw, prefix))))
        elif raw is not None and family == socket.AF_INET6:
            found.append((index, IPv6Interface((raw, prefix))))
    return found


def routes(netlink: NetlinkSocket) -> list[tuple[int, Network]]:
    """Destinations in the main table but for default routes, with their interface's index (0: several)."""
    found: list[tuple[int, Network]] = []
    for kind, payload in netlink.dump(Message(RTM_GETROUTE, 0, bytes(_RTMSG.size))):
        if kind != RTM_NEWROUTE:
            continue
        family, prefix, _, _, table, *_ = _RTMSG.unpack_from(payload)
        values = dict(attributes(payload[_RTMSG.size :]))
        raw = values.get(RTA_DST)
        table = struct.unpack("=I", values[RTA_TABLE])[0] if RTA_TABLE in values else table
        if raw is None or table != RT_TABLE_MAIN or prefix == 0:
            continue
        index = struct.unpack("=I", values[RTA_OIF])[0] if RTA_OIF in values else 0
        if family == socket.AF_INET:
            found.append((index, IPv4Network((raw, prefix), strict=False)))
        elif family == socket.AF_INET6:
            found.append((index, IPv6Network((raw, prefix), strict=False)))
    return found


def _link(payload: bytes) -> Link:
    _, _, index, flags, _ = _IFINFO.unpack_from(payload)
    values = {kind: value for kind, value in attributes(payload[_IFINFO.size :]) if kind in _LINK_ATTRIBUTES}
    info = dict(attributes(values.get(IFLA_LINKINFO, b"")))
    return Link(
        index=index,
        name=text(values.get(IFLA_IFNAME)),
        up=bool(flags & IFF_UP),
        usable=values.get(IFLA_OPERSTATE, b"") == bytes([IF_OPER_UP]),
        mac=values.get(IFLA_ADDRESS, b"").hex(":"),
        master=struct.unpack("=I", values[IFLA_MASTER])[0] if IFLA_MASTER in values else 0,
        kind=text(info.get(IFLA_INFO_KIND)),
    )
