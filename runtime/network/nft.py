"""nftables, spoken by hand where it must be quick, and by the ``nft`` command where it must be readable.

† Touches the kernel's packet filter; only ``bridge.py``, ``foreign.py`` and ``netns.py`` call it.
A whole table is loaded as text in one transaction at start-up (5 to 15 ms); on the path of a starting
container only set elements change, as one nfnetlink batch (0.1 ms) that the kernel takes whole or not at all.

Spec: Linux uapi nfnetlink.h, nf_tables.h; nft(8).
"""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network

from runtime.network.elements import Element, Field, Port, Protocol
from runtime.network.netlink import (
    NLM_F_CREATE,
    Message,
    NetlinkError,
    NetlinkSocket,
    attribute,
    attributes,
    messages,
    nested,
    text,
)

COMMAND_TIMEOUT_S = 20  # nft waits for nothing; a host with ten thousand rules answers in under a second
NOTICE_BYTES = 1 << 16

NETLINK_NETFILTER = 12
NFNLGRP_NFTABLES = 7
NFNL_SUBSYS_NFTABLES = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
NEWTABLE, GETTABLE, DELTABLE, NEWCHAIN, GETCHAIN = 0, 1, 2, 3, 4
NEWRULE, GETRULE, DELRULE = 6, 7, 8
NEWSETELEM, DELSETELEM = 12, 14
NLM_F_APPEND = 0x800
NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6 = 1, 2, 10
FAMILIES = {"inet": NFPROTO_INET, "ip": NFPROTO_IPV4, "ip6": NFPROTO_IPV6}
FAMILY_NAMES = {number: name for name, number in FAMILIES.items()}
NF_INET_LOCAL_OUT, NF_INET_FORWARD = 3, 2
NF_DROP, NF_ACCEPT = 0, 1


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of any table; ``hook`` and ``drops`` (its policy) are None and False for one without a hook."""

    family: str
    table: str
    name: str
    hook: int | None
    kind: str
    drops: bool


@dataclass(frozen=True, slots=True)
class Rule:
    handle: int
    comment: str
    body: bytes  # its expressions, to tell rules apart


class NftError(OSError):
    """The ``nft`` command refused a text; carries its words."""


def load(ruleset: str) -> None:
    """Carry out a text as one transaction.

    Raises: NftError.
    """
    try:
        done = subprocess.run(
            ["nft", "-f", "-"],
            input=ruleset,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NftError(f"nft cannot be run: {error}") from None
    if done.returncode:
        raise NftError("; ".join(done.stderr.strip().splitlines()[-4:]) or f"nft exit code {done.returncode}")


def _string(kind: int, value: str) -> bytes:
    return attribute(kind, value.encode() + b"\0")


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value))


class NftSocket:
    """A blocking nfnetlink socket in the opening thread's network namespace. Not for two threads at once."""

    def __init__(self) -> None:
        self._netlink = NetlinkSocket(NETLINK_NETFILTER)

    def close(self) -> None:
        self._netlink.close()

    @property
    def port(self) -> int:
        return self._netlink.port

    def change(self, table: str, *, add: Iterable[Element] = (), remove: Iterable[Element] = ()) -> None:
        """Add and remove elements of the ``inet`` table of that name, all of them or none.

        Raises: NetlinkError; ENOENT when the table, a set or an element to remove is not there.
        """
        requests = [_elements(DELSETELEM, 0, table, element) for element in remove]
        requests += [_elements(NEWSETELEM, NLM_F_CREATE, table, element) for element in add]
        self._batch(requests)

    def _batch(self, requests: Sequence[Message]) -> None:
        """Send one transaction."""
        mark = struct.pack("!BBH", 0, 0, NFNL_SUBSYS_NFTABLES)
        begin = self._netlink.frame(Message(BATCH_BEGIN, 0, mark), 0)
        # The end's sequence number need not follow the others; it is never answered.
        end = self._netlink.frame(Message(BATCH_END, 0, mark), 0)
        self._netlink.transact(begin, tuple(requests), end)

    def has_table(self, family: str, table: str) -> bool:
        for _, payload in self._dump(GETTABLE, family, b""):
            if text(dict(attributes(payload[4:])).get(1)) == table and payload[0] == FAMILIES[family]:
                return True
        return False

    def chains(self) -> list[Chain]:
        """Every chain of the families inet, ip and ip6."""
        found: list[Chain] = []
        for family in FAMILIES:
            for _, payload in self._dump(GETCHAIN, family, b""):
                values = dict(attributes(payload[4:]))
                hook = dict(attributes(values.get(4, b""))).get(1)
                found.append(
                    Chain(
                        family=family,
                        table=text(values.get(1)),
                        name=text(values.get(3)),
                        hook=int.from_bytes(hook, "big") if hook else None,
                        kind=text(values.get(7)),
                        drops=int.from_bytes(values.get(5, b"\0\0\0\1"), "big") == NF_DROP,
                    )
                )
        return found

    def rules(self, family: str, table: str, chain: str) -> list[Rule]:
        """The rules of one chain in order; empty when it is gone."""
        try:
            answers = self._dump(GETRULE, family, _string(1, table) + _string(2, chain))
        except NetlinkError as error:
            if error.errno == errno.ENOENT:
                return []
            raise
        found: list[Rule] = []
        for _, payload in answers:
            values = dict(attributes(payload[4:]))
            # The kernel filters by chain only since it learnt to; older ones send the whole table.
            if text(values.get(1)) != table or text(values.get(2)) != chain:
                continue
            handle = int.from_bytes(values.get(3, b""), "big")
            found.append(Rule(handle, _comment(values.get(7, b"")), values.get(4, b"")))
        return found

    def _dump(self, kind: int, family: str, body: bytes) -> list[tuple[int, bytes]]:
        payload = bytes([FAMILIES[family], 0, 0, 0]) + body
        return self._netlink.dump(_message(kind, 0, payload))

    def redirect_dns(
        self, address: IPv4Address, udp_port: int, tcp_port: int, *, replace: bool = False
    ) -> None:
        """Let port 53 of a loopback address lead to other ports, in the namespace this socket was opened in.

        Packets are rewritten on their way out, without connection tracking, so nothing is spent on the
        container's other traffic and port 53 stays free for a name server of its own. ``replace`` for a
        namespace where this was done before.

        Kernel: closing a socket waits for a grace period (10 ms) when something was deleted through it, so
        a fresh namespace is spared that.
        """
        table = "webdock_dns"
        head = bytes([NFPROTO_IPV4, 0, 0, 0])
        name = _string(1, table)
        chain = (
            name
            + _string(3, "output")
            + _string(7, "filter")
            + nested(4, _number(1, NF_INET_LOCAL_OUT), attribute(2, struct.pack("!i", -400)))
        )
        new_table = _message(NEWTABLE, NLM_F_CREATE, head + name)
        requests = [new_table, _message(DELTABLE, 0, head + name)] if replace else []
        requests += [new_table, _message(NEWCHAIN, NLM_F_CREATE, head + chain)]
        for protocol, port, checksum in ((Protocol.UDP, udp_port, 6), (Protocol.TCP, tcp_port, 16)):
            for address_at, port_at, seen, becomes in ((16, 2, 53, port), (12, 0, port, 53)):
                rule = nested(
                    4,
                    _payload_load(1, address_at, 4),
                    _compare(address.packed),
                    _meta_l4proto(),
                    _compare(bytes([protocol])),
                    _payload_load(2, port_at, 2),
                    _compare(struct.pack("!H", seen)),
                    _immediate(struct.pack("!H", becomes)),
                    _payload_write(port_at, checksum),
                )
                body = head + name + _string(2, "output") + rule
                requests.append(_message(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, body))
        self._batch(requests)


def pack(element: Element) -> bytes:
    """The element as the kernel takes it: each field padded to four bytes, in network order."""
    parts = [nested(1, attribute(1, b"".join(_first(field) for field in element.key)))]
    if element.value:
        parts.append(nested(2, attribute(1, b"".join(_first(field) for field in element.value))))
    if any(isinstance(field, IPv4Network | IPv6Network) for field in element.key):
        parts.append(nested(10, attribute(1, b"".join(_last(field) for field in element.key))))
    return nested(1, *parts)


def _first(field: Field) -> bytes:
    """The field, or the lower end of a network."""
    if isinstance(field, Protocol):
        return bytes([field, 0, 0, 0])
    if isinstance(field, Port):
        return struct.pack("!HH", field, 0)
    if isinstance(field, str):
        return field.encode().ljust(16, b"\0")
    if isinstance(field, IPv4Network | IPv6Network):
        return field.network_address.packed
    return field.packed


def _last(field: Field) -> bytes:
    """The field, or the upper end of a network."""
    if isinstance(field, IPv4Network | IPv6Network):
        return field.broadcast_address.packed
    return _first(field)


def _message(kind: int, flags: int, payload: bytes) -> Message:
    return Message(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, payload)


def _elements(kind: int, flags: int, table: str, element: Element) -> Message:
    body = _string(1, table) + _string(2, element.set) + _number(4, 1) + nested(3, pack(element))
    return _message(kind, flags, bytes([NFPROTO_INET, 0, 0, 0]) + body)


def _expression(name: str, *parts: bytes) -> bytes:
    return nested(1, _string(1, name), nested(2, *parts))


def _payload_load(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _number(1, 1), _number(2, base), _number(3, offset), _number(4, length))


def _payload_write(offset: int, checksum: int) -> bytes:
    """Write two bytes of the transport header from register 1 and keep the checksum right."""
    return _expression(
        "payload",
        _number(5, 1),
        _number(2, 2),
        _number(3, offset),
        _number(4, 2),
        _number(6, 1),
        _number(7, checksum),
        _number(8, 0),
    )


def _compare(value: bytes) -> bytes:
    return _expression("cmp", _number(1, 1), _number(2, 0), nested(3, attribute(1, value)))


def _meta_l4proto() -> bytes:
    return _expression("meta", _number(2, 16), _number(1, 1))


def _immediate(value: bytes) -> bytes:
    return _expression("immediate", _number(1, 1), nested(2, attribute(1, value)))


def _comment(userdata: bytes) -> str:
    """The comment in a rule's user data, which is type, length, value."""
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == 0:
            return text(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""


def notices() -> socket.socket:
    """A non-blocking socket that becomes readable whenever anybody changes the packet filter here."""
    watch = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
    )
    try:
        watch.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
    except BaseException:
        watch.close()
        raise
    return watch


def drain(watch: socket.socket, own: set[int]) -> bool:
    """Read what lies there; whether somebody whose port is not among ``own`` changed something."""
    others = False
    while True:
        try:
            data = watch.recv(NOTICE_BYTES)
        except BlockingIOError:
            return others
        except OSError as error:
            if error.errno == errno.ENOBUFS:  # more happened than the buffer holds: look at everything
                others = True
                continue
            raise
        others |= any(port not in own for _, _, _, port, _ in messages(data))
