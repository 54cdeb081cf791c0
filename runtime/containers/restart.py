"""Whether and when a container that ended is started again; pure.

Spec: Docker API 1.47, RestartPolicy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 60.0
SETTLED_S = 10.0  # a run that lasted this long starts the back-off anew


@dataclass(slots=True)
class Backoff:
    """The growing pause between the runs of one container."""

    delay_s: float = 0.0

    def next(self, ran_s: float) -> float:
        """Seconds to wait after a run of `ran_s` seconds."""
        if ran_s >= SETTLED_S or self.delay_s == 0:
            self.delay_s = FIRST_DELAY_S
        else:
            self.delay_s = min(self.delay_s * 2, LONGEST_DELAY_S)
        return self.delay_s


def wants_restart(policy: dict[str, Any], *, exit_code: int, restarts: int, stopped_by_user: bool) -> bool:
    """After an exit while the engine runs. restarts: how often the policy has brought it back so far."""
    if stopped_by_user:
        return False
    match policy["Name"]:
        case "always" | "unless-stopped":
            return True
        case "on-failure":
            most = policy["MaximumRetryCount"]
            return exit_code != 0 and (most == 0 or restarts < most)
    return False


def wants_start_with_engine(
    policy: dict[str, Any], *, exit_code: int, restarts: int, stopped_by_user: bool
) -> bool:
    """For a container found dead when the engine starts: "always" means even when somebody had stopped it."""
    if policy["Name"] == "always":
        return True
    return wants_restart(policy, exit_code=exit_code, restarts=restarts, stopped_by_user=stopped_by_user)
