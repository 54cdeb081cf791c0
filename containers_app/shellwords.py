"""A line typed for a shell, cut into words as that shell would. Pure; runs nothing and fills nothing in.

What only the shell knows (``$HOME``, ``$(pwd)``, `` `id` ``) stays in its word as it was written and
is named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from django.utils.translation import gettext as _

_SUBSTITUTION = (
    r"\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`|\$\{[^}]*\}|\$(?:env:)?[A-Za-z_][A-Za-z0-9_]*|%[A-Za-z_]+%"
)
_PIECE = re.compile(
    rf"(?P<next>[\\^`][ \t]*\r?\n)|(?P<blank>[ \t\r]+)|(?P<end>[\n;&|<>])|'(?P<single>[^']*)'"
    rf'|(?P<double>")|(?P<unknown>{_SUBSTITUTION})|\\(?P<escaped>.)|(?P<plain>[^\s\'"\\$`%;&|<>^]+|.)',
    re.DOTALL,
)
_IN_DOUBLE = re.compile(
    rf'(?P<close>")|\\\r?\n|\\(?P<escaped>["\\$`])|(?P<unknown>{_SUBSTITUTION})|(?P<plain>[^"\\$`%]+|.)',
    re.DOTALL,
)


@dataclass
class ShellLine:
    """The words of the first command, what in them only a shell can fill in, and what stands behind it."""

    words: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    rest: str = ""


def split(text: str) -> ShellLine:
    """Raises: ValueError for a quotation mark that is never closed."""
    line = ShellLine()
    word: str | None = None
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        assert found is not None  # the last alternative takes anything
        kind, piece, at = found.lastgroup, found[0], found.end()
        if kind == "end" and not (piece == "\n" and not line.words and word is None):
            line.rest = text[found.start() :].strip()
            if piece in "<>" and word is not None and word in "012":
                line.rest, word = word + line.rest, None
            break
        if kind in ("blank", "next", "end"):
            if word is not None and not (kind == "next" and piece.startswith("\\\n")):
                line.words.append(word)
                word = None
        elif kind == "double":
            more, at = _double(text, at, line)
            word = (word or "") + more
        elif kind == "plain" and piece in "'":
            raise ValueError(_("a quotation mark is never closed"))
        else:
            if kind == "unknown":
                line.unknown.append(piece)
            word = (word or "") + (found[kind] if kind in ("single", "escaped") else piece)
    if word is not None:
        line.words.append(word)
    return line


def _double(text: str, at: int, line: ShellLine) -> tuple[str, int]:
    """What stands between two double quotation marks, and where it goes on."""
    found: list[str] = []
    while at < len(text):
        piece = _IN_DOUBLE.match(text, at)
        assert piece is not None
        at = piece.end()
        if piece.lastgroup == "close":
            return "".join(found), at
        if piece.lastgroup == "unknown":
            line.unknown.append(piece[0])
        if piece.lastgroup is not None:
            found.append(piece[piece.lastgroup])
    raise ValueError(_("a quotation mark is never closed"))
