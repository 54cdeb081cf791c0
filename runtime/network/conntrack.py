"""Flows the kernel remembers: forgetting those that would lead packets astray.

† Touches the kernel's connection tracking. A UDP peer that keeps sending has one flow for good: to the
container that had the port before, or to nobody. New connections are judged anew by themselves, so only
connectionless flows need this.

Spec: Linux uapi nfnetlink_conntrack.h.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Collection

from runtime.network.netlink import Message, NetlinkError, NetlinkSocket, attribute, attributes, nested

NETLINK_NETFILTER = 12
SUBSYSTEM = 1 << 8
CT_GET, CT_DELETE = 1, 2
CTA_TUPLE_ORIG, CTA_ZONE, CTA_FILTER = 1, 18, 25
CTA_TUPLE_PROTO, CTA_PROTO_NUM, CTA_PROTO_DST_PORT = 2, 1, 3
FILTER_PROTO = 1 << 3


def forget_flows(ports: Collection[int]) -> int:
    """Forget the UDP flows that began towards these host ports; how many there were."""
    forgotten = 0
    with contextlib.closing(NetlinkSocket(NETLINK_NETFILTER)) as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            for flow in _flows(netlink, family):
                if flow[0] not in ports:
                    continue
                try:
                    netlink.send(Message(SUBSYSTEM | CT_DELETE, 0, bytes([family, 0, 0, 0]) + flow[1]))
                    forgotten += 1
                except NetlinkError as error:
                    if error.errno != errno.ENOENT:  # it ended by itself
                        raise
    return forgotten


def _flows(netlink: NetlinkSocket, family: int) -> list[tuple[int, bytes]]:
    """(destination port, what names the flow) of every UDP flow; filtered by the kernel where it can."""
    protocol = nested(CTA_TUPLE_PROTO, attribute(CTA_PROTO_NUM, bytes([socket.IPPROTO_UDP])))
    only_udp = nested(CTA_TUPLE_ORIG, protocol) + nested(
        CTA_FILTER, attribute(1, struct.pack("=I", FILTER_PROTO)), attribute(2, struct.pack("=I", 0))
    )
    head = bytes([family, 0, 0, 0])
    try:
        answers = netlink.dump(Message(SUBSYSTEM | CT_GET, 0, head + only_udp))
    except NetlinkError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        answers = netlink.dump(Message(SUBSYSTEM | CT_GET, 0, head))
    found: list[tuple[int, bytes]] = []
    for _, payload in answers:
        values = dict(attributes(payload[4:]))
        original = values.get(CTA_TUPLE_ORIG, b"")
        proto = dict(attributes(dict(attributes(original)).get(CTA_TUPLE_PROTO, b"")))
        port = proto.get(CTA_PROTO_DST_PORT)
        if port is None or proto.get(CTA_PROTO_NUM) != bytes([socket.IPPROTO_UDP]):
            continue
        name = nested(CTA_TUPLE_ORIG, original)
        if CTA_ZONE in values:
            name += attribute(CTA_ZONE, values[CTA_ZONE])
        found.append((int.from_bytes(port, "big"), name))
    return found
