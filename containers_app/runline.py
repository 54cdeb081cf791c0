"""A ``docker run`` line as the Run form's fields, and the fields as such a line. Pure; runs nothing.

A flag that is not in the table is named, never dropped.

Spec: ``docker run`` of Docker 28.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from containers_app.mounts import mount_text, parse_mount
from containers_app.runflags import BOXES, DETACHED, ENDPOINT, FLAGS, LINES, OTHERS, VALUES, Flag
from containers_app.runspec import lines, quoted, unquoted

LINE_MAX_CHARS = 64 * 1024
PROGRAMS = ("docker", "podman", "nerdctl", "webdock")


_SHELL = re.compile(r"\$\(|`|\$\{?[A-Za-z_]")


def read(text: str) -> tuple[dict[str, Any], list[str]]:
    """(fields, notes): what could be taken, and a sentence for each thing that could not.

    Raises: ValueError when it is no such line.
    """
    words = _words(text)
    reader = _Reader()
    rest = reader.options(words)
    if not rest:
        raise ValueError(_("there is no image in this line"))
    fields = reader.fields()
    fields["image"] = rest[0]
    if rest[1:]:
        fields["command"] = shlex.join(rest[1:])
    if _SHELL.search(text):
        reader.notes.append(
            _("$… and `…` were not filled in: only the shell they were written for can do that.")
        )
    return fields, reader.notes


def _words(text: str) -> list[str]:
    """The words after ``docker run``."""
    if len(text) > LINE_MAX_CHARS:
        raise ValueError(_("this line is too long"))
    text = text.strip().removeprefix("$ ").removeprefix("# ")
    text = re.sub(r"[\\^`][ \t]*\r?\n", " ", text)  # lines that go on: of sh, cmd and PowerShell
    try:
        words = shlex.split(text)
    except ValueError:
        raise ValueError(_("a quotation mark is never closed")) from None
    while words and (words[0] in ("sudo", "time") or re.fullmatch(r"[A-Z_]+=\S*", words[0])):
        words = words[1:]
    if words and words[0].rpartition("/")[2] in PROGRAMS:
        words = words[1:]
        if words[:1] == ["container"]:
            words = words[1:]
    if words[:1] not in (["run"], ["create"]):
        raise ValueError(_("this is no docker run line"))
    return words[1:]


class _Reader:
    """One line being read."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._values: dict[str, Any] = {}
        self._many: dict[str, list[str]] = {}
        self._endpoint: list[str] = []

    def fields(self) -> dict[str, Any]:
        if self._endpoint:
            networks = self._many.setdefault("network", ["bridge"])
            networks[0] = " ".join([networks[0], *self._endpoint])
        return self._values | {field: "\n".join(found) for field, found in self._many.items()}

    def options(self, words: list[str]) -> list[str]:
        """Take the options; gives the image and what stands after it."""
        rest = list(words)
        while rest and rest[0].startswith("-") and rest[0] != "-":
            word = rest.pop(0)
            if word == "--":
                break
            if word.startswith("--"):
                name, equals, value = word.partition("=")
                self._option(name, value if equals else None, rest)
            else:
                self._short(word, rest)
        return rest

    def _short(self, word: str, rest: list[str]) -> None:
        """ "-it", "-p8080:80", "-e", "A=1"."""
        letters = word[1:]
        while letters:
            name, letters = f"-{letters[0]}", letters[1:]
            flag = FLAGS.get(name)
            box = (flag is not None and flag.kind == "box") or name in ("-d", "-q")
            if box and not letters.startswith("="):
                self._option(name, None, rest)
                continue
            if flag is None and name not in ("-d", "-q", "-a"):
                self.notes.append(_("%(flag)s is not known here and was not taken") % {"flag": word})
                return
            self._option(name, letters.removeprefix("=") if letters else None, rest)
            return

    def _option(self, name: str, value: str | None, rest: list[str]) -> None:
        flag = FLAGS.get(name)
        if name in DETACHED:
            if DETACHED[name] and value is None and rest:
                rest.pop(0)
        elif flag is not None and flag.kind == "box":
            self._values[flag.field] = value is None or value.lower() in ("true", "1", "t")
        elif flag is not None or name in OTHERS:
            if value is None:
                if not rest:
                    raise ValueError(_("%(flag)s needs a value") % {"flag": name})
                value = rest.pop(0)
            if flag is not None:
                self._take(flag, value)
            else:
                self._other(name, value)
        elif name == "--no-healthcheck":
            self._values["health_cmd"] = "none"
        else:
            self.notes.append(
                _("%(flag)s is not known here and was not taken")
                % {"flag": name if value is None else f"{name}={value}"}
            )

    def _take(self, flag: Flag, value: str) -> None:
        if flag.field == "entrypoint":
            self._values["entrypoint"] = shlex.quote(value)
        elif flag.kind == "value":
            self._values[flag.field] = value
        elif flag.field == "env" and "=" not in value:
            self.notes.append(
                _("-e %(name)s has no value here: it comes from the shell's environment") % {"name": value}
            )
        elif flag.field == "network":
            self._network(value)
        elif flag.field in ("env", "labels"):
            name, equals, text = value.partition("=")
            self._line(flag.field, f"{name}={quoted(text)}" if equals else name)
        elif flag.field == "mounts":
            self._mount(value)
        else:
            self._line(flag.field, value)

    def _line(self, field: str, line: str) -> None:
        self._many.setdefault(field, []).append(line)

    def _network(self, value: str) -> None:
        """A name, or "name=shop,alias=web,ip=10.0.0.9"."""
        if not value.startswith("name="):
            self._line("network", value)
            return
        known, name, aliases = [], "", []
        for part in value.split(","):
            key, _equals, text = part.partition("=")
            if key == "name":
                name = text
            elif key == "alias":
                aliases.append(text)
            elif key in ("ip", "ip6", "mac-address"):
                known.append(f"{key.removesuffix('-address')}={text}")
            else:
                self.notes.append(
                    _("%(flag)s is not known here and was not taken") % {"flag": f"--network …{part}"}
                )
        alias = [f"alias={','.join(aliases)}"] if aliases else []
        self._line("network", " ".join([name, *alias, *known]))

    def _other(self, name: str, value: str) -> None:
        if name in ENDPOINT:
            word = f"{ENDPOINT[name]}={value}"
            if name.endswith("-alias") and self._endpoint and self._endpoint[-1].startswith("alias="):
                self._endpoint[-1] += f",{value}"
            else:
                self._endpoint.append(word)
        elif name in ("--attach", "-a", "--detach-keys", "--cidfile"):
            pass  # about the terminal the line is typed in
        elif name == "--gpus":
            self.notes.append(
                _("%(flag)s was not taken: this engine gives no graphics cards to containers")
                % {"flag": f"--gpus {value}"}
            )
        elif name in ("--env-file", "--label-file"):
            self.notes.append(
                _("%(flag)s %(file)s: paste what is in the file into the field")
                % {"flag": name, "file": value}
            )
        else:
            self.notes.append(_("%(flag)s has no field here and was not taken") % {"flag": f"{name} {value}"})

    def _mount(self, value: str) -> None:
        try:
            self._line("mounts", mount_text(parse_mount(value)))
        except ValueError as error:
            self.notes.append(_("%(flag)s was not taken: %(why)s") % {"flag": "--mount", "why": error})


def line_of(fields: Mapping[str, Any]) -> str:
    """The fields, as they were typed, as one ``docker run`` line."""
    words = ["docker", "run", "-d"]
    for field, names in BOXES.items():
        if fields.get(field):
            words.append(names.split()[0])
    for field, names in VALUES.items():
        value = str(fields.get(field) or "").strip()
        if not value or (field == "restart" and value == "no"):
            continue
        if field == "health_cmd" and value == "none":
            words.append("--no-healthcheck")
        elif field == "entrypoint":
            words += ["--entrypoint", _first(value)]
        else:
            words += [names.split()[0], value]
    for field, names in LINES.items():
        for line in lines(str(fields.get(field) or "")):
            if field in ("env", "labels"):
                name, equals, value = line.partition("=")
                line = f"{name.strip()}{equals}{unquoted(value)}"
            if field == "network":
                line = _network_value(line)
            words += [names.split()[0], line]
    image = str(fields.get("image") or "").strip()
    written = [*(shlex.quote(word) for word in words), shlex.quote(image) if image else "IMAGE"]
    more = _rest(str(fields.get("entrypoint") or "")) + _split(str(fields.get("command") or ""))
    return " ".join([*written, *(shlex.quote(word) for word in more)])


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def _first(text: str) -> str:
    """``--entrypoint`` takes one word; the others come before the command."""
    words = _split(text)
    return words[0] if words else ""


def _rest(text: str) -> list[str]:
    return _split(text)[1:]


def _network_value(line: str) -> str:
    name, *settings = _split(line) or [""]
    if not settings:
        return name
    parts = [f"name={name}"]
    for one in settings:
        key, _equals, value = one.partition("=")
        if key == "alias":
            parts += [f"alias={alias}" for alias in value.split(",")]
        else:
            parts.append(f"{'mac-address' if key == 'mac' else key}={value}")
    return ",".join(parts)
