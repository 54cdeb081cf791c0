"""What a test run makes on the machine outlives a run that was killed: the next one of this clone clears it.

Every run keeps a record of what it makes, and a lock on that record for as long as it lives. A record nobody
holds is of a run that ended: what of it is still there has its processes ended, its engine purged, its mounts
and users taken away. Nothing is guessed from what lies about: another clone's run is in no record of ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from runtime import cgroups
from runtime.config import ConfigError, load_config
from runtime.purge import mounts_below, purge
from webdock.cli.errors import Failure
from webdock.cli.instance import Instance
from webdock.cli.users import remove_web_user

RECORDS = Path(__file__).resolve().parents[1] / ".leftovers"
END_S = 60.0  # for a process that was killed to be gone

_held: IO[str] | None = None


def directory(prefix: str, dir: str = "/tmp") -> Path:
    """A new directory, which is in the record before anything is in it."""
    made = Path(tempfile.mkdtemp(prefix=prefix, dir=dir))
    note("path", made)
    return made


def note(kind: str, name: str | Path) -> None:
    """Remember a path, cgroup, link or netns this run makes; to be called before it is made."""
    global _held
    if _held is None:
        RECORDS.mkdir(exist_ok=True)
        run = f"{os.getpid()}-{time.time_ns()}"
        _held = open(RECORDS / f"new-{run}", "w")  # noqa: SIM115 - it is held until the process ends
        fcntl.flock(_held, fcntl.LOCK_EX)
        os.rename(_held.name, RECORDS / f"run-{run}")  # only now may others find it: it is locked
    _held.write(f"{kind} {name}\n")
    _held.flush()


def clear() -> list[str]:
    """Clear what ended runs have left, in the reverse of the order it was made; what it was, in words."""
    told = []
    for path in sorted(RECORDS.glob("run-*")):
        try:
            with open(path, "r+") as record:
                fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for line in reversed(record.read().splitlines()):
                    kind, _, name = line.partition(" ")
                    if CLEARING[kind](name):
                        told.append(f"cleared what a dead run left: {line}")
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue  # its run lives, or another one clears it just now
        except (OSError, RuntimeError, ConfigError, Failure) as error:
            told.append(f"what the run of {path.name} left stays: {error}")
    return told


def _clear_path(name: str) -> bool:
    path = Path(name)
    if not os.path.lexists(path):
        return False
    _end(name)
    # A home and a run directory below it are an engine's, whose networks and cgroups bear names made of them.
    if (path / "home").is_dir():
        purge(load_config({"WEBDOCK_HOME": f"{path}/home", "WEBDOCK_RUN": f"{path}/run"}, Path(os.devnull)))
        remove_web_user(Instance(path / "home", path / "run", "127.0.0.1:1", None))
    for mount in mounts_below(path):
        subprocess.run(["umount", "--lazy", str(mount)], check=False)
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return True


def _end(name: str) -> None:
    """Kill whoever has this path among its words, its variables or as its root, until nobody has."""
    deadline = time.monotonic() + END_S
    while found := list(_processes(name.encode())):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(_runs(pid) for pid in found):
            if time.monotonic() > deadline:
                raise RuntimeError(f"processes {found} of a dead test run do not end: {name}")
            time.sleep(0.02)


def _processes(name: bytes) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (process / "cmdline").read_bytes() + b"\0" + (process / "environ").read_bytes()
            if name not in said and os.readlink(process / "ns/mnt") != os.readlink("/proc/self/ns/mnt"):
                mounts = (process / "mountinfo").read_bytes().splitlines()
                said = b"".join(line for line in mounts if line.split()[4] == b"/")
            if name in said and int(process.name) != os.getpid() and _runs(int(process.name)):
                yield int(process.name)


def _runs(pid: int) -> bool:
    """Whether it does; one that ended may wait for whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _clear_cgroup(name: str) -> bool:
    there = any(path.exists() for path in cgroups.detect().directories(name))
    cgroups.kill(name)
    cgroups.remove(name)
    return there


def _clear_link(name: str) -> bool:
    return not subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False).returncode


def _clear_netns(name: str) -> bool:
    return not subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False).returncode


CLEARING = {"path": _clear_path, "cgroup": _clear_cgroup, "link": _clear_link, "netns": _clear_netns}
