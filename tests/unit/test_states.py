"""The one table of what a state means."""

from ledgermind_obs.freshness import STATES, UNMEASURED, State


def test_the_table_of_states_has_every_state_in_the_states_order() -> None:
    assert list(STATES) == list(State)
    assert [state.rank for state in State] == list(range(len(State)))


def test_what_was_not_measured_does_not_age() -> None:
    assert not [state for state in UNMEASURED if STATES[state].ages]
    assert {State.QUERY_ERROR, State.MISSING} == UNMEASURED
