"""Entry of ``webdock`` and ``python -m webdock``; everything is loaded late, so that it stays quick."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        from webdock.cli.command import run

        return run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:  # while it was loaded, or while it was leaving
        return 130


if __name__ == "__main__":
    sys.exit(main())
