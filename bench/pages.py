"""The containers page with 500 containers known, asked one after another over loopback.

The engine only has to have created them: the page shows what the web side has seen. The peer is the same
question asked of the engine by ``docker ps -a``, which has no page, no rights and no database.
"""

from __future__ import annotations

import subprocess
import time

from bench._login import Session
from bench._measure import interleaved, run, table
from tests.integration.installation import Installation

CONTAINERS = 500
ROUNDS = 40
SEEN_TIMEOUT_S = 120


def main() -> None:
    ours = Installation("bench")
    try:
        ours.up()
        client = ours.client
        for number in range(CONTAINERS):
            body = {"Image": "webdock/busybox", "Cmd": ["sleep", "100"], "Labels": {"number": str(number)}}
            client.post("/containers/create", {"name": f"page-{number:03d}"}, body)
        session = Session(ours)
        deadline = time.monotonic() + SEEN_TIMEOUT_S
        while str(CONTAINERS).encode() not in session.get("/containers/")[0]:
            if time.monotonic() > deadline:
                raise RuntimeError("the web side has not seen all containers")
            time.sleep(0.5)
        with subprocess.Popen(["true"]):
            pass
        times = interleaved(
            {
                "containers page": lambda: session.get("/containers/"),
                "second page of it": lambda: session.get("/containers/?page=2"),
                "filtered by name": lambda: session.get("/containers/?q=page-4"),
                "overview": lambda: session.get("/"),
                "docker ps -a": lambda: run(["docker", "ps", "-a"], ours.environ),
            },
            ROUNDS,
        )
        table(f"pages with {CONTAINERS} containers known", times)
    finally:
        ours.purge()


if __name__ == "__main__":
    main()
