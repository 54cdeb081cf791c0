"""Log bytes -> lines of text. Pure: cut anywhere, also inside a character or an escape sequence.

Spec: Docker API 1.47, ContainerLogs with timestamps: each line starts with an RFC 3339 time and a space.
"""

from __future__ import annotations

import codecs
import re

LINE_MAX_CHARS = 16 * 1024  # a longer line is shown cut in several

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?")

_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]"
)

Line = tuple[int, str, str]  # stream (1 stdout, 2 stderr), text, time


class LogLines:
    """One reader's state: a decoder and an unfinished line for each stream."""

    def __init__(self) -> None:
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in (1, 2)}
        self._rest = {1: "", 2: ""}

    def feed(self, stream: int, data: bytes) -> list[Line]:
        """The lines these bytes complete."""
        stream = stream if stream in self._rest else 1
        text = self._rest[stream] + self._decoders[stream].decode(data)
        *whole, rest = text.split("\n")
        found: list[Line] = []
        for line in whole:
            found += self._cut(stream, line)
        if len(rest) > LINE_MAX_CHARS:
            found += self._cut(stream, rest[:-1])
            rest = rest[-1:]
        self._rest[stream] = rest
        return found

    def end(self) -> list[Line]:
        """What is left when the log ends without a newline."""
        found = []
        for stream in (1, 2):
            rest = self._rest[stream] + self._decoders[stream].decode(b"", final=True)
            self._rest[stream] = ""
            if rest:
                found.append(self._line(stream, rest))
        return found

    def unfinished(self) -> bool:
        """Whether a line waits for its end."""
        return any(self._rest.values())

    def _cut(self, stream: int, text: str) -> list[Line]:
        pieces = [text[at : at + LINE_MAX_CHARS] for at in range(0, len(text), LINE_MAX_CHARS)]
        return [self._line(stream, piece) for piece in pieces or [""]]

    @staticmethod
    def _line(stream: int, text: str) -> Line:
        text = text.removesuffix("\r")
        stamp = _STAMP.match(text)
        if stamp is None:
            return stream, text, ""
        return stream, text[stamp.end() :], stamp[1]


def plain(text: str) -> str:
    """A line without escape sequences and control characters, for places that show no colours."""
    return _ESCAPES.sub("", text)
