"""Takes an instance off the machine: `webdock down --purge` runs it once the engine has ended.

It removes what outlives an engine on purpose, so that containers can run on: networks, control groups,
mounts, and the state below home and run. Nothing outside these two directories is deleted, and nothing
through a mount.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from pathlib import Path

from runtime import cgroups
from runtime.config import ConfigError, EngineConfig, load_config
from runtime.network.networks import purge as purge_networks
from runtime.snapshots.mount import unmount

log = logging.getLogger("webdock.purge")

#: What the rooms keep below run; anything else there is not ours.
VOLATILE = (
    "crun", "runc", "exec", "mounts", "netns", "sandboxes", "shm", "userns", "userns.base", "view",
    "views", "volumes", "engine.lock", "engine.sock", "web.sock",
)  # fmt: skip


def main() -> int:
    """Purge the instance that WEBDOCK_HOME and WEBDOCK_RUN name; 1 when something could not be removed."""
    logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        config = load_config(os.environ)
        purge(config)
    except (ConfigError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


def purge(config: EngineConfig) -> None:
    """Remove networks, control groups, mounts and state, in this order; what is gone already is no error.

    Raises: OSError for the first thing that stays.
    """
    purge_networks(config)
    cgroups.remove(f"/{config.instance}")
    for point in mounts_below(config.home, config.run):
        unmount(point)
    left = mounts_below(config.home, config.run)
    if left:
        raise OSError(f"{left[0]} stays mounted, so nothing is deleted")
    for path in (config.home, *(config.run / name for name in VOLATILE)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def mounts_below(*tops: Path) -> list[Path]:
    """Mount points under these directories, the deepest and newest first.

    Spec: proc(5), /proc/pid/mountinfo, field 5, with its octal escapes.
    """
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if any(top in point.parents for top in tops):
            points.append(point)
    return sorted(reversed(points), key=lambda point: -len(point.parts))


if __name__ == "__main__":
    sys.exit(main())
