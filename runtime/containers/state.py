"""States of a container as one table; pure.

    created ──STARTED──► running ◄──RESUMED── paused
       │                  │  │  ──PAUSED──►     │
       │                  │  └─WILL_RESTART─► restarting ──STARTED──► running
       │                EXITED◄───────────────── │ GAVE_UP
       └──REMOVING──► removing ◄──REMOVING── exited ──STARTED──► running
                         └──REMOVE_FAILED──► dead

"restarting" counts as running in Docker's `State.Running`, as "paused" does. A start that failed is no event:
the container stays what it was, with an exit code and an error text.

Spec: Docker API 1.47, ContainerState.
"""

from __future__ import annotations

from enum import StrEnum

from runtime.api.errors import Conflict


class State(StrEnum):
    """Docker's words in `State.Status`."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class Change(StrEnum):
    """What happens to a container."""

    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    EXITED = "exited"
    WILL_RESTART = "will restart"
    GAVE_UP = "gave up restarting"
    REMOVING = "removing"
    REMOVE_FAILED = "could not be removed"


TABLE: dict[tuple[State, Change], State] = {
    (State.CREATED, Change.STARTED): State.RUNNING,
    (State.CREATED, Change.REMOVING): State.REMOVING,
    (State.RUNNING, Change.PAUSED): State.PAUSED,
    (State.RUNNING, Change.EXITED): State.EXITED,
    (State.RUNNING, Change.WILL_RESTART): State.RESTARTING,
    (State.PAUSED, Change.RESUMED): State.RUNNING,
    (State.PAUSED, Change.EXITED): State.EXITED,
    (State.PAUSED, Change.WILL_RESTART): State.RESTARTING,
    (State.RESTARTING, Change.STARTED): State.RUNNING,
    (State.RESTARTING, Change.WILL_RESTART): State.RESTARTING,
    (State.RESTARTING, Change.GAVE_UP): State.EXITED,
    (State.EXITED, Change.STARTED): State.RUNNING,
    (State.EXITED, Change.REMOVING): State.REMOVING,
    (State.REMOVING, Change.REMOVE_FAILED): State.DEAD,
    (State.DEAD, Change.REMOVING): State.REMOVING,
}

ALIVE = frozenset({State.RUNNING, State.PAUSED})  # has processes
ACTIVE = frozenset({State.RUNNING, State.PAUSED, State.RESTARTING})  # `State.Running`


def move(state: State, change: Change) -> State:
    """The state after a change. Raises: Conflict, and nothing changes, when the table has no such move."""
    try:
        return TABLE[state, change]
    except KeyError:
        raise Conflict(f"a container that is {state} cannot become {change}") from None


def can(state: State, change: Change) -> bool:
    return (state, change) in TABLE


def can_start(state: State) -> bool:
    return can(state, Change.STARTED)


def can_pause(state: State) -> bool:
    return can(state, Change.PAUSED)


def can_remove(state: State) -> bool:
    return can(state, Change.REMOVING)
