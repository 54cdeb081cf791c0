"""DNS messages, as far as a resolver needs them that answers some names itself and hands on the rest.

Pure. Only the question is read; messages that are handed on stay the bytes they are.

Spec: RFC 1035, 4.1; RFC 3596; RFC 6891, 6.2.3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

UDP_BYTES = 512  # what every client takes over UDP
EDNS_BYTES = 1232  # what we send at most to one that says it takes more
NAME_BYTES = 255

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5

_HEADER = struct.Struct("!HHHHHH")
_QR, _AA, _TC, _RD, _RA = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080
_OPCODE = 0x7800


class Malformed(Exception):
    """Not a question we can answer; ``reply`` is what to send back, None for nothing."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__()
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Question:
    id: int
    flags: int
    name: str  # lower case, without the final dot
    type: int
    cls: int
    section: bytes  # the question section as it came
    room_bytes: int  # how much the client takes over UDP

    def reply(
        self, rcode: int, records: Sequence[tuple[int, bytes]] = (), *, ttl_s: int = 0, udp: bool = True
    ) -> bytes:
        """An answer with records, (type, data) each, about the name asked for; what does not fit is cut off
        and marked so, when it goes over UDP."""
        parts = [struct.pack("!HHHIH", 0xC00C, kind, IN, ttl_s, len(data)) + data for kind, data in records]
        flags = _QR | _AA | _RA | (self.flags & (_RD | _OPCODE)) | rcode
        room = self.room_bytes - _HEADER.size - len(self.section)
        if udp and sum(map(len, parts)) > room:
            flags |= _TC
            while parts and sum(map(len, parts)) > room:
                parts.pop()
        return _HEADER.pack(self.id, flags, 1, len(parts), 0, 0) + self.section + b"".join(parts)


def parse(message: bytes) -> Question:
    """The one question of a query.

    Raises: Malformed.
    """
    if len(message) < _HEADER.size:
        raise Malformed(None)
    id, flags, questions, answers, authorities, additional = _HEADER.unpack_from(message)
    if flags & _QR:
        raise Malformed(None)
    if flags & _OPCODE:
        raise Malformed(_bare(id, flags, NOTIMP))
    if questions != 1 or answers or authorities:
        raise Malformed(_bare(id, flags, FORMERR))
    read = _name(message, _HEADER.size)
    if read is None or read[1] + 4 > len(message):
        raise Malformed(_bare(id, flags, FORMERR))
    name, at = read
    kind, cls = struct.unpack_from("!HH", message, at)
    section = message[_HEADER.size : at + 4]
    return Question(id, flags, name, kind, cls, section, _room(message, at + 4, additional))


def _bare(id: int, flags: int, rcode: int) -> bytes:
    return _HEADER.pack(id, _QR | (flags & (_RD | _OPCODE)) | rcode, 0, 0, 0, 0)


def _name(message: bytes, at: int) -> tuple[str, int] | None:
    """The name at an offset, without compression (a question has nothing to point back to), and its end."""
    labels: list[str] = []
    total = 0
    while at < len(message):
        length = message[at]
        at += 1
        if length == 0:
            return ".".join(labels), at
        total += length + 1
        if length > 63 or total >= NAME_BYTES or at + length > len(message):
            return None
        labels.append(message[at : at + length].decode("ascii", "replace").lower())
        at += length
    return None


def _room(message: bytes, at: int, additional: int) -> int:
    """The size a client offers in an OPT record right after the question."""
    if additional and len(message) >= at + 11 and message[at] == 0:
        kind, size = struct.unpack_from("!HH", message, at + 1)
        if kind == OPT:
            return int(max(UDP_BYTES, min(size, EDNS_BYTES)))
    return UDP_BYTES


def reverse_address(name: str) -> IPv4Address | IPv6Address | None:
    """The address that ``4.3.2.1.in-addr.arpa`` or its IPv6 counterpart asks about."""
    labels = name.split(".")
    try:
        if name.endswith(".in-addr.arpa") and len(labels) == 6:
            return ip_address(".".join(reversed(labels[:4])))
        if name.endswith(".ip6.arpa") and len(labels) == 34:
            digits = "".join(reversed(labels[:32]))
            return ip_address(":".join(digits[at : at + 4] for at in range(0, 32, 4)))
    except ValueError:
        pass
    return None


def encode_name(name: str) -> bytes | None:
    """A name as labels; None when it cannot be one."""
    encoded = b""
    for label in name.rstrip(".").split("."):
        raw = label.encode("ascii", "ignore")
        if not raw or len(raw) > 63:
            return None
        encoded += bytes([len(raw)]) + raw
    return encoded + b"\0" if len(encoded) < NAME_BYTES else None


def answers(question: bytes, message: bytes) -> bool:
    """Whether a message is an answer to that query: same id, same question."""
    try:
        asked = parse(question)
    except Malformed:
        return False
    if len(message) < _HEADER.size or message[:2] != question[:2] or not message[2] & 0x80:
        return False
    section = message[_HEADER.size : _HEADER.size + len(asked.section)]
    return section.lower() == asked.section.lower() or message[4:6] == b"\0\0"


def rcode(message: bytes) -> int:
    return message[3] & 0x0F
