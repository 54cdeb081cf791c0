"""Memory: the idle engine, and what each running container adds besides its own program; docker beside it."""

from __future__ import annotations

import os
import subprocess
import time

from bench._measure import private_mib, processes, resident_mib
from tests.integration.dockerd import Dockerd
from tests.integration.installation import Installation

CONTAINERS = 10
SETTLE_S = 3.0


def main() -> None:
    ours, peer = Installation("bench"), Dockerd()
    try:
        ours.up()
        peer.start()
        theirs = {**os.environ, "DOCKER_HOST": peer.host}
        saved = subprocess.run(
            ["docker", "save", "webdock/busybox"], env=ours.environ, check=True, capture_output=True
        ).stdout
        subprocess.run(["docker", "load"], env=theirs, input=saved, check=True, capture_output=True)
        time.sleep(SETTLE_S)
        engine = ours.engine_pid()
        idle = resident_mib(engine)
        daemons = [peer.pid, *(pid for pid in processes("containerd", str(peer.root)) if pid != peer.pid)]
        print(f"  webdock engine, idle          {idle:7.1f} MiB resident")
        print(f"  dockerd and containerd, idle  {sum(map(resident_mib, daemons)):7.1f} MiB resident")
        web = resident_mib(ours.web_pid())
        print(f"  webdock web, idle             {web:7.1f} MiB resident")
        for number in range(CONTAINERS):
            for environ in (ours.environ, theirs):
                argv = ["docker", "run", "-d", "--name", f"m{number}", "webdock/busybox", "sleep", "10000"]
                subprocess.run(argv, env=environ, check=True, capture_output=True)
        time.sleep(SETTLE_S)
        conmons = list(processes("conmon", str(ours.home)))
        shims = list(processes("containerd-shim", str(peer.root))) or list(processes("containerd-shim"))
        ours_each = (sum(map(private_mib, conmons)) + resident_mib(engine) - idle) / CONTAINERS
        theirs_each = sum(map(private_mib, shims)) / CONTAINERS
        print(f"  webdock, per container        {ours_each:7.2f} MiB (conmon, and what the engine grew by)")
        print(f"  docker, per container         {theirs_each:7.2f} MiB (containerd-shim)")
        print(
            f"  webdock takes {idle / sum(map(resident_mib, daemons)):.2f} of docker's idle memory", end=", "
        )
        print(f"{ours_each / theirs_each:.2f} of its memory per container")
    finally:
        peer.stop()
        ours.purge()


if __name__ == "__main__":
    main()
