"""Where a request that becomes a stream ends in the bytes of its connection; pure.

A client may send input right behind its request. An HTTP parser would take it for the next request, so what
follows the end of such a request is kept back for the stream.
"""

from __future__ import annotations

import re

HEAD_BYTES = 128 << 10  # of a request line and headers

_BEGINNING = b"POST /"
_STREAMS = re.compile(
    rb"POST (?:/v[0-9.]{1,20})?/(?:containers/[^/\s?]+/attach|exec/[^/\s?]+/(?:start|attach))[ ?]"
)
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


def may_begin_stream(data: bytes) -> bool:
    """Whether these first bytes of a request ask for a stream."""
    return data.startswith(_BEGINNING) and _STREAMS.match(data) is not None


class StreamRequest:
    """Cuts one such request off from what follows it."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left: int | None = None  # bytes of the body; None: the head is not complete
        self._plain = False  # not understood: everything is left to the HTTP parser

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(what belongs to the request, what follows it)."""
        if self._plain:
            return data, b""
        if self._left is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0 and len(self._head) <= HEAD_BYTES:
                return b"", b""
            data = bytes(self._head)
            self._head.clear()
            found = _LENGTH.search(data, 0, end + 2)
            if end < 0 or _CHUNKED.search(data, 0, end + 2):
                self._plain = True
                return data, b""
            self._left = end + 4 + (int(found[1]) if found else 0)
        request, rest = data[: self._left], data[self._left :]
        self._left -= len(request)
        return request, rest
