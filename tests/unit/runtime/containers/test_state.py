"""The table of states, whole."""

import pytest

from runtime.api.errors import Conflict
from runtime.containers.state import TABLE, Change, State, can, can_pause, can_remove, can_start, move

MOVES = {
    State.CREATED: {Change.STARTED: State.RUNNING, Change.REMOVING: State.REMOVING},
    State.RUNNING: {
        Change.PAUSED: State.PAUSED,
        Change.EXITED: State.EXITED,
        Change.WILL_RESTART: State.RESTARTING,
    },
    State.PAUSED: {
        Change.RESUMED: State.RUNNING,
        Change.EXITED: State.EXITED,
        Change.WILL_RESTART: State.RESTARTING,
    },
    State.RESTARTING: {
        Change.STARTED: State.RUNNING,
        Change.WILL_RESTART: State.RESTARTING,
        Change.GAVE_UP: State.EXITED,
    },
    State.EXITED: {Change.STARTED: State.RUNNING, Change.REMOVING: State.REMOVING},
    State.REMOVING: {Change.REMOVE_FAILED: State.DEAD},
    State.DEAD: {Change.REMOVING: State.REMOVING},
}


def test_every_move_of_the_matrix_is_what_the_table_says_and_nothing_else_is_allowed():
    for state in State:
        for change in Change:
            wanted = MOVES[state].get(change)
            assert can(state, change) == (wanted is not None)
            if wanted is None:
                with pytest.raises(Conflict):
                    move(state, change)
            else:
                assert move(state, change) is wanted
    assert len(TABLE) == sum(map(len, MOVES.values()))


def test_questions_agree_with_the_table():
    assert {s for s in State if can_start(s)} == {State.CREATED, State.EXITED, State.RESTARTING}
    assert {s for s in State if can_pause(s)} == {State.RUNNING}
    assert {s for s in State if can_remove(s)} == {State.CREATED, State.EXITED, State.DEAD}


def test_states_are_dockers_words():
    assert [str(state) for state in State] == [
        *("created", "running", "paused", "restarting", "removing", "exited", "dead")
    ]
