"""Websocket messages of a terminal, read and sent at once: its keys, output and echoes.

Autobahn looks at compression, fragments, masks and logs for each message, and Twisted sends what it is given
one turn of the loop later; a key's echo waits for both. What the connection does not take is left to Twisted,
and every message that is not a short whole one to Autobahn.
Spec: RFC 6455 5.2.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.abstract import FileDescriptor

_FINAL_BINARY, _FINAL_TEXT = 0x82, 0x81
_MASKED = 0x80
_HEAD_BYTES = 6  # of a short masked message


def binary_head(size: int) -> bytes:
    """What goes before an unmasked message of so many bytes."""
    if size <= 125:
        return bytes((_FINAL_BINARY, size))
    if size <= 0xFFFF:
        return struct.pack("!BBH", _FINAL_BINARY, 126, size)
    return struct.pack("!BBQ", _FINAL_BINARY, 127, size)


def short_message(data: bytes) -> tuple[bytes, bool, int] | None:
    """The short message of a browser which this begins with: its bytes, whether binary, where it ends."""
    if len(data) <= _HEAD_BYTES or data[0] not in (_FINAL_BINARY, _FINAL_TEXT):
        return None
    size = data[1] - _MASKED
    end = _HEAD_BYTES + size
    if not 0 < size <= 125 or len(data) < end:
        return None
    mask = (data[2:_HEAD_BYTES] * (size // 4 + 1))[:size]
    whole = int.from_bytes(data[_HEAD_BYTES:end]) ^ int.from_bytes(mask)
    return whole.to_bytes(size), data[0] == _FINAL_BINARY, end


def send_now(transport: Any, data: bytes) -> None:
    """Write as much as the connection takes, unless something waits to be written before it."""
    if _nothing_waits(transport):
        sent = transport.writeSomeData(data)
        if isinstance(sent, int) and sent > 0:  # else it is full, or lost: writing finds that out
            if sent == len(data):
                return
            data = data[sent:]
    transport.write(data)


def _nothing_waits(transport: Any) -> bool:
    return (
        isinstance(transport, FileDescriptor)
        and bool(transport.connected)
        and not transport.disconnecting
        and not transport.dataBuffer
        and not transport._tempDataBuffer
        and hasattr(transport, "writeSomeData")
    )
