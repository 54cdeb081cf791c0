"""The processes of a container, as the host's `ps` lists them.

ps is given the caller's options, as Docker does; of its output only rows of the container's processes are
kept, so the options cannot show others.

Spec: Docker API 1.47, ContainerTop; ps(1).
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import shlex
from pathlib import Path
from typing import Any

from runtime.api.errors import Internal, InvalidArgument
from runtime.idmap import IdMap
from runtime.oci.process import ToolError, run

DEFAULT_ARGUMENTS = "-ef"
ARGUMENT_BYTES = 1024
PS_TIMEOUT_S = 10.0

# Lines as long as they are; ps cuts them at some width when its output is not a pipe.
_ENVIRONMENT = {"PATH": os.environ.get("PATH", os.defpath), "COLUMNS": "131072", "LC_ALL": "C.UTF-8"}
# Column: the line of /proc/<pid>/status and the place in it (real, effective, saved, file system).
_ID_COLUMNS = {
    **dict.fromkeys(("UID", "EUID", "USER", "EUSER"), ("Uid", 1)),
    **dict.fromkeys(("RUID", "RUSER"), ("Uid", 0)),
    **dict.fromkeys(("SUID", "SUSER", "SVUID", "SVUSER"), ("Uid", 2)),
    **dict.fromkeys(("FUID", "FUSER"), ("Uid", 3)),
    **dict.fromkeys(("GID", "EGID", "GROUP", "EGROUP"), ("Gid", 1)),
    **dict.fromkeys(("RGID", "RGROUP"), ("Gid", 0)),
    **dict.fromkeys(("SGID", "SGROUP", "SVGID", "SVGROUP"), ("Gid", 2)),
    **dict.fromkeys(("FGID", "FGROUP"), ("Gid", 3)),
}
_PID_RENAMED = re.compile(r"\s+([^\s]*)=\s*(PID[^\s]*)")


async def processes(pids: list[int], ps_args: str, mapping: IdMap | None = None) -> dict[str, Any]:
    """{"Titles": ["UID", "PID", …], "Processes": [["root", "1", …]]}.

    mapping: the container's, whose ids are shown then, by the names the host has for them as without one.

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
    found = parse(stdout, set(pids))
    if mapping is not None:
        _show_all_ids(found, mapping)
    return found


def _show_all_ids(found: dict[str, Any], mapping: IdMap) -> None:
    column, status = found["Titles"].index("PID"), ""
    for row in found["Processes"]:
        with contextlib.suppress(OSError, KeyError, ValueError):  # it has ended
            if row[column] != "-":  # threads are of the process above them
                status = Path(f"/proc/{int(row[column])}/status").read_text()
            show_ids(found["Titles"], row, status, mapping)


def show_ids(titles: list[str], row: list[str], status: str, mapping: IdMap) -> None:
    """Put the container's users and groups in the place of the host's ids that ps has written.

    status: the text of the process's /proc/<pid>/status. Spec: proc(5); ps(1), Standard format specifiers.
    """
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    ids = {kind: [int(word) for word in lines[kind].split()] for kind in ("Uid", "Gid")}
    for column, title in enumerate(titles[: len(row)]):
        if title not in _ID_COLUMNS:
            continue
        kind, which = _ID_COLUMNS[title]
        id = mapping.to_container(ids[kind][which])
        # A number that was too long for a column of names is cut and ends in "+".
        number = title.endswith("ID") and row[column].isdecimal()
        row[column] = str(id) if number else _name(kind, id)


def _name(kind: str, id: int) -> str:
    try:
        return pwd.getpwuid(id).pw_name if kind == "Uid" else grp.getgrgid(id).gr_name
    except KeyError:
        return str(id)


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
