"""Binary websocket messages sent at once, as one frame each: the way of a terminal's output and echoes.

Autobahn looks at compression, fragments, masks and logs for each message, and Twisted sends what it is given
one turn of the loop later; a key's echo waits for both. What the connection does not take is left to Twisted.
Spec: RFC 6455 5.2.
"""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.abstract import FileDescriptor

_FINAL_BINARY = 0x82


def binary_head(size: int) -> bytes:
    """What goes before an unmasked message of so many bytes."""
    if size <= 125:
        return bytes((_FINAL_BINARY, size))
    if size <= 0xFFFF:
        return struct.pack("!BBH", _FINAL_BINARY, 126, size)
    return struct.pack("!BBQ", _FINAL_BINARY, 127, size)


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
