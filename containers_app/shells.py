"""Finds the shells inside a container: what it has of the known ones and what its /etc/shells lists; or says
what there is.

Our engine looks them up in the container's file system. Other engines do not: there one `sh` is run, which is
remembered by image.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from django.utils.translation import gettext as _

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, EngineUnreachable, Forbidden, NotFound, Unavailable
from runtime.api.types import SHELLS

PROBE_TIMEOUT_S = 10.0
OFFER_S = 2.0  # a page waits no longer for an engine that is away
PROBE_OUTPUT_MAX_BYTES = 4096
CACHE_MAX = 500
NOT_RUNNABLE = (126, 127)  # what a shell, and the engine, say of a program that is not there or may not run

KNOWN = SHELLS  # the first that is there is opened
NO_SHELLS = ("nologin", "false", "rbash", "git-shell", "tmux", "screen")  # though /etc/shells may list them
SHELLS_MAX = 12
WORD = re.compile(r"/?[\w.+-]+(/[\w.+-]+)*")

# Paths of those on PATH, then those /etc/shells lists; only what sh itself has is used.
QUESTION = """for one do command -v "$one"; done
[ -r /etc/shells ] || exit 0
while read -r one; do [ -x "$one" ] && echo "$one"; done </etc/shells
exit 0"""
SH_QUESTION = ["sh", "-c", QUESTION, "sh", *KNOWN]
OTHERS = (
    ["/bin/sh"],
    ["/busybox/sh"],
    ["/bin/busybox", "sh"],
    *([name] for name in KNOWN if name != "sh"),
)


class NoShell(Conflict):
    """Nothing that we know is a shell runs in there; the message says what does."""

    def __init__(self, message: str, programs: tuple[str, ...]) -> None:
        super().__init__(message)
        self.programs = programs  # what the container itself was started with


Shell = list[str]  # the words of its command

_found: dict[tuple[str, str], list[Shell]] = {}  # (image id, user) -> best first; oldest out first


async def find_shells(client: EngineClient, container: dict[str, Any]) -> list[Shell]:
    """The shells of a running container (its inspect document), the best first, at least one.

    Raises: NoShell; Conflict when it is not running; what else the engine answers.
    """
    try:
        shells = await _look_up(client, container)
    except NotFound:
        shells = await _find_by_running(client, container)
    if not shells:
        raise NoShell(*_no_shell(container))
    return shells


async def offered(client: EngineClient, container: dict[str, Any]) -> list[str]:
    """Programs a page offers to choose from: as ``find_shells``, but nothing is run, nothing raised."""
    try:
        async with asyncio.timeout(OFFER_S):
            shells = await _look_up(client, container)
    except NotFound:
        shells = _found.get(_key(container), [])
    except (EngineError, TimeoutError):
        shells = []
    return [words[0] for words in shells if len(words) == 1]


async def _look_up(client: EngineClient, container: dict[str, Any]) -> list[Shell]:
    """Raises: NotFound from an engine that does not look them up, and when the container is gone."""
    return parse_shells("\n".join(await client.container_shells(str(container["Id"]))), asked="")


async def _find_by_running(client: EngineClient, container: dict[str, Any]) -> list[Shell]:
    if known := _found.get(_key(container)):
        return known
    id = str(container["Id"])
    code, output = await probe(client, id, SH_QUESTION)
    shells = parse_shells(output.decode(errors="replace")) if code == 0 else []
    for candidate in () if code == 0 else OTHERS:
        code, _output = await probe(client, id, [*candidate, "-c", "exit 0"])
        if code == 0:
            shells = [candidate]
            break
    if not shells:
        return []
    while len(_found) >= CACHE_MAX:
        del _found[next(iter(_found))]
    _found[_key(container)] = shells
    return shells


def _key(container: dict[str, Any]) -> tuple[str, str]:
    return str(container.get("Image", "")), str((container.get("Config") or {}).get("User") or "")


def parse_shells(output: str, *, asked: str = "sh") -> list[Shell]:
    """Paths one a line, one of each name, the best first, with the shell that was asked; pure.

    The container wrote it: what does not look like a program's path is left out.
    """
    found = {asked: asked} if asked else {}
    for line in output.splitlines():
        name = line.rpartition("/")[2]
        fits = WORD.fullmatch(line) and name not in NO_SHELLS and (name in KNOWN or line.startswith("/"))
        if fits and found.get(name, name) == name:  # a path is better than the bare name
            found[name] = line
    order = [name for name in KNOWN if name in found] + sorted(set(found) - set(KNOWN))
    return [[found[name], *(["sh"] if name == "busybox" else [])] for name in order[:SHELLS_MAX]]


async def probe(client: EngineClient, id: str, command: list[str]) -> tuple[int, bytes]:
    """Exit code and first output of a command; 127 when the engine cannot run it.

    Raises: Conflict when the container is not running, NotFound when it is gone, EngineUnreachable.
    """
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            exec_id = await client.exec_create(
                id, {"Cmd": command, "AttachStdout": True, "AttachStderr": False, "Tty": False}
            )
            output = b""
            async with await client.exec_start(exec_id, tty=False) as stream:
                while (piece := await stream.read()) is not None:
                    output = (output + piece[1])[:PROBE_OUTPUT_MAX_BYTES]
            answer = await client.exec_inspect(exec_id)
            # Race: an engine may close the stream a moment before it notes the exit.
            while answer.get("Running"):
                await asyncio.sleep(0.02)
                answer = await client.exec_inspect(exec_id)
    except TimeoutError:
        return 127, b""
    except (Conflict, Forbidden, Unavailable, EngineUnreachable):
        raise
    except NotFound:
        await client.container_inspect(id)  # gone itself: raises; else the program was what is missing
        return 127, b""
    except EngineError:
        return 127, b""
    code = answer.get("ExitCode")
    return (127 if code is None else int(code)), output


def _no_shell(container: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    program = str(container.get("Path") or "")
    words = _("This container has no shell that is known here.")
    if program:
        words += " " + _(
            "It runs %(program)s: attach to that, or name a program of the image to run instead."
        ) % {"program": program}
    return words, (program,) if program else ()
