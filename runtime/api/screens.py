"""What a terminal was sent, shortened so that it still draws the same screen. Pure.

A terminal that is fed the whole output of a program shows its screen; nothing else does so exactly. So
output itself is kept, not a picture of it. When it grows too long its beginning goes: never inside a sequence
or a character, and the modes, colours and title the dropped part left behind are put in its place. What was
drawn on the alternate screen goes once the program has left it; while a program is on it, the normal screen
below is kept beside it.

Spec: ECMA-48 5.4 (control sequences), 8.3; xterm "ctlseqs" (DECSET, OSC, alternate screen).
"""

from __future__ import annotations

import re
from typing import NamedTuple

BEGINNING_BYTES = 64  # kept of a control string that has not ended
LINE_SEARCH_BYTES = 8192  # a cut moves on so far to a line's beginning
COLOURS_MAX = 64  # sequences carried over since the last reset
TITLE_MAX_BYTES = 512
NEAR_BYTES = 64 << 10
OVERLAP_BYTES = 256  # the same in two pasts: they are one
KEPT_BYTES = 1 << 20  # 5,000 lines of two hundred bytes
SHORTEN_AT_BYTES = KEPT_BYTES + (512 << 10)

_SWITCH = re.compile(rb"\x1b\[\?(?:[0-9]{1,5};){0,8}(?:1049|1047|47)(?:;[0-9]{1,5}){0,8}([hl])")
_SEQUENCE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI
    rb"|[\]PX^_][^\x07\x1b\x18\x1a]*(?:\x07|\x1b\\|[\x18\x1a])?"  # OSC, DCS, SOS, PM, APC
    rb"|[ -/]+[0-~]"  # charsets
    rb"|[^\[\]PX^_ -/])"
)
# Each begins with as many fixed bytes as can be: a flood of colours is passed over without a look at each.
_MODE = re.compile(rb"\x1b\[\?([0-9;]{1,64})([hl])")
_TITLE = re.compile(rb"\x1b\][02];([^\x07\x1b]{0,512})(?:\x07|\x1b\\)")
_RARE = re.compile(rb"\x1b\[(?:([0-9;]{1,16})[hl]|([0-9]{0,5};?[0-9]{0,5})r|[0-6]? (q))")
_SHORT = re.compile(rb"\x1b(?:([=>])|([()])[0AB]|(c|\[!p))")  # keypad, charsets, resets
_COLOUR = re.compile(rb"\x1b\[[0-9;:]{0,64}m")
_CLEAR = re.compile(rb"\x1b\[2J|\x1b\[1?;?1?H\x1b\[0?J")
_SCREENS = {b"47", b"1047", b"1048", b"1049"}
_FORGOTTEN = {b"3", b"2026"}  # column switching would clear the screen; synchronized output ends by itself


class Shortened(NamedTuple):
    """``head`` and then the output from ``at`` on draw what the whole output draws."""

    head: bytes
    at: int
    whole: bool  # False: a part of the alternate screen may be missing until its program draws it again


def shorten(output: bytes, keep: int) -> Shortened:
    """Bring output down to about ``keep`` bytes; it is left as it is when it is shorter."""
    if len(output) <= keep:
        return Shortened(b"", 0, True)
    head, at = b"", 0
    entered: re.Match[bytes] | None = None
    for switch in _SWITCH.finditer(output) if b"\x1b[?" in output else ():
        if switch[1] == b"h":
            entered = entered or switch
        elif entered is not None:
            head += output[at : entered.start()]
            head += state_after(output[entered.start() : switch.end()])
            at, entered = switch.end(), None
    if entered is not None:
        return _on_alternate(head + output[at : entered.start()], entered[0], output, entered.end(), keep)
    left = len(output) - at
    if left > keep:
        cut = safe_cut(output, len(output) - keep)
        return Shortened(state_after(head + output[at:cut]), cut, True)
    return Shortened(_last(head, keep - left), at, True)


def _on_alternate(normal: bytes, enter: bytes, output: bytes, at: int, keep: int) -> Shortened:
    head = _last(normal, keep // 2) + enter
    room = max(keep - len(head), keep // 2)
    if len(output) - at <= room:
        return Shortened(head, at, True)
    earliest = len(output) - room
    cleared = _CLEAR.search(output, earliest)
    cut = cleared.start() if cleared else safe_cut(output, earliest)
    return Shortened(head + state_after(output[at:cut]), cut, cleared is not None)


def _last(output: bytes, keep: int) -> bytes:
    if len(output) <= keep:
        return output
    cut = safe_cut(output, len(output) - max(keep, 0))
    return state_after(output[:cut]) + output[cut:]


def safe_cut(output: bytes | bytearray, at: int) -> int:
    """The first place from ``at`` on in no sequence and no character, at a line's start if one is near."""
    at = _behind_sequence(output, at)
    line = output.find(b"\n", at, at + LINE_SEARCH_BYTES)
    if line >= 0 and _behind_sequence(output, line) == line:
        return line + 1
    while at < len(output) and output[at] & 0xC0 == 0x80:
        at += 1
    return at


def _behind_sequence(output: bytes | bytearray, at: int) -> int:
    """``at``, or the end of the control sequence it is in."""
    escape = output.rfind(b"\x1b", 0, at)
    if escape > 0 and output[escape : escape + 2] == b"\x1b\\":
        before = output.rfind(b"\x1b", 0, escape)
        escape = before if before >= 0 and escape + 2 > at else escape
    if escape < 0:
        return at
    sequence = _SEQUENCE.match(output, escape)
    if sequence is None:
        return len(output) if len(output) - escape < 64 else at
    return max(at, sequence.end())


def state_after(output: bytes) -> bytes:
    """The sequences that give a fresh terminal the modes, title and colours which this output leaves behind.

    Which screen is shown is not among them. Scroll regions, insert mode, the cursor's shape and colours are
    looked for near the end, the others everywhere.
    """
    if b"\x1b" not in output:
        return b""
    since, modes = 0, dict[bytes, bytes]()
    for short in _SHORT.finditer(output):
        if short[3]:
            since = short.end()
            modes.clear()
        else:
            modes[short[2] or b"="] = short[0]
    near = max(since, len(output) - NEAR_BYTES)
    for found in _MODE.finditer(output, since):
        for mode in found[1].split(b";"):
            if mode not in _SCREENS and mode not in _FORGOTTEN:
                modes[b"?" + mode] = b"\x1b[?" + mode + found[2]
    for found in _RARE.finditer(output, near):
        modes[found[1] or (b"r" if found[2] is not None else b"q")] = found[0]
    for title in _TITLE.finditer(output):
        modes[b"title"] = b"\x1b]2;" + title[1][:TITLE_MAX_BYTES] + b"\x07"
    return b"".join(modes.values()) + _colours(output, near) + _open_string(output)


def _open_string(output: bytes) -> bytes:
    """The beginning of a control string that goes on behind this output, or it would be drawn as text."""
    escape = output.rfind(b"\x1b")
    if output[escape + 1 : escape + 2] not in (b"]", b"P", b"X", b"^", b"_"):
        return b""
    string = _SEQUENCE.match(output, escape)
    if string is None or string.end() < len(output) or output[-1:] in (b"\x07", b"\x18", b"\x1a"):
        return b""
    return output[escape : escape + BEGINNING_BYTES]


def _colours(output: bytes, since: int) -> bytes:
    """The colour sequences since everything was last reset."""
    reset = max(since, output.rfind(b"\x1b[m", since), output.rfind(b"\x1b[0m", since))
    found: dict[bytes, None] = {}
    for colour in _COLOUR.finditer(output, reset):
        found.pop(colour[0], None)
        found[colour[0]] = None
    return b"".join([one for one in found if one not in (b"\x1b[m", b"\x1b[0m")][-COLOURS_MAX:])


class Output:
    """What a terminal wrote last, by position: its screen for who joins, the next bytes for who looks on.

    Bounded; what falls out at its beginning is summed up.
    """

    def __init__(self) -> None:
        self.start = 0  # position of the first byte that is still here
        self.end = 0
        self.whole = True  # False: the alternate screen may lack parts until its program draws it again
        self.size = (0, 0)  # rows and columns it is written for; 0: not known
        self._head = b""  # draws what was before
        self._tail = bytearray()

    def append(self, data: bytes) -> None:
        self._tail += data
        self.end += len(data)
        if len(self._head) + len(self._tail) > SHORTEN_AT_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        if (
            not self._head and b"\x1b" not in self._tail
        ):  # plain text leaves nothing behind, and is not copied
            cut = safe_cut(self._tail, len(self._tail) - KEPT_BYTES)
            self.whole, self.start = True, self.start + cut
            del self._tail[:cut]
            return
        output = self._head + self._tail
        head, at, whole = shorten(output, KEPT_BYTES)
        dropped = at - len(self._head)
        if dropped < 0:
            head, dropped = head + output[at : len(self._head)], 0
        self._head = head
        self.whole = whole if at else self.whole
        self.start += dropped
        del self._tail[:dropped]

    def replace(self, output: bytes) -> None:
        """Forget everything for what is known better; positions before this mean nothing any more."""
        self.start = self.end = self.end + 1
        self._head, self._tail, self.whole = b"", bytearray(), True
        self.append(output)

    def rejoin(self, past: bytes) -> bytes | None:
        """What follows of a past that overlaps with the end of this; None when that is not seen."""
        end = bytes(self._tail[-OVERLAP_BYTES:])
        at = past.rfind(end) if end else -1
        return None if at < 0 else past[at + len(end) :]

    def since(self, position: int, limit: int) -> bytes:
        """Up to so many bytes from a position between start and end."""
        at = position - self.start
        with memoryview(self._tail) as tail:
            return bytes(tail[at : at + limit])

    def picture(self, keep: int = SHORTEN_AT_BYTES) -> bytes:
        """What draws the screen as it is at ``end`` on an empty terminal, with as much before it as fits."""
        output = self._head + self._tail
        head, at, _whole = shorten(output, keep)
        return head + output[at:]
