"""What became of containers while no engine looked: records held against conmon, the runtime and exit files.

Only finds out; what follows from it is decided in `lifecycle.py`.

Spec: OCI runtime 1.1, State.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import dataclass

from runtime import cgroups
from runtime.api.errors import EngineError
from runtime.containers.record import Record
from runtime.containers.rooms import Rooms
from runtime.containers.state import ACTIVE
from runtime.containers.times import SECOND_NS
from runtime.oci.conmon import Conmon, ConmonHandle, ExitInfo
from runtime.oci.directory import LOST_EXIT_CODE
from runtime.oci.process import alive

log = logging.getLogger("webdock.containers")


@dataclass(frozen=True)
class Finding:
    """About one container; with neither handle nor exit it is as its record says, and does not run."""

    handle: ConmonHandle | None = None  # it runs, watched by this conmon
    paused: bool = False
    exit: ExitInfo | None = None  # it ended meanwhile
    leftovers: bool = False  # something of a run is to be taken down


async def investigate(rooms: Rooms, record: Record, known: frozenset[str]) -> Finding:
    """known: ids the container's runtime has in its state directory."""
    conmon = rooms.conmon(record.host_config["Runtime"])
    bundle = rooms.bundle(record.id)
    thought_active = record.state in ACTIVE
    handle = conmon.adopt(bundle)
    if handle is None and record.id not in known and not thought_active:
        return Finding(exit=_unrecorded(conmon, record, rooms))
    if handle is not None and thought_active and alive(handle.pid):
        # Nearly always; the runtime need not be asked, which takes a process each time.
        return Finding(handle, paused=cgroups.frozen(rooms.cgroup(record)))
    state = await conmon.runtime.state(record.id) if record.id in known else None
    status = state["status"] if state else "stopped"
    if handle is not None:
        if status in ("running", "paused"):
            return Finding(handle, paused=status == "paused")
        if status == "stopped" and record.id in known:
            return Finding(handle)  # its program has ended, conmon is about to say so
        # Half made: the program never began.
        await undo(conmon, record, rooms)
        return Finding(leftovers=True, exit=_lost(conmon, record, rooms) if thought_active else None)
    if status == "created" and not thought_active:
        await undo(conmon, record, rooms)
        return Finding(leftovers=True)
    if status in ("running", "paused", "created"):
        # Its conmon is gone: nobody takes its output or would see its exit.
        log.error("container %s has lost its conmon and is ended", record.short_id)
        await _end(conmon, record)
        return Finding(leftovers=True, exit=_lost(conmon, record, rooms))
    info = conmon.read_exit(bundle)
    if thought_active:
        return Finding(leftovers=True, exit=info or _lost(conmon, record, rooms))
    return Finding(leftovers=True, exit=_unrecorded(conmon, record, rooms))


async def undo(conmon: Conmon, record: Record, rooms: Rooms) -> None:
    """End a container whose program never began, or must not have."""
    await conmon.runtime.delete(record.id, force=True)  # first: conmon leaves when its container does
    await conmon.abandon(rooms.bundle(record.id))
    await conmon.runtime.delete(record.id, force=True)  # Race: conmon was about to make it


async def _end(conmon: Conmon, record: Record) -> None:
    try:
        await conmon.runtime.kill(record.id, signal.SIGKILL, all=True)
    except EngineError as error:
        log.debug("container %s: %s", record.short_id, error)


def _lost(conmon: Conmon, record: Record, rooms: Rooms) -> ExitInfo:
    """An exit nobody saw, as after a power cut."""
    info = conmon.read_exit(rooms.bundle(record.id))
    return info or ExitInfo(LOST_EXIT_CODE, False, _last_sign(record, rooms), lost=True)


def _unrecorded(conmon: Conmon, record: Record, rooms: Rooms) -> ExitInfo | None:
    """The exit of a run that was so short, or the engine's end so near, that no record tells of it."""
    info = conmon.read_exit(rooms.bundle(record.id))
    if info is None:
        return None
    newest_ns = max(record.created_ns, record.finished_ns, record.started_ns)
    return info if int(info.finished_at * SECOND_NS) > newest_ns else None


def _last_sign(record: Record, rooms: Rooms) -> float:
    """When the container last wrote something, at the latest; its start otherwise."""
    try:
        return max(os.stat(rooms.log_path(record.id)).st_mtime, record.started_ns / SECOND_NS)
    except FileNotFoundError:
        return record.started_ns / SECOND_NS
