"""The processes of a container, as the host's `ps` lists them.

ps is given the caller's options, as Docker does; of its output only rows of the container's processes are
kept, so the options cannot show others.

Spec: Docker API 1.47, ContainerTop; ps(1).
"""

from __future__ import annotations

import os
import re
import shlex
from typing import Any

from runtime.api.errors import Internal, InvalidArgument
from runtime.oci.process import ToolError, run

DEFAULT_ARGUMENTS = "-ef"
ARGUMENT_BYTES = 1024
PS_TIMEOUT_S = 10.0

# Lines as long as they are; ps cuts them at some width when its output is not a pipe.
_ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "COLUMNS": "131072", "LC_ALL": "C.UTF-8"}
_PID_RENAMED = re.compile(r"\s+([^\s]*)=\s*(PID[^\s]*)")


async def processes(pids: list[int], ps_args: str) -> dict[str, Any]:
    """{"Titles": ["UID", "PID", …], "Processes": [["root", "1", …]]}.

    Raises: InvalidArgument for options ps or we refuse, Internal.
    """
    if len(ps_args) > ARGUMENT_BYTES or "\0" in ps_args:
        raise InvalidArgument("ps arguments are too long or have a NUL byte")
    try:
        words = shlex.split(ps_args or DEFAULT_ARGUMENTS)
    except ValueError as error:
        raise InvalidArgument(f"ps arguments cannot be read: {error}") from None
    for renamed in _PID_RENAMED.findall(" " + ps_args):
        if renamed[0] != "pid":
            raise InvalidArgument(f'specifying "{renamed[0]}={renamed[1]}" is not allowed')
    try:
        stdout, _ = await run(["ps", *words], timeout_s=PS_TIMEOUT_S, env=_ENVIRONMENT)
    except ToolError as error:
        if error.code == 127:
            raise Internal("ps is not installed on this machine (package procps)") from error
        raise InvalidArgument(f"ps: {error.stderr or 'failed'}") from error
    return parse(stdout, set(pids))


def parse(text: str, pids: set[int]) -> dict[str, Any]:
    """Rows of these processes and of their threads. Raises: InvalidArgument without a PID column."""
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidArgument("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows: list[list[str]] = []
    ours = False
    for line in lines[1:]:
        fields = line.split()
        if len(fields) <= column:
            continue
        if fields[column] == "-":  # a thread of the process above (-m, -T)
            if not ours:
                continue
        elif not fields[column].isdecimal():
            raise InvalidArgument(f"Unexpected pid '{fields[column][:40]}'")
        else:
            ours = int(fields[column]) in pids
        if ours:
            last = len(titles) - 1
            rows.append([*fields[:last], " ".join(fields[last:])])
    return {"Titles": titles, "Processes": rows}
