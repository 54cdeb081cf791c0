"""Environment and labels as lines of the Run form, both ways: a pasted .env file is read as it stands. Pure.

What no line can say is not shown, and kept.

Spec: KEY=VALUE; as in .env files ``export``, comments, and values in quotation marks, over several lines too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.utils.translation import gettext as _

from webdock.engines import secrets
from webdock.people.belongings import CLAIM_LABEL

SHOWN_CHARS = 80  # of a line that is named in a sentence
NAMED_MAX = 5  # in one sentence

_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "t": "\t"}  # the backslash first
_QUOTED = re.compile(r'"(?P<double>(?:\\.|[^"\\])*)"|\'(?P<single>[^\']*)\'', re.DOTALL)
_AFTER = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|$)")
_LINE = re.compile(r"([^\n]*)(?:\n|$)")
_PLAIN_UNSAFE = re.compile(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


class Assignment(NamedTuple):
    """One KEY=VALUE; no value at all when there is no =."""

    line: str
    key: str
    value: str | None


def assignments(text: str) -> Iterator[Assignment]:
    """Raises: ValueError naming the line whose quotation mark is never closed."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    at = 0
    while at < len(text):
        found = _LINE.match(text, at)
        assert found is not None
        whole = found[1].strip()
        start, at = at, found.end()
        if not whole or whole.startswith("#"):
            continue
        key, equals, value = whole.partition("=")
        value = value.strip()
        if equals and value[:1] in ("'", '"') and value[:1]:
            opens = text.index(value[0], text.index("=", start))
            quote = _QUOTED.match(text, opens)
            if quote is None:
                raise ValueError(
                    _("“%(line)s”: a quotation mark is never closed") % {"line": whole[:SHOWN_CHARS]}
                )
            if after := _AFTER.match(text, quote.end()):
                whole, at = text[start : quote.end()].strip(), after.end()
                value = unquoted(quote[0])
            elif "\n" in quote[0]:
                raise ValueError(
                    _("“%(line)s”: a quotation mark is never closed") % {"line": whole[:SHOWN_CHARS]}
                )
        yield Assignment(whole, key, value if equals else None)


def parse_env(text: str) -> list[str]:
    """KEY=VALUE lines, also those of a pasted .env file; of a key that comes twice the last one counts.

    Raises: ValueError naming the line.
    """
    found: dict[str, str] = {}
    for line, key, value in assignments(text):
        key = _bare(key)
        if not key or any(sign.isspace() for sign in key) or "\0" in line:
            raise ValueError(_("“%(line)s” is not KEY=VALUE") % {"line": line[:SHOWN_CHARS]})
        found[key] = key if value is None else f"{key}={value}"
    return list(found.values())


def _bare(key: str) -> str:
    return re.sub(r"^export[ \t]+", "", key.strip())


def remarks(text: str) -> list[str]:
    """What is worth a word about an environment, though nothing is wrong with it."""
    found = list(assignments(text))
    names = Counter(_bare(one.key) for one in found)
    notes = []
    if twice := [name for name, count in names.items() if count > 1]:
        notes.append(_("There more than once, and the last one counts: %(names)s.") % {"names": _some(twice)})
    if bare := [_bare(one.key) for one in found if one.value is None]:
        notes.append(
            _("Without = there is no value, and the image's own is taken away: %(names)s.")
            % {"names": _some(bare)}
        )
    return notes


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED_MAX]) + (" …" if len(names) > NAMED_MAX else "")


def parse_labels(text: str) -> dict[str, str]:
    """KEY=VALUE lines; a bare KEY has an empty value.

    Raises: ValueError naming the line.
    """
    found = {}
    for line, key, value in assignments(text):
        if not key.strip() or "\0" in line:
            raise ValueError(_("“%(line)s” is not KEY=VALUE") % {"line": line[:SHOWN_CHARS]})
        found[key.strip()] = value or ""
    return found


def unquoted(value: str) -> str:
    """Without one pair of quotation marks; in double ones, \\n and its like are what they stand for."""
    found = _QUOTED.fullmatch(value)
    if found is None:
        return value
    if found["single"] is not None:
        return found["single"]
    return _ESCAPE.sub(lambda one: _ESCAPED.get(one[1], one[0]), found["double"])


def quoted(value: str) -> str:
    """The value as ``unquoted`` reads it back, in double marks only where it must be."""
    if value == value.strip() and not _PLAIN_UNSAFE.search(value) and value[:1] not in ("'", '"'):
        return value
    for name, sign in _ESCAPED.items():
        value = value.replace(sign, f"\\{name}")
    return f'"{value}"'


# The environment


def env_lines(entries: Any, *, masked: bool = True) -> list[str]:
    """Entries as lines of the form, secret values masked; those no line can say are left out."""
    shown = []
    for entry in entries or ():
        name, equals, value = str(entry).partition("=")
        line = f"{name}={quoted(value)}" if equals else name
        if _reads_back(line, str(entry)):
            hidden = masked_entry(str(entry))
            if masked and hidden != str(entry):
                line = f"{name}={quoted(hidden.partition('=')[2])}"
            shown.append(line)
    return shown


def masked_entry(entry: str) -> str:
    """KEY=value with its secret hidden, when it looks like one."""
    found = secrets.environment([entry])[0]
    return f"{found['name']}={found['value']}" if "=" in entry else entry


def _reads_back(line: str, entry: str) -> bool:
    try:
        return parse_env(line) == [entry]
    except ValueError:
        return False


def unmasked(entries: Iterable[str], before: Iterable[str]) -> list[str]:
    """Entries in which a mask that came back is the value it hides.

    Raises: ValueError naming a variable whose mask was changed or stands for nothing.
    """
    values = {entry.partition("=")[0]: entry for entry in before}
    found = []
    for entry in entries:
        name = entry.partition("=")[0]
        if secrets.MASK in entry:
            if name not in values or masked_entry(values[name]) != entry:
                raise ValueError(
                    _("%(name)s: type the whole value; its hidden part is not known here") % {"name": name}
                )
            entry = values[name]
        found.append(entry)
    return found


def kept_with(entries: Iterable[str], before: Iterable[str]) -> list[str]:
    """What was typed, and of what was there before what no line shows."""
    before = list(before)
    shown = {line.partition("=")[0] for line in env_lines(before)}
    return [*entries, *(entry for entry in before if entry.partition("=")[0] not in shown)]


# Labels


def label_lines(labels: Mapping[str, Any] | None) -> dict[str, str]:
    """Label -> its line, of those a line can say."""
    shown = {}
    for name, value in (labels or {}).items():
        if name == CLAIM_LABEL:
            continue  # ours; it goes with the container
        line = f"{name}={quoted(str(value))}"
        try:
            reads_back = parse_labels(line) == {name: value}
        except ValueError:
            reads_back = False
        if reads_back:
            shown[name] = line
    return shown
