"""How the control groups are mounted, and whether that will do."""

from __future__ import annotations

from dataclasses import dataclass

from webdock.preflight.check import FAILURE, OK, WARNING, Check, read

V1_CONTROLLERS = ("cpu", "memory", "pids", "devices", "freezer", "cpuset")
V2_CONTROLLERS = ("cpu", "memory", "pids")


@dataclass(frozen=True)
class Cgroups:
    """How the cgroup hierarchies are mounted."""

    mode: str  # "v2", "v1", "hybrid" or "none"
    v1: frozenset[str]  # controllers mounted as v1
    v2: frozenset[str]  # controllers the unified tree carries
    unified: str  # mount point of the unified tree, "" without one


def parse_cgroups(mountinfo: str, unified_controllers: str) -> Cgroups:
    """Read the hierarchies out of /proc/self/mountinfo; ``unified_controllers`` is the text of
    cgroup.controllers.

    Spec: proc(5), /proc/pid/mountinfo; cgroups(7).
    """
    v1: set[str] = set()
    unified = ""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) < 5 or len(tail) < 3:
            continue
        if tail[0] == "cgroup2" and (not unified or len(fields[4]) < len(unified)):
            unified = fields[4]
        elif tail[0] == "cgroup":
            v1.update(
                option
                for option in tail[2].split(",")
                if option not in ("rw", "ro", "xattr") and "=" not in option
            )
    v2 = frozenset(unified_controllers.split()) if unified else frozenset()
    if unified and not v1:
        mode = "v2"
    elif unified:
        mode = "hybrid"
    else:
        mode = "v1" if v1 else "none"
    return Cgroups(mode, frozenset(v1), v2, unified)


def cgroup_check(cgroups: Cgroups, *, crun: bool, runc: bool) -> Check:
    if cgroups.mode == "none":
        return Check(
            "cgroups",
            FAILURE,
            "no cgroup file system is mounted",
            "mount one: mount -t cgroup2 cgroup2 /sys/fs/cgroup (webdock check --repair does it)",
        )
    if cgroups.mode == "v2":
        lacking = [name for name in V2_CONTROLLERS if name not in cgroups.v2]
        if lacking:
            return Check(
                "cgroups",
                WARNING,
                f"v2, but without {', '.join(lacking)}",
                "limits of that kind cannot be set; is this machine itself a container without delegation?",
            )
        return Check("cgroups", OK, "v2 (unified)")
    lacking = [name for name in V1_CONTROLLERS if name not in cgroups.v1]
    if lacking:
        return Check(
            "cgroups",
            WARNING,
            f"{cgroups.mode}, but without {', '.join(lacking)}",
            "limits of that kind cannot be set",
        )
    if cgroups.mode == "hybrid" and cgroups.v2:
        carried = ", ".join(sorted(cgroups.v2))
        if crun and runc:
            return Check(
                "cgroups",
                WARNING,
                f"hybrid, and the unified tree carries {carried}: crun refuses that, runc is used",
                "webdock check --repair mounts it as v1, then crun runs",
            )
        if not runc:
            return Check(
                "cgroups",
                FAILURE,
                f"hybrid, and the unified tree carries {carried}: crun refuses that",
                "webdock check --repair mounts it as v1; or install runc",
            )
    return Check("cgroups", OK, "hybrid (v1 controllers)" if cgroups.mode == "hybrid" else "v1")


def current_cgroups() -> Cgroups:
    """The cgroup hierarchies of this machine as they are mounted now."""
    mountinfo = read("/proc/self/mountinfo")
    unified = parse_cgroups(mountinfo, "").unified
    return parse_cgroups(mountinfo, read(f"{unified}/cgroup.controllers") if unified else "")
