"""Signs of others' texts that hide or move what stands around them, written out. Pure.

A file called "invoice\u202efdp.exe" reads as one that ends in .pdf: what is shown is what is there.
"""

from __future__ import annotations

import re

# C0 without tab, DEL, C1; marks that have no width of their own or change the direction of others.
_HIDDEN = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def written_out(text: str) -> str:
    """The text with its hidden signs shown: ESC as ␛, U+202E as ⟨U+202E⟩, a byte that is no text as ⟨FF⟩."""
    return _HIDDEN.sub(_shown, text)


def _shown(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if 0xDC80 <= code <= 0xDCFF:  # as Python carries bytes that are not UTF-8
        return f"⟨{code - 0xDC00:02X}⟩"
    return "␡" if code == 0x7F else f"⟨U+{code:04X}⟩"
