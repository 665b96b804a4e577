from datetime import timedelta

import pytest

from ledgermind_obs.freshness import State
from ledgermind_obs.gate.judge import Verdict, judge
from ledgermind_obs.gate.policy import Policy
from tests.unit.reports import DAY, HOUR, NOW, evidence, report, source

AGES = {  # of any other state: an hour
    State.WARN: 3 * DAY,
    State.ERROR: 6 * DAY,
    State.EMPTY: None,
    State.FUTURE: -HOUR,
    State.QUERY_ERROR: None,
    State.MISSING: None,
}
BLOCKING = [state for state in State if state not in (State.PASS, State.WARN)]


def verdict_on(state: State, policy: Policy | None = None) -> Verdict:
    return judge(
        evidence(report(source("t", state, AGES.get(state, HOUR)))), policy or Policy(), NOW
    )


def test_a_fresh_source_passes() -> None:
    assert verdict_on(State.PASS).lets_through


def test_a_warning_passes_and_is_named() -> None:
    verdict = verdict_on(State.WARN)

    assert verdict.lets_through
    assert [judgement.source.name for judgement in verdict.warnings] == ["app.t"]


def test_a_warning_blocks_on_demand() -> None:
    assert not verdict_on(State.WARN, Policy(fail_on_warn=True)).lets_through


@pytest.mark.parametrize("state", BLOCKING)
def test_every_other_state_blocks(state: State) -> None:
    assert not verdict_on(state).lets_through


@pytest.mark.parametrize("state", BLOCKING)
@pytest.mark.parametrize("allowed", BLOCKING)
def test_a_state_is_let_through_by_its_own_flag_alone(state: State, allowed: State) -> None:
    verdict = verdict_on(state, Policy(allowed=frozenset({allowed})))

    assert verdict.lets_through is (state is allowed)


def test_one_source_that_blocks_is_enough() -> None:
    sources = (source("a"), source("b", State.MISSING, None), source("c"))

    assert not judge(evidence(report(*sources)), Policy(), NOW).lets_through


def test_a_report_without_sources_never_opens_the_gate() -> None:
    assert not judge(evidence(report()), Policy(), NOW).lets_through


@pytest.mark.parametrize(("age", "passes"), [(3 * DAY - 1, True), (3 * DAY + 1, False)])
def test_a_limit_of_the_users_own_blocks_what_is_older(age: float, passes: bool) -> None:
    policy = Policy(max_age_seconds=3 * DAY)

    verdict = judge(evidence(report(source("t", State.PASS, age))), policy, NOW)

    assert verdict.lets_through is passes
    if not passes:
        assert verdict.blockers[0].limit == "--max-age"


def test_a_limit_of_the_users_own_does_not_excuse_what_dbt_calls_an_error() -> None:
    policy = Policy(max_age_seconds=30 * DAY)

    assert not verdict_on(State.ERROR, policy).lets_through
    allowed = Policy(max_age_seconds=30 * DAY, allowed=frozenset({State.ERROR}))
    assert verdict_on(State.ERROR, allowed).lets_through


def test_ages_are_taken_at_the_moment_of_the_decision() -> None:
    measured = report(source("t", State.PASS, 2 * DAY - HOUR))

    later = judge(evidence(measured), Policy(), NOW + timedelta(hours=2)).judgements[0]
    much_later = judge(evidence(measured), Policy(), NOW + timedelta(days=4)).judgements[0]

    assert (later.state, later.age_seconds) == (State.WARN, 2 * DAY + HOUR)
    assert (much_later.state, much_later.blocks) == (State.ERROR, True)


def test_a_fresh_source_that_is_too_old_for_the_job_has_a_next_step() -> None:
    (blocker,) = verdict_on(State.PASS, Policy(max_age_seconds=HOUR / 2)).blockers

    assert blocker.state is State.PASS
    assert blocker.next_step == "see whether the job that loads it still runs"


def test_a_clock_that_was_set_back_makes_nothing_younger() -> None:
    measured = report(source("t", State.ERROR, 6 * DAY))

    judgement = judge(evidence(measured), Policy(), NOW - timedelta(days=3)).judgements[0]

    assert (judgement.state, judgement.age_seconds) == (State.ERROR, 6 * DAY)
