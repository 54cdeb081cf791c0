"""The clients beside each other on our engine: listing containers and images, and showing a help."""

from __future__ import annotations

from bench._measure import interleaved, run, table
from tests.integration.installation import Installation

ROUNDS = 30
CONTAINERS = 5


def main() -> None:
    ours = Installation("bench-command")
    try:
        ours.up()
        for _ in range(CONTAINERS):
            ours.webdock("create", "webdock/busybox", "true")
        for title, words in (
            ("listing containers (ours is to take less than 150 ms)", ["ps", "-a"]),
            ("listing images", ["images"]),
            ("the help of run", ["run", "--help"]),
        ):
            own, theirs = [*ours.command, *words], ["docker", *words]
            table(
                title,
                interleaved(
                    {
                        f"webdock {words[0]}": lambda own=own: run(own, ours.environ),  # type: ignore[misc]
                        f"docker {words[0]}": lambda theirs=theirs: run(theirs, ours.environ),  # type: ignore[misc]
                    },
                    ROUNDS,
                ),
            )
    finally:
        ours.purge()


if __name__ == "__main__":
    main()
