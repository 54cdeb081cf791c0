"""The two ways the Engine API cuts a byte stream: stdout/stderr frames and JSON lines.

Pure: bytes in, values out, no transport. Decoders hold at most one header or one line.

Spec: Docker API 1.47, ContainerAttach "Stream format".
"""

from __future__ import annotations

import json
import struct
from typing import Any

from runtime.api.errors import PeerProtocolError

STDIN = 0
STDOUT = 1
STDERR = 2

HEADER_BYTES = 8
LINE_MAX_BYTES = 16 << 20  # one JSON document of a stream

_HEADER = struct.Struct(">BxxxL")
_JSON = json.JSONDecoder()


def frame_header(stream: int, size: int) -> bytes:
    """The 8 bytes before a payload of ``size`` bytes of stdout (1) or stderr (2)."""
    return _HEADER.pack(stream, size)


def encode_frame(stream: int, data: bytes) -> bytes:
    """A whole frame."""
    return _HEADER.pack(stream, len(data)) + data


def encode_line(value: Any) -> bytes:
    """One JSON document and a newline."""
    return (
        json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
    )


class FrameDecoder:
    """Multiplexed bytes cut anywhere -> (stream, payload); a frame may come out in several pieces."""

    def __init__(self) -> None:
        self._header = bytearray()
        self._stream = STDOUT
        self._left = 0

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The payloads in ``data``.

        Raises: PeerProtocolError when a header is none.
        """
        if not self._header and self._left >= len(data):
            self._left -= len(data)
            return [(self._stream, data)] if data else []
        out: list[tuple[int, bytes]] = []
        view = memoryview(data)
        at = 0
        while at < len(view):
            if self._left:
                piece = bytes(view[at : at + self._left])
                at += len(piece)
                self._left -= len(piece)
                out.append((self._stream, piece))
                continue
            need = HEADER_BYTES - len(self._header)
            self._header += view[at : at + need]
            at += need
            if len(self._header) == HEADER_BYTES:
                if self._header[0] > 3 or self._header[1] or self._header[2] or self._header[3]:
                    raise PeerProtocolError(f"not a stream header: {bytes(self._header).hex(' ')}")
                self._stream, self._left = _HEADER.unpack(self._header)
                self._header.clear()
        return out

    def end(self) -> None:
        """The stream has ended.

        Raises: PeerProtocolError when it ended inside a frame.
        """
        if self._header or self._left:
            raise PeerProtocolError("the stream ended inside a frame")


class LineDecoder:
    """Takes JSON documents one after another, newlines between them or not, cut anywhere."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The documents completed by ``data``.

        Raises: PeerProtocolError when a line is not JSON or never ends.
        """
        self._buffer += data
        cut = self._buffer.rfind(b"\n")
        if cut < 0:
            if len(self._buffer) > LINE_MAX_BYTES:
                raise PeerProtocolError(f"a JSON line of more than {LINE_MAX_BYTES} bytes")
            return []
        lines = bytes(self._buffer[:cut])
        del self._buffer[: cut + 1]
        return _documents(lines)

    def end(self) -> list[Any]:
        """The stream has ended: what stands after the last newline."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return _documents(rest)


def _documents(data: bytes) -> list[Any]:
    try:
        text = data.decode("utf-8", "surrogatepass")
        at = 0
        out: list[Any] = []
        while True:
            while at < len(text) and text[at] in " \t\r\n":
                at += 1
            if at == len(text):
                return out
            value, at = _JSON.raw_decode(text, at)
            out.append(value)
    except ValueError as error:
        raise PeerProtocolError(f"not a JSON line: {error}") from None
