"""Dockerfile instructions that change a configuration (``import`` and ``commit`` with changes); pure.

Spec: Docker API 1.47, ImageCreate and ImageCommit "changes"; Dockerfile reference.
"""

from __future__ import annotations

import copy
import json
import posixpath
import re
from collections.abc import Callable, Sequence
from typing import Any

from runtime.api.errors import InvalidArgument
from runtime.images.times import duration_s

Config = dict[str, Any]

CHANGES_MAX = 128
DEFAULT_SHELL = ["/bin/sh", "-c"]

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_NAME = re.compile(r"[^\s=\0]+")


def apply_changes(config: Config, changes: Sequence[str]) -> Config:
    """A copy of an image's ``config`` after these instructions.

    Raises: InvalidArgument.
    """
    if len(changes) > CHANGES_MAX:
        raise InvalidArgument(f"more than {CHANGES_MAX} changes")
    changed = copy.deepcopy(config)
    command_set = False
    for change in changes:
        for line in change.splitlines():
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            word, _, rest = line.strip().partition(" ")
            instruction = word.upper()
            handler = _INSTRUCTIONS.get(instruction)
            if handler is None:
                raise InvalidArgument(f"{instruction[:32]} is not a valid change command")
            rest = rest.strip()
            if not rest:
                raise InvalidArgument(f"{instruction} requires at least one argument")
            handler(changed, rest)
            command_set = command_set or instruction == "CMD"
            if instruction == "ENTRYPOINT" and not command_set:
                changed["Cmd"] = None  # the command belonged to the entrypoint that was
    return changed


def _command(config: Config, rest: str) -> list[str]:
    words = _json_words(rest)
    return words if words is not None else [*(config.get("Shell") or DEFAULT_SHELL), rest]


def _cmd(config: Config, rest: str) -> None:
    config["Cmd"] = _command(config, rest)


def _entrypoint(config: Config, rest: str) -> None:
    config["Entrypoint"] = _command(config, rest) or None


def _env(config: Config, rest: str) -> None:
    variables = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    variables.update(_pairs(rest, "ENV"))
    config["Env"] = [f"{key}={value}" for key, value in variables.items()]


def _label(config: Config, rest: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **_pairs(rest, "LABEL")}


def _expose(config: Config, rest: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in split_words(rest):
        found = _PORT.fullmatch(word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not found or not 1 <= first <= last <= 65535:
            raise InvalidArgument(f"invalid containerPort: {word[:64]}")
        for port in range(first, last + 1):
            ports[f"{port}/{(found[3] or 'tcp').lower()}"] = {}
    config["ExposedPorts"] = ports


def _user(config: Config, rest: str) -> None:
    config["User"] = _one(rest, "USER")


def _workdir(config: Config, rest: str) -> None:
    before = config.get("WorkingDir") or "/"
    config["WorkingDir"] = posixpath.normpath(posixpath.join("/", before, _one(rest, "WORKDIR")))


def _volume(config: Config, rest: str) -> None:
    words = _json_words(rest)
    paths = words if words is not None else split_words(rest)
    if not paths or not all(path.strip() for path in paths):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path.strip(): {} for path in paths}}


def _stopsignal(config: Config, rest: str) -> None:
    config["StopSignal"] = _one(rest, "STOPSIGNAL")


def _shell(config: Config, rest: str) -> None:
    words = _json_words(rest)
    if not words:
        raise InvalidArgument("SHELL requires the arguments to be in JSON form")
    config["Shell"] = words


def _onbuild(config: Config, rest: str) -> None:
    trigger = rest.partition(" ")[0].upper()
    if trigger in ("ONBUILD", "FROM", "MAINTAINER"):
        raise InvalidArgument(f"{trigger} isn't allowed as an ONBUILD trigger")
    config["OnBuild"] = [*(config.get("OnBuild") or ()), rest]


def _healthcheck(config: Config, rest: str) -> None:
    options: dict[str, str] = {}
    while found := re.match(r"--([a-z-]+)=(\S+)\s*", rest):
        options[found[1]] = found[2]
        rest = rest[found.end() :]
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE":
        config["Healthcheck"] = {"Test": ["NONE"]}
        return
    if kind.upper() != "CMD" or not command.strip():
        raise InvalidArgument("HEALTHCHECK takes NONE, or options and CMD")
    words = _json_words(command.strip())
    check: dict[str, Any] = {"Test": ["CMD-SHELL", command.strip()] if words is None else ["CMD", *words]}
    names = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod"}
    names["start-interval"] = "StartInterval"
    for key, value in options.items():
        if key == "retries" and value.isdigit():
            check["Retries"] = int(value)
        elif key in names:
            check[names[key]] = int(duration_s(value) * 1_000_000_000)
        else:
            raise InvalidArgument(f"HEALTHCHECK does not know --{key[:32]}={value[:32]}")
    config["Healthcheck"] = check


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def split_words(text: str) -> list[str]:
    """Words in the way of a shell: quotes hold together, a backslash takes the next sign as it is.

    Raises: InvalidArgument for an open quote.
    """
    words: list[str] = []
    word: list[str] | None = None
    quote = ""
    signs = iter(text)
    for sign in signs:
        if sign == "\\" and quote != "'":
            word = [*(word or ()), next(signs, "\\")]
        elif quote:
            if sign == quote:
                quote = ""
            else:
                assert word is not None
                word.append(sign)
        elif sign in "\"'":
            quote = sign
            word = word if word is not None else []
        elif sign.isspace():
            if word is not None:
                words.append("".join(word))
                word = None
        else:
            word = [*(word or ()), sign]
    if quote:
        raise InvalidArgument(f"unexpected end of statement while looking for matching {quote}")
    if word is not None:
        words.append("".join(word))
    return words


def _pairs(rest: str, instruction: str) -> dict[str, str]:
    words = split_words(rest)
    if "=" not in words[0]:  # the old form: one name, the rest of the line is its value
        name, _, value = rest.partition(" ")
        if not value.strip():
            raise InvalidArgument(f"{instruction} must have two arguments")
        return {name: " ".join(split_words(value))}
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise InvalidArgument(
                f"Syntax error - can't find = in {word[:64]!r}. Must be of the form: name=value"
            )
        found[name] = value
    return found


def _json_words(text: str) -> list[str] | None:
    """The words of the JSON form; None when it is not that form."""
    if not text.startswith("["):
        return None
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return None
    return words


def _one(rest: str, instruction: str) -> str:
    words = split_words(rest)
    if len(words) != 1 or not words[0]:
        raise InvalidArgument(f"{instruction} requires exactly one argument")
    return words[0]
