"""Detach keys: the sequence in a terminal's input that leaves the session; pure.

Spec: Docker API 1.47, ContainerAttach ``detachKeys``.
"""

from __future__ import annotations

from runtime.api.errors import InvalidArgument

DEFAULT_KEYS = b"\x10\x11"  # ctrl-p,ctrl-q
_CONTROL = {f"ctrl-{name}": code for code, name in enumerate("@abcdefghijklmnopqrstuvwxyz[\\]^_")}


def parse_keys(text: str) -> bytes:
    """The bytes of "ctrl-p,ctrl-q" or "a,ctrl-x"; empty for an empty text.

    Raises: InvalidArgument.
    """
    keys = bytearray()
    for key in text.split(",") if text else ():
        code = _CONTROL.get(key.lower())
        if code is None and len(key) == 1 and key.isascii():
            code = ord(key)
        if code is None:
            raise InvalidArgument(
                f"invalid detach keys ({text[:80]}) provided: unknown character {key[:20]!r}"
            )
        keys.append(code)
    return bytes(keys)


class DetachFilter:
    """Takes input cut anywhere; what may be a beginning of the sequence is held back until it is decided."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._matched = 0

    def passes(self, data: bytes) -> bool:
        """Whether this goes on as it is, and the filter stays as it is."""
        return not self._matched and self._keys[0] not in data

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """(what goes on to the process, whether the sequence is complete; the rest is dropped then)."""
        keys = self._keys
        if self.passes(data):
            return data, False
        out = bytearray()
        for byte in data:
            if byte != keys[self._matched] and self._matched:
                out += keys[: self._matched]
                self._matched = 0
            if byte == keys[self._matched]:
                self._matched += 1
                if self._matched == len(keys):
                    return bytes(out), True
            else:
                out.append(byte)
        return bytes(out), False
