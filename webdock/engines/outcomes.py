"""What became of one request."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """For the person who asked: done or not, and one sentence about it."""

    ok: bool
    message: str
    status: int = 200  # of the answer when a script asked
