"""The decision in front of a job: it may run on this data, or it may not.

It fails closed: what was not measured, is not known, or is in a state nobody allowed, blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from ledgermind_obs.freshness import STATES, SourceFreshness, State
from ledgermind_obs.gate.policy import Permission, Policy, allowed, over
from ledgermind_obs.gate.tables import TableJudgement, judge_tables
from ledgermind_obs.lineage.blind_spots import UNMEASURED, Blindness, BlindSpot

if TYPE_CHECKING:  # a verdict needs the evidence, not how it is gathered
    from ledgermind_obs.gate.evidence import Evidence


# The kinds of blind spots that may be let through by name, and the option for it.
TOLERATED_BY = {
    Blindness.NO_FRESHNESS: "--allow-no-freshness",
    Blindness.UNMEASURABLE: "--allow-no-freshness",
    Blindness.SEED: "--allow-seed",
    Blindness.UNSEEN: "--allow-unseen",
    Blindness.OTHER_PROJECT: "--allow-unseen",
}
NO_FRESHNESS_IN_META = "meta.obs.no_freshness"


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """One source at the moment of the decision; ``limit`` names the limit in ``limit_seconds``."""

    source: SourceFreshness
    state: State
    age_seconds: float | None
    blocks: bool
    limit: str = ""
    limit_seconds: float | None = None

    @property
    def next_step(self) -> str:
        """What to do about the source in this state."""
        # What dbt calls fresh blocks only by an age that the job does not take.
        too_old = self.blocks and self.state is State.PASS
        known = STATES.get(State.WARN if too_old else self.state)
        return known.next_step if known else "see with which version of obs it was measured"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Every source's judgement and what cannot be seen; one that blocks is enough.

    ``blind`` and ``unmatched`` block. So do the ids in ``absent``: they should be in the report.
    ``tolerated`` has the blind spots that were let through, and by what. ``tables`` has what is
    upstream of the exposure beside sources, and last what the exposure reads.
    """

    judgements: tuple[Judgement, ...]
    tables: tuple[TableJudgement, ...] = ()
    blind: tuple[BlindSpot, ...] = ()
    unmatched: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    tolerated: Mapping[BlindSpot, Permission] = msgspec.field(default_factory=dict)

    @property
    def blockers(self) -> list[Judgement]:
        """The sources that block."""
        return [judgement for judgement in self.judgements if judgement.blocks]

    @property
    def warnings(self) -> list[Judgement]:
        """The sources that are let through and are not ``pass``."""
        return [j for j in self.judgements if not j.blocks and j.state is not State.PASS]

    @property
    def lets_through(self) -> bool:
        """Whether the gate is open: something was measured, and all of it may pass."""
        amiss = (self.blind, self.unmatched, self.absent)
        return (
            bool(self.judgements)
            and all(not judgement.blocks for judgement in self.judgements)
            and all(not table.blocks for table in self.tables)
            and not any(amiss)
        )


def judge(evidence: Evidence, policy: Policy, now: datetime) -> Verdict:
    """Return the verdict on the evidence, each source at the age that it has at ``now``."""
    upstream = evidence.upstream
    said = evidence.settings.exposures.get(upstream.uid) if upstream else None
    policy = policy.for_exposure(said)
    sources = evidence.report.sources
    spots = {spot: _tolerating(evidence, spot, policy, now) for spot in evidence.blind}
    judgements = tuple(
        _judge(source, policy, (now - evidence.seen_at(source)).total_seconds())
        for source in sources
    )
    return Verdict(
        judgements=judgements,
        tables=_tables(evidence, judgements, policy, now),
        blind=tuple(spot for spot, by in spots.items() if by is None),
        unmatched=evidence.unmatched,
        absent=tuple(sorted(evidence.expected - {source.unique_id for source in sources})),
        tolerated={spot: by for spot, by in spots.items() if by is not None},
    )


def _tables(
    evidence: Evidence, judgements: tuple[Judgement, ...], policy: Policy, now: datetime
) -> tuple[TableJudgement, ...]:
    if evidence.upstream is None or evidence.builds is None:
        return ()
    sources = {
        judged.source.unique_id: msgspec.structs.replace(judged.source, state=judged.state)
        for judged in judgements
    }
    return judge_tables(evidence.builds, evidence.upstream, sources, policy, now)


def _tolerating(
    evidence: Evidence, spot: BlindSpot, policy: Policy, now: datetime
) -> Permission | None:
    """Return by what a blind spot is let through, or None."""
    names, by = [spot.node, evidence.blind[spot]], TOLERATED_BY.get(spot.kind, "")
    permission = allowed(by, policy.tolerated.get(spot.kind, ()), names)
    if permission or spot.kind not in UNMEASURED:
        return permission
    said = evidence.settings.sources.get(spot.node)
    if said and said.no_freshness and said.no_freshness.holds(now):
        return Permission(NO_FRESHNESS_IN_META, said.no_freshness.told)
    return None


def _judge(source: SourceFreshness, policy: Policy, passed: float) -> Judgement:
    """Judge one source, ``passed`` seconds after it was seen; a clock set back takes none away."""
    measured = source.age_seconds
    age = None if measured is None else measured + max(0.0, passed)
    state = _state_at(source, age)
    too_old = over(age, policy.max_age_seconds) or _unknown_where_limited(state, age, policy)
    limit, seconds = _limit(source, state, policy, too_old=too_old)
    return Judgement(
        source=source,
        state=state,
        age_seconds=age,
        blocks=too_old or not _passes(state, policy),
        limit=limit,
        limit_seconds=seconds,
    )


def _unknown_where_limited(state: State, age: float | None, policy: Policy) -> bool:
    """Return whether an age limit is asked for, and a verdict came without an age."""
    known = STATES.get(state)
    return age is None and bool(known and known.ages) and policy.max_age_seconds is not None


def _state_at(source: SourceFreshness, age: float | None) -> State:
    """Return dbt's verdict at this age; a source may have grown stale since it was measured."""
    known = STATES.get(source.state)
    if known is None or not known.ages:
        return source.state
    if age is None and source.state is State.PASS:
        return State.MISSING  # fresh by no time at all
    if over(age, source.error_after_seconds):
        return State.ERROR
    if over(age, source.warn_after_seconds) and source.state is State.PASS:
        return State.WARN
    return source.state


def _passes(state: State, policy: Policy) -> bool:
    if state is State.WARN:
        return not policy.fail_on_warn
    return state is State.PASS or state in policy.allowed


def _limit(
    source: SourceFreshness, state: State, policy: Policy, *, too_old: bool
) -> tuple[str, float | None]:
    if too_old:
        return policy.max_age_by, policy.max_age_seconds
    limits = {
        State.WARN: ("warn_after", source.warn_after_seconds),
        State.ERROR: ("error_after", source.error_after_seconds),
    }
    return limits.get(state, ("", None))


def freshness_at(evidence: Evidence, now: datetime) -> dict[str, tuple[str, float | None]]:
    """Return each source's state, and its age in seconds, at ``now``."""
    verdict = judge(evidence, Policy(), now)
    return {j.source.unique_id: (j.state.value, j.age_seconds) for j in verdict.judgements}
