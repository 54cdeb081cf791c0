"""What a machine must have before the engine can run on it, said in plain words; used by ``up``, ``webdock
check`` and ``webdock doctor``.

Each ``*_check`` judges facts it is handed and touches nothing; ``examine`` gathers the facts of this machine.
It never repairs anything (that is ``cli/setup.py``) and never loads Django, nor anything outside the standard
library.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from webdock.cli.instance import Instance
from webdock.preflight.cgroups import cgroup_check, current_cgroups
from webdock.preflight.check import FAILURE, OK, WARNING, Check, find_program, probe, read, report
from webdock.preflight.kernel import (
    kernel_check,
    machine_check,
    namespace_check,
    nftables_check,
    overlay_check,
    root_check,
    try_overlay,
)
from webdock.preflight.places import address_check, home_check, nearest_existing, space_check, try_named_files
from webdock.preflight.programs import PROGRAMS, SECCOMP_PROFILE, program_checks, seccomp_check

__all__ = ["FAILURE", "OK", "WARNING", "Check", "examine", "report"]


def examine(instance: Instance) -> list[Check]:
    """Everything this machine is asked, in the order a person would want to read it."""
    release = platform.release()
    found = {name: find_program(name) is not None for name in (*PROGRAMS, "crun", "runc")}
    registered = "overlay" in read("/proc/filesystems").split()
    nft = find_program("nft")
    root = os.geteuid() == 0
    users = read("/proc/sys/user/max_user_namespaces").strip()
    where = nearest_existing(instance.home)
    return [
        machine_check(platform.machine(), 64 if platform.architecture()[0] == "64bit" else 32),
        kernel_check(platform.system(), release),
        root_check(os.geteuid()),
        cgroup_check(current_cgroups(), crun=found["crun"], runc=found["runc"]),
        *namespace_check((p.name for p in Path("/proc/self/ns").iterdir()), int(users or 0), release),
        overlay_check(registered, try_overlay(instance.home)),
        nftables_check(probe(nft, "list", "tables") if nft and root else None),
        *program_checks(found),
        seccomp_check(SECCOMP_PROFILE.is_file()),
        home_check(instance),
        try_named_files(instance, os.environ),
        space_check(shutil.disk_usage(where).free, str(where)),
        address_check(instance),
    ]
