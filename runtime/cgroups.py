"""The machine's control groups: which version, where mounted, a group's directories.

Reads, ends and removes groups; limits are set by the OCI runtime. `/sys/fs/cgroup` may be cgroup v2, v1, or
hybrid (v1 with an additional, mostly empty v2 tree, which counts as v1).

Spec: cgroups(7); kernel Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Container
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

LIST_MAX = 1 << 16  # of a CPU or node number
REMOVE_TRIES = 50  # a group is busy until its last process is reaped
REMOVE_PAUSE_S = 0.01
KILL_TIMEOUT_S = 20.0  # until the processes of a killed group are gone; one may be stuck in the kernel

_V1_CONTROLLERS = frozenset(
    (
        *("cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "pids"),
        *("hugetlb", "net_cls", "net_prio", "perf_event", "rdma", "misc"),
    )
)


@dataclass(frozen=True)
class Cgroups:
    """Where each controller's tree is mounted; `mounts` is {"memory": Path("/sys/fs/cgroup/memory"), …}.

    Version 1: named hierarchies appear under their name ("name=systemd") and, in hybrid set-ups, the v2
    tree as "unified". Version 2: every controller of the root is there, all at one mount point.
    """

    version: int
    mounts: dict[str, Path] = field(default_factory=dict)

    @property
    def controllers(self) -> frozenset[str]:
        return frozenset(name for name in self.mounts if "=" not in name and name != "unified")

    @property
    def hybrid(self) -> bool:
        return self.version == 1 and "unified" in self.mounts

    def directory(self, controller: str, path: str) -> Path | None:
        """A group's directory for one controller; None when the controller is not mounted."""
        mount = self.mounts.get(controller)
        return None if mount is None else mount / path.lstrip("/")

    def directories(self, path: str) -> list[Path]:
        """A group's directories in every tree, each once."""
        return sorted({mount / path.lstrip("/") for mount in self.mounts.values()})


def parse(mountinfo: str, v2_controllers: str = "") -> Cgroups:
    """Cgroups from the text of /proc/self/mountinfo and of cgroup v2's cgroup.controllers.

    Spec: proc(5), /proc/pid/mountinfo.
    """
    v1: dict[str, Path] = {}
    v2: Path | None = None
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        words, kinds = left.split(), right.split()
        if len(words) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        point = Path(words[4].encode().decode("unicode_escape"))
        if kinds[0] == "cgroup2":
            v2 = v2 or point
            continue
        for option in kinds[2].split(","):
            if option.startswith("name=") or option in _V1_CONTROLLERS:
                v1.setdefault(option, point)
    if any("=" not in name for name in v1):
        return Cgroups(1, {**v1, **({"unified": v2} if v2 else {})})
    if v2 is not None:
        names = [*v2_controllers.split(), "cgroup"]
        return Cgroups(2, dict.fromkeys(names, v2))
    return Cgroups(1, v1)


@cache
def detect() -> Cgroups:
    """This machine's, read once: trees are not mounted while an engine runs."""
    mountinfo = Path("/proc/self/mountinfo").read_text()
    found = parse(mountinfo)
    if found.version == 2:
        controllers = (found.mounts["cgroup"] / "cgroup.controllers").read_text()
        found = parse(mountinfo, controllers)
    return found


def own(pid: int, cgroups: Cgroups | None = None) -> str:
    """The group a process is in ("/webdock/<id>"), from the memory or v2 tree.

    Raises: ProcessLookupError.
    """
    cgroups = cgroups or detect()
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    best = "/"
    for line in lines:
        _, names, path = line.split(":", 2)
        if (cgroups.version == 2 and names == "") or (cgroups.version == 1 and "memory" in names.split(",")):
            best = path
    return best


def pids(path: str, cgroups: Cgroups | None = None) -> list[int]:
    """Host pids of every process in a group and below, ascending; [] when there is no such group."""
    cgroups = cgroups or detect()
    mount = cgroups.mounts.get("memory") or cgroups.mounts.get("cgroup") or cgroups.mounts.get("pids")
    if mount is None:
        return []
    found: set[int] = set()
    for directory, _, files in os.walk(mount / path.lstrip("/")):
        if "cgroup.procs" in files:
            with open(os.path.join(directory, "cgroup.procs")) as file:
                found.update(int(line) for line in file if line.strip() != "0")
    return sorted(found)


def named(names: Container[str], cgroups: Cgroups | None = None) -> list[str]:
    """Every group whose last part is one of these names, wherever it is ("/jobs/<id>")."""
    cgroups = cgroups or detect()
    mount = cgroups.mounts.get("memory") or cgroups.mounts.get("cgroup") or cgroups.mounts.get("pids")
    if mount is None:
        return []
    return sorted(
        f"/{(Path(directory) / name).relative_to(mount)}"
        for directory, below, _ in os.walk(mount)
        for name in below
        if name in names
    )


def kill(path: str, cgroups: Cgroups | None = None) -> int:
    """End every process in a group and below, frozen ones too; how many there were. Blocks.

    Raises: OSError when we are in the group ourselves, or when processes stay.
    """
    cgroups = cgroups or detect()
    ended: set[int] = set()
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while left := pids(path, cgroups):
        if os.getpid() in left:
            raise OSError(
                errno.EDEADLK, f"this very process is in control group {path}, which is to be killed"
            )
        if time.monotonic() > deadline:
            raise OSError(errno.ETIMEDOUT, f"processes {left} in control group {path} do not end")
        ended.update(left)
        _freeze(path, True, cgroups)  # so that none forks meanwhile
        for pid in pids(path, cgroups):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        _freeze(path, False, cgroups)  # Kernel: a v1 freezer lets nobody die
        time.sleep(REMOVE_PAUSE_S)
    return len(ended)


def _freeze(path: str, yes: bool, cgroups: Cgroups) -> None:
    """Freeze a group, or thaw it with all below; a group that is not there or cannot is passed over."""
    version1 = cgroups.version == 1
    top = cgroups.directory("freezer" if version1 else "cgroup", path)
    name = "freezer.state" if version1 else "cgroup.freeze"
    word = ("FROZEN" if yes else "THAWED") if version1 else str(int(yes))
    for directory, below, _ in os.walk(top) if top is not None else ():
        if yes:
            below.clear()  # what is below follows
        try:
            Path(directory, name).write_text(word)
        except OSError:
            continue


def frozen(path: str, cgroups: Cgroups | None = None) -> bool:
    """Whether a group's processes are frozen (or on their way to it)."""
    cgroups = cgroups or detect()
    freezer = cgroups.directory("freezer", path) if cgroups.version == 1 else None
    group = freezer or cgroups.directory("cgroup", path)
    try:
        if cgroups.version == 1:
            return group is not None and (group / "freezer.state").read_text().strip() != "THAWED"
        return group is not None and (group / "cgroup.freeze").read_text().strip() == "1"
    except OSError:
        return False


def realtime_us(path: str, cgroups: Cgroups | None = None) -> int:
    """Of each period, how long a group's members may run with real-time priority; 0 without such a group."""
    directory = (cgroups or detect()).directory("cpu", path)
    try:
        return 0 if directory is None else int((directory / "cpu.rt_runtime_us").read_text())
    except (OSError, ValueError):
        return 0


def hasten(cgroups: Cgroups | None = None) -> None:
    """Begin early what the next move of a process into a group would wait for; blocks up to some 20 ms.

    Called in a thread when a container or exec is about to start: its wait then passes while other things
    are made ready, and the runtime finds it over.
    """
    # Kernel: such a move takes cgroup_threadgroup_rwsem for writing, which waits for an RCU grace period
    # unless another writer did so in the last milliseconds. Moving ourselves to where we are is one, too.
    found = cgroups or detect()
    mount = found.mounts.get("memory") or found.mounts.get("cgroup")
    if mount is None:
        return
    try:
        with open(mount / own(os.getpid(), found).lstrip("/") / "cgroup.procs", "wb", buffering=0) as file:
            file.write(b"%d" % os.getpid())
    except OSError:
        return  # then the runtime waits


def remove(path: str, cgroups: Cgroups | None = None) -> None:
    """Remove an empty group and what is below it, in every tree; what is busy stays. Blocks briefly."""
    for directory in (cgroups or detect()).directories(path):
        for below, _, _ in os.walk(directory, topdown=False):
            _rmdir(below)


def _rmdir(directory: str) -> None:
    for _ in range(REMOVE_TRIES):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return
        except OSError:
            # Kernel: EBUSY until the last task has left; there is no event for v1 trees.
            if _populated(directory):
                return
            time.sleep(REMOVE_PAUSE_S)
        else:
            return


def _populated(directory: str) -> bool:
    try:
        with open(os.path.join(directory, "cgroup.procs")) as file:
            return file.read(1) != ""
    except OSError:
        return False


def parse_list(text: str) -> frozenset[int]:
    """ "0-2,5" -> {0, 1, 2, 5}. Raises: ValueError. Spec: cpuset(7), List format."""
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise ValueError(f"{part!r} is not a number or range")
        low, high = int(first), int(last or first)
        if high < low or high > LIST_MAX:
            raise ValueError(f"{part!r} is not a range")
        found.update(range(low, high + 1))
    return frozenset(found)
