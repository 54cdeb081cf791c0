"""Two things crun does in a millisecond of work and three of loading itself, done here: start and delete.
And one it cannot do: lift the CPU quota of a living container on cgroup v1.

Each looks first whether the container is in the plain state it knows, and says False when it is not or when
anything is unexpected; the caller then runs crun itself, so nothing depends on this module.

Spec: crun 1.x, state directory: `status` (JSON), `exec.fifo` while the program waits to be started.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from runtime import cgroups
from runtime.oci.process import alive


def start(state: Path) -> bool:
    """Let the program of a created container go, as `crun start` does."""
    fifo = state / "exec.fifo"
    try:
        # Race: until the container's init has opened its end, this says ENXIO.
        fd = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.unlink(fifo)  # before the write: a container without it counts as running
        os.write(fd, b"\0")
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def lift_quota(state: Path) -> bool:
    """Take the CPU quota away from a living container; crun 1.8.1 cannot write a negative number."""
    try:
        path = json.loads((state / "status").read_bytes())["cgroup-path"]
        group = cgroups.detect().directory("cpu", path)
        if not path.strip("/") or group is None or cgroups.detect().version != 1:
            return False
        (group / "cpu.cfs_quota_us").write_text("-1")
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return True


def delete(state: Path) -> bool:
    """Forget a container whose last process has gone, as `crun delete` does."""
    try:
        status = json.loads((state / "status").read_bytes())
        if status["systemd-cgroup"] or alive(status["pid"]):
            return False
        path = status["cgroup-path"]
        found = cgroups.detect()
        if not path.strip("/"):
            return False
        for directory in found.directories(path):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                continue
        shutil.rmtree(state)
    except (OSError, ValueError, KeyError, TypeError):
        return False  # as EBUSY: a process is left in the group, which crun knows to end
    return True
