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

from containers_app import endpoints, shellwords
from containers_app.mounts import mount_text, parse_mount
from containers_app.notations import parse_check
from containers_app.runflags import (
    BOXES,
    ENDPOINT,
    FLAGS,
    LINES,
    OF_THE_TERMINAL,
    UNTAKEN,
    UNTAKEN_BOXES,
    VALUES,
    Flag,
)
from containers_app.runspec import lines
from containers_app.variables import assignments, quoted

LINE_MAX_CHARS = 64 * 1024
PROGRAMS = ("docker", "podman", "nerdctl", "webdock")
BEFORE = ("sudo", "doas", "time", "env", "exec", "nohup")
SHOWN_CHARS = 200  # of what a note names
_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")
# Options of the client itself that take a value: which engine it asks.
_OF_THE_CLIENT = ("-H", "--host", "-c", "--context", "--config", "-l", "--log-level", "--url", "--connection")
_OF_SUDO = ("-u", "--user", "-g", "--group")
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)


def read(text: str) -> tuple[dict[str, Any], list[str]]:
    """(fields, notes): what could be taken, and a sentence for each thing that could not.

    Raises: ValueError when it is no such line.
    """
    if len(text) > LINE_MAX_CHARS:
        raise ValueError(_("this line is too long"))
    line = shellwords.split(re.sub(r"^[$#>&] +", "", text.strip()))
    reader = _Reader()
    rest = reader.options(reader.program(line.words))
    if not rest:
        raise ValueError(_("there is no image in this line"))
    fields = reader.fields()
    fields["image"] = rest[0]
    if rest[1:]:
        fields["command"] = shlex.join(rest[1:])
    if line.unknown:
        reader.notes.append(
            _("%(words)s: only the shell it was written for can fill that in. Type what it stands for.")
            % {"words": ", ".join(dict.fromkeys(line.unknown))[:SHOWN_CHARS]}
        )
    if line.rest:
        reader.notes.append(
            _("“%(text)s” belongs to the shell and was left out") % {"text": line.rest[:SHOWN_CHARS]}
        )
    return fields, reader.notes


class _Reader:
    """One line being read."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._values: dict[str, Any] = {}
        self._many: dict[str, list[str]] = {}
        self._endpoint: list[str] = []

    def fields(self) -> dict[str, Any]:
        if self._endpoint:
            self._many.setdefault("network", ["bridge"])
            name, *words = shlex.split(self._many["network"][0])
            self._many["network"][0] = _network_line(name, [*words, *self._endpoint])
        return self._values | {field: "\n".join(found) for field, found in self._many.items()}

    def program(self, words: list[str]) -> list[str]:
        """The words after ``docker run``. Raises: ValueError when it is another command."""
        rest = list(words)
        while rest and (rest[0] in BEFORE or _SETTING.fullmatch(rest[0])):
            before = rest.pop(0)
            while before in ("sudo", "doas") and rest and rest[0].startswith("-"):
                if rest.pop(0) in _OF_SUDO and rest:
                    rest.pop(0)
        if rest and re.split(r"[/\\]", rest[0])[-1].removesuffix(".exe") in PROGRAMS:
            rest.pop(0)
            while rest and rest[0].startswith("-"):
                option = rest.pop(0)
                value = [rest.pop(0)] if option in _OF_THE_CLIENT and rest else []
                self._untaken(" ".join([option, *value]), _("it runs on the engine of this page"))
            if rest[:1] == ["container"]:
                rest.pop(0)
        if rest[:1] not in (["run"], ["create"]):
            raise ValueError(_("this is no docker run line"))
        return rest[1:]

    def _untaken(self, flag: str, why: Any) -> None:
        self.notes.append(
            _("%(flag)s was not taken: %(why)s") % {"flag": flag[:SHOWN_CHARS], "why": str(why)}
        )

    def _unknown(self, flag: str) -> None:
        self.notes.append(_("%(flag)s is not known here and was not taken") % {"flag": flag[:SHOWN_CHARS]})

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
            if flag is None and name not in OF_THE_TERMINAL:
                self._unknown(word)
                return
            box = flag.kind == "box" if flag else not OF_THE_TERMINAL[name]
            if box and not letters.startswith("="):
                self._option(name, None, rest)
                continue
            self._option(name, letters.removeprefix("=") if letters else None, rest)
            return

    def _option(self, name: str, value: str | None, rest: list[str]) -> None:
        flag = FLAGS.get(name)
        if flag is not None and flag.kind == "box":
            self._box(flag, name, value)
        elif name == "--no-healthcheck":
            if (value or "true").lower() in _TRUE:
                self._values["health_cmd"] = "none"
        elif name in UNTAKEN_BOXES:
            self._untaken(name, UNTAKEN_BOXES[name])
        elif OF_THE_TERMINAL.get(name) is False:
            pass
        elif flag is not None or name in OF_THE_TERMINAL or name in UNTAKEN or name in ENDPOINT:
            if value is None:
                if not rest:
                    raise ValueError(_("%(flag)s needs a value") % {"flag": name})
                value = rest.pop(0)
            if flag is not None:
                self._take(flag, value)
            else:
                self._other(name, value)
        else:
            self._unknown(name if value is None else f"{name}={value}")

    def _box(self, flag: Flag, name: str, value: str | None) -> None:
        if (value or "true").lower() not in (*_TRUE, *_FALSE):
            self._untaken(f"{name}={value}", _("it is true or false"))
            return
        self._values[flag.field] = (value or "true").lower() in _TRUE

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
        elif flag.field == "devices" and "=" in value and not value.startswith("/"):
            self._untaken(f"--device {value}", _("this engine knows no CDI devices"))
        elif flag.field == "security_opt" and _names_a_file(value):
            self._untaken(
                f"--security-opt {value}", _("put the file's own text, on one line, behind seccomp=")
            )
        else:
            self._line(flag.field, value)
            if flag.field == "storage_opt":
                self.notes.append(
                    _("%(flag)s was taken, though webdock's own engine refuses it")
                    % {"flag": "--storage-opt"}
                )

    def _line(self, field: str, line: str) -> None:
        self._many.setdefault(field, []).append(line)

    def _network(self, value: str) -> None:
        """A name, or "name=shop,alias=web,ip=10.0.0.9"."""
        name, words, unknown = endpoints.words_of_option(value)
        for part in unknown:
            self._unknown(f"--network …{part}")
        self._line("network", _network_line(name, words))

    def _other(self, name: str, value: str) -> None:
        if name in ENDPOINT:
            self._endpoint.append(f"{ENDPOINT[name]}={value}")
        elif name == "--pull" and value == "always":
            self._untaken("--pull always", _("an image that is here is used; pull a newer one on its page"))
        elif name in UNTAKEN:
            self._untaken(f"{name} {value}", UNTAKEN[name])

    def _mount(self, value: str) -> None:
        try:
            self._line("mounts", mount_text(parse_mount(value)))
        except ValueError as error:
            self._untaken("--mount", error)


def _network_line(name: str, words: list[str]) -> str:
    return " ".join([name, *map(shlex.quote, endpoints.joined_words(words))])


def _names_a_file(option: str) -> bool:
    name, _sign, value = option.partition("=" if "=" in option else ":")
    return name == "seccomp" and value not in ("unconfined", "builtin") and not value.lstrip().startswith("{")


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
        elif field == "health_cmd":
            words += [names, _shell_check(value)]
        elif field == "entrypoint":
            words += ["--entrypoint", _first(value)]
        else:
            words += [names.split()[0], value]
    for field, names in LINES.items():
        for line in _values(field, str(fields.get(field) or "")):
            words += [names.split()[0], line]
    image = str(fields.get("image") or "").strip()
    written = [*(shlex.quote(word) for word in words), shlex.quote(image) if image else "IMAGE"]
    more = _rest(str(fields.get("entrypoint") or "")) + _split(str(fields.get("command") or ""))
    return " ".join([*written, *(shlex.quote(word) for word in more)])


def _shell_check(value: str) -> str:
    """``--health-cmd`` takes a shell command alone, so a list of words is written as one."""
    try:
        kind, *words = parse_check(value)
    except ValueError:
        return value
    return shlex.join(words) if kind == "CMD" else value


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


def _values(field: str, text: str) -> list[str]:
    """The values of an option that may come many times."""
    if field in ("env", "labels"):
        try:
            found = list(assignments(text))
        except ValueError:
            return list(lines(text))  # said at the field
        return [
            key if value is None else f"{key.removeprefix('export ')}={value}" for _l, key, value in found
        ]
    if field == "network":
        return [endpoints.option_value(line) for line in lines(text)]
    return list(lines(text))
