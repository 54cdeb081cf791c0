"""Netlink, spoken by hand: attributes, batches and dumps, for route netlink and for the packet filter.

† One of the modules that touch the kernel's network; only its siblings here call it. It knows how messages
are framed and answered, never what they say. A socket belongs to the namespace of the thread that opened
it, for good, so one opened inside a container's namespace configures that container from any thread.

By hand, because the general library costs 14 MiB of memory and 80 ms at start for a dozen messages.

Spec: RFC 3549; Linux uapi netlink.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

RECEIVE_BYTES = 1 << 16  # one read; the kernel's largest dump part is 32 KiB
REPLY_TIMEOUT_S = 10  # the kernel answers at once; longer means the lock it needs is held by something stuck
DUMP_TRIES = 20  # a dump that others keep interrupting is asked for again

NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12

NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_DUMP_INTR = 0x10
NLM_F_DUMP = 0x300
NLM_F_REPLACE = 0x100
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_CAPPED = 0x100
NLM_F_ACK_TLVS = 0x200
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF
NLMSGERR_ATTR_MSG = 1

_HEADER = struct.Struct("=IHHII")


class NetlinkError(OSError):
    """The kernel refused a message; ``errno`` is its reason, ``index`` the place in the batch."""

    def __init__(self, code: int, text: str, index: int) -> None:
        super().__init__(code, text or os.strerror(code))
        self.index = index


@dataclass(frozen=True, slots=True)
class Message:
    """One request: its type, flags beyond REQUEST and ACK, and the family header with its attributes."""

    type: int
    flags: int
    payload: bytes


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = 4 + len(value)
    return struct.pack("=HH", length, kind) + value + bytes(-length % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NLA_F_NESTED, b"".join(parts))


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in a payload, flags of their types removed; ends at the first that cannot be one."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4 or offset + length > len(data):
            return
        yield kind & NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += length + (-length % 4)


def text(value: bytes | None) -> str:
    """A string attribute's value without its final zero."""
    return (value or b"").rstrip(b"\0").decode(errors="replace")


def messages(data: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """(type, flags, sequence, port, payload) of each message in what one read gave."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, port = _HEADER.unpack_from(data, offset)
        if length < 16:
            return
        yield kind, flags, sequence, port, data[offset + 16 : offset + length]
        offset += length + (-length % 4)


class NetlinkSocket:
    """A blocking netlink socket in the opening thread's network namespace. Not for two threads at once."""

    def __init__(self, protocol: int = NETLINK_ROUTE) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
            self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
            self._socket.settimeout(REPLY_TIMEOUT_S)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    @property
    def port(self) -> int:
        """The kernel's number of this socket, as seen in notices of what it changed."""
        return int(self._socket.getsockname()[0])

    def frame(self, message: Message, flags: int) -> bytes:
        """The message with its header, under the next sequence number."""
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        length = 16 + len(message.payload)
        flags |= message.flags | NLM_F_REQUEST
        head = _HEADER.pack(length, message.type, flags, self._sequence, 0)
        return head + message.payload + bytes(-length % 4)

    def send(self, *requests: Message) -> None:
        """Carry out messages in order, in one system call.

        Kernel: it goes on after a message it refuses, so the caller undoes what stands in the way.
        Raises: NetlinkError for the first refused one, after all answers are in.
        """
        self.transact(b"", requests, b"")

    def transact(self, head: bytes, requests: tuple[Message, ...], tail: bytes) -> None:
        """Like ``send``, between two frames that are not answered (the marks of a transaction)."""
        if not requests:
            return
        first = self._sequence + 1
        body = b"".join(self.frame(request, NLM_F_ACK) for request in requests)
        self._socket.send(head + body + tail)
        left = set(range(first, first + len(requests)))
        failure: NetlinkError | None = None
        while left:
            for kind, flags, sequence, _, payload in messages(self._socket.recv(RECEIVE_BYTES)):
                if kind != NLMSG_ERROR or sequence not in left:
                    continue
                left.discard(sequence)
                code, words = _error(payload, flags)
                if code and (failure is None or sequence - first < failure.index):
                    failure = NetlinkError(code, words, sequence - first)
        if failure is not None:
            raise failure

    def get(self, request: Message) -> tuple[int, bytes]:
        """The one answer, (type, payload), to a question about one object.

        Raises: NetlinkError.
        """
        return self._collect(request, 0)[0][0]

    def dump(self, request: Message) -> list[tuple[int, bytes]]:
        """Every answer to a dump request, as (type, payload); asked again when things changed meanwhile.

        Raises: NetlinkError.
        """
        for _ in range(DUMP_TRIES):
            found, interrupted = self._collect(request, NLM_F_DUMP)
            if not interrupted:
                break
        return found

    def _collect(self, request: Message, flags: int) -> tuple[list[tuple[int, bytes]], bool]:
        self._socket.send(self.frame(request, flags))
        found: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            for kind, answer_flags, sequence, _, payload in messages(self._socket.recv(RECEIVE_BYTES)):
                if sequence != self._sequence:
                    continue
                interrupted |= bool(answer_flags & NLM_F_DUMP_INTR)
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    code, words = _error(payload, answer_flags)
                    if code:
                        raise NetlinkError(code, words, 0)
                    return found, interrupted
                found.append((kind, payload))
                if not flags:
                    return found, False


def _error(payload: bytes, flags: int) -> tuple[int, str]:
    """The error number (0: success) and the kernel's own words of an answer."""
    if len(payload) < 4:
        return 0, ""
    code = -struct.unpack_from("=i", payload)[0]
    if not code or not flags & NLM_F_ACK_TLVS or len(payload) < 20:
        return code, ""
    offset = 20
    if not flags & NLM_F_CAPPED:
        (length,) = struct.unpack_from("=I", payload, 4)
        offset = 4 + length + (-length % 4)
    return code, text(dict(attributes(payload[offset:])).get(NLMSGERR_ATTR_MSG))
