"""Finds a shell inside a container: bash, else sh, else what busybox images hide; or says what there is.

Asks by running: only that tells the truth about PATH, user and file system of the container.
"""

from __future__ import annotations

import asyncio
from typing import Any

from django.utils.translation import gettext as _

from runtime.api.client import EngineClient
from runtime.api.errors import Conflict, EngineError, EngineUnreachable, Forbidden, NotFound, Unavailable

PROBE_TIMEOUT_S = 10.0
PROBE_OUTPUT_MAX_BYTES = 4096
CACHE_MAX = 500
NOT_RUNNABLE = (126, 127)  # what a shell, and the engine, say of a program that is not there or may not run

SH_QUESTION = ["sh", "-c", "command -v bash || echo sh"]
OTHERS = (
    ["bash"],
    ["/bin/bash"],
    ["/bin/sh"],
    ["/busybox/sh"],
    ["/bin/busybox", "sh"],
)


class NoShell(Conflict):
    """Nothing that we know is a shell runs in there; the message says what does."""

    def __init__(self, message: str, programs: tuple[str, ...]) -> None:
        super().__init__(message)
        self.programs = programs  # what the container itself was started with


_found: dict[tuple[str, str], list[str]] = {}  # (image id, user) -> shell; oldest out first


async def find_shell(client: EngineClient, container: dict[str, Any]) -> list[str]:
    """The command of the best shell of a running container (its inspect document).

    Raises: NoShell; Conflict when it is not running; what else the engine answers.
    """
    config = container.get("Config") or {}
    key = (str(container.get("Image", "")), str(config.get("User") or ""))
    if (known := _found.get(key)) is not None:
        return known
    id = str(container["Id"])
    code, output = await probe(client, id, SH_QUESTION)
    shell: list[str] | None = None
    if code == 0:
        shell = ["bash"] if output.decode(errors="replace").strip().endswith("bash") else ["sh"]
    else:
        for candidate in OTHERS:
            code, _output = await probe(client, id, [*candidate, "-c", "exit 0"])
            if code == 0:
                shell = candidate
                break
    if shell is None:
        raise NoShell(*_no_shell(container))
    while len(_found) >= CACHE_MAX:
        del _found[next(iter(_found))]
    _found[key] = shell
    return shell


def forget(container: dict[str, Any]) -> None:
    """Ask again next time: a cached shell turned out not to run."""
    user = str((container.get("Config") or {}).get("User") or "")
    _found.pop((str(container.get("Image", "")), user), None)


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
    words = _("This container has no shell (bash and sh were tried).")
    if program:
        words += " " + _(
            "It runs %(program)s: attach to that, or name a program of the image to run instead."
        ) % {"program": program}
    return words, (program,) if program else ()
