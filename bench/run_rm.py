"""``docker run --rm`` of a static hello program with network: the same client against both engines."""

from __future__ import annotations

import os
import subprocess

from bench._measure import interleaved, run, table
from tests.integration.dockerd import Dockerd
from tests.integration.installation import Installation

ROUNDS = 30
IMAGE = "webdock/hello"


def main() -> None:
    ours, peer = Installation("bench"), Dockerd()
    try:
        ours.up()
        peer.start()
        theirs = {**os.environ, "DOCKER_HOST": peer.host}
        saved = subprocess.run(
            ["docker", "save", IMAGE], env=ours.environ, check=True, capture_output=True
        ).stdout
        subprocess.run(["docker", "load"], env=theirs, input=saved, check=True, capture_output=True)
        version = peer.client.get("/version")["Version"]
        argv = ["docker", "run", "--rm", IMAGE]
        times = interleaved(
            {
                "webdock": lambda: run(argv, ours.environ),
                f"docker {version}": lambda: run(argv, theirs),
            },
            ROUNDS,
        )
        table("docker run --rm webdock/hello, on each engine's default bridge", times)
        own = [*ours.command, "run", "--rm", IMAGE]
        table(
            "the clients, on our engine",
            interleaved(
                {
                    "webdock run": lambda: run(own, ours.environ),
                    "docker run": lambda: run(argv, ours.environ),
                },
                ROUNDS,
            ),
        )
    finally:
        peer.stop()
        ours.purge()


if __name__ == "__main__":
    main()
