"""Takes an instance off the machine: `webdock down --purge` runs it once the engine has ended.

It removes what outlives an engine on purpose, so that containers can run on: their processes, networks,
control groups, mounts, and the state below home and run. It needs no engine, no OCI runtime and no record
that can be read: what belongs to the instance is told by its name and by the two directories. Nothing outside
these is deleted, and nothing through a mount.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime import cgroups
from runtime.config import ConfigError, EngineConfig, load_config
from runtime.network.networks import purge as purge_networks
from runtime.oci.conmon import end_below
from runtime.snapshots.mount import unmount

log = logging.getLogger("webdock.purge")

#: What the rooms keep below run; anything else there is not ours.
VOLATILE = (
    "crun", "runc", "exec", "mounts", "netns", "sandboxes", "shm", "userns", "userns.base", "view",
    "views", "volumes", "engine.lock", "engine.sock", "web.sock",
)  # fmt: skip


_ID = re.compile(r"[0-9a-f]{64}")


def main(argv: Sequence[str] | None = None) -> int:
    """Purge the instance that WEBDOCK_HOME and WEBDOCK_RUN name; 1 when something could not be removed."""
    parser = argparse.ArgumentParser(prog="runtime.purge", description="Take an instance off this machine.")
    parser.add_argument("--tell", action="store_true", help="say what was removed")
    options = parser.parse_args(argv)
    logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        # Where the instance lies is all that counts: a mistake in engine.toml must not keep it.
        config = load_config(os.environ, Path(os.devnull))
        for line in purge(config):
            if options.tell:
                print(line, flush=True)
    except (ConfigError, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


def purge(config: EngineConfig) -> list[str]:
    """Remove processes, networks, control groups, mounts and state, in this order; returns what, in words.

    What is gone already is no error. Raises: OSError for the first thing that stays.
    """
    groups = [f"/{config.instance}", *cgroups.named(container_ids(config.home))]
    ended = sum(cgroups.kill(group) for group in groups)
    asyncio.run(end_below(config.home, config.run))
    network = purge_networks(config)
    for group in groups:
        cgroups.remove(group)
    points = mounts_below(config.home, config.run)
    for point in points:
        unmount(point)
    left = mounts_below(config.home, config.run)
    if left:
        raise OSError(f"{left[0]} stays mounted, so nothing is deleted")
    deleted = []
    for path in (config.home, *(config.run / name for name in VOLATILE)):
        if not os.path.lexists(path):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        deleted.append(str(path))
    return [
        f"ended: {ended} processes of containers",
        f"network: {', '.join(network) or 'nothing was left'}",
        f"unmounted: {len(points)} mounts below {config.home} and {config.run}",
        f"deleted: {', '.join(deleted) or 'nothing was left'}",
    ]


def container_ids(home: Path) -> frozenset[str]:
    """Ids of the containers that have a directory, readable record or not."""
    try:
        return frozenset(name for name in os.listdir(home / "containers") if _ID.fullmatch(name))
    except OSError:
        return frozenset()


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
