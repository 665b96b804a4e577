"""An open verdict implies what it promises, by a predicate that was written without the judge."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import event, given, settings
from hypothesis import strategies as st

from ledgermind_obs.freshness import FreshnessReport, SourceFreshness, State
from ledgermind_obs.gate.evidence import Evidence, Kind
from ledgermind_obs.gate.judge import judge
from ledgermind_obs.gate.policy import Policy
from ledgermind_obs.lineage.blind_spots import Blindness, BlindSpot
from tests.unit.reports import DAY, HOUR, NOW, report, source

TABLES = ("a", "b", "c")
# Around the limits, and far from them.
SECONDS = st.one_of(
    st.sampled_from([0.0, 1.0, HOUR, 2 * DAY, 2 * DAY + 1, 5 * DAY, 5 * DAY + 1]),
    st.floats(min_value=-2 * DAY, max_value=10 * DAY),
)
LIMITS = st.one_of(st.none(), st.sampled_from([HOUR, 2 * DAY, 5 * DAY]))


@st.composite
def sources(draw: st.DrawFn, table: str) -> SourceFreshness:
    checked_at = NOW + timedelta(seconds=draw(st.floats(min_value=-DAY, max_value=HOUR)))
    loaded_at = checked_at - timedelta(seconds=draw(SECONDS))
    return source(
        table,
        draw(st.sampled_from(State)),
        loaded_at=draw(st.sampled_from([loaded_at, loaded_at, loaded_at, None])),
        checked_at=draw(st.sampled_from([checked_at, checked_at, checked_at, None])),
        warn_after_seconds=draw(LIMITS),
        error_after_seconds=draw(LIMITS),
    )


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    tables = draw(st.lists(st.sampled_from(TABLES), unique=True, max_size=3))
    found = tuple(draw(sources(table)) for table in tables)
    expected = draw(st.sets(st.sampled_from([f"source.ledgermind.app.{t}" for t in TABLES])))
    spots = draw(st.sets(st.sampled_from(list(Blindness)), max_size=1))
    started_at = NOW + timedelta(seconds=draw(st.floats(min_value=-HOUR, max_value=HOUR)))
    return Evidence(
        kind=draw(st.sampled_from(Kind)),
        report=report(*found, started_at=started_at),
        expected=frozenset(expected if draw(st.booleans()) else (s.unique_id for s in found)),
        gathered_at=NOW,
        blind={BlindSpot(f"node.{kind}", kind, "is blind"): f"the {kind}" for kind in spots},
        unmatched=draw(st.sampled_from([(), (), (), ("source:typo",)])),
    )


POLICIES = st.builds(
    Policy,
    fail_on_warn=st.booleans(),
    allowed=st.frozensets(st.sampled_from([s for s in State if s not in (State.PASS, State.WARN)])),
    max_age_seconds=LIMITS,
    tolerated=st.dictionaries(
        st.sampled_from(list(Blindness)), st.sampled_from([("*",), ("node.*",), ("other",)])
    ),
)
CLOCKS = st.floats(min_value=-DAY, max_value=3 * DAY).map(lambda s: NOW + timedelta(seconds=s))


def may_pass(entry: SourceFreshness, evidence: Evidence, policy: Policy, now: datetime) -> bool:
    """Return whether the promise holds for one source, from its times and limits alone."""
    words = {str(state) for state in policy.allowed} | {"pass"}
    words |= set() if policy.fail_on_warn else {"warn"}
    state = entry.state.value
    if entry.loaded_at is None or entry.checked_at is None:
        # What has no time can be let through by its state's flag alone, and under no limit of age.
        if state == "pass":
            return "missing" in words
        grows = state in {"warn", "error"}
        return state in words and not (grows and policy.max_age_seconds is not None)
    since = {
        "measured": [evidence.report.started_at],
        "artifact": [evidence.report.started_at, entry.checked_at],
        "pushed": [entry.checked_at],
    }[evidence.kind.value]
    passed = max(0.0, *((now - moment).total_seconds() for moment in since))
    age = (entry.checked_at - entry.loaded_at).total_seconds() + passed
    if policy.max_age_seconds is not None and age > policy.max_age_seconds:
        return False
    if state not in {"pass", "warn", "error"}:
        return state in words
    late = entry.error_after_seconds is not None and age > entry.error_after_seconds
    slow = entry.warn_after_seconds is not None and age > entry.warn_after_seconds
    rank = max(["pass", "warn", "error"].index(state), 2 if late else 1 if slow else 0)
    return ["pass", "warn", "error"][rank] in words


def promised(evidence: Evidence, policy: Policy, now: datetime) -> bool:
    """Return whether everything that an open gate promises is so."""
    found: FreshnessReport = evidence.report
    present = {entry.unique_id for entry in found.sources}
    tolerated = all(
        {"*", "node.*"} & set(policy.tolerated.get(spot.kind, ())) for spot in evidence.blind
    )
    return (
        len(found.sources) > 0
        and evidence.expected <= present
        and all(may_pass(entry, evidence, policy, now) for entry in found.sources)
        and tolerated
        and evidence.unmatched == ()
    )


@settings(max_examples=10 * settings().max_examples)
@given(evidences(), POLICIES, CLOCKS)
def test_the_gate_is_open_exactly_where_everything_it_promises_is_so(
    evidence: Evidence, policy: Policy, now: datetime
) -> None:
    verdict = judge(evidence, policy, now)
    event("open" if verdict.lets_through else "shut")

    assert verdict.lets_through is promised(evidence, policy, now)


@settings(max_examples=3 * settings().max_examples)
@given(evidences(), POLICIES, CLOCKS, st.floats(min_value=0.0, max_value=30 * DAY))
def test_time_opens_no_gate(
    evidence: Evidence, policy: Policy, now: datetime, later: float
) -> None:
    if not judge(evidence, policy, now).lets_through:
        after = judge(evidence, policy, now + timedelta(seconds=later))
        assert not after.lets_through or State.ERROR in policy.allowed


def test_the_predicate_itself_sees_both() -> None:
    fresh = Evidence(
        kind=Kind.MEASURED,
        report=report(source("a")),
        expected=frozenset({"source.ledgermind.app.a"}),
        gathered_at=NOW,
    )

    assert promised(fresh, Policy(), NOW)
    assert not promised(fresh, Policy(), NOW + timedelta(days=9))
