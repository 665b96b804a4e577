"""The decision in front of a job: it may run on these sources, or it may not.

It fails closed: what was not measured, is not known, or is in a state nobody allowed, blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import msgspec

from ledgermind_obs.freshness import STATES, SourceFreshness, State
from ledgermind_obs.lineage.blind_spots import Blindness, BlindSpot

if TYPE_CHECKING:  # a verdict needs the evidence, not how it is gathered
    from ledgermind_obs.gate.evidence import Evidence


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate lets through in addition to ``pass`` and, unless ``fail_on_warn``, ``warn``.

    ``tolerated`` has the patterns of ids or names that a kind of blind spot may have.
    """

    fail_on_warn: bool = False
    allowed: frozenset[State] = frozenset()
    max_age_seconds: float | None = None
    tolerated: Mapping[Blindness, tuple[str, ...]] = msgspec.field(default_factory=dict)


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
        known = STATES.get(self.state)
        return known.next_step if known else "see with which version of obs it was measured"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Every source's judgement and what cannot be seen; one that blocks is enough.

    ``blind`` and ``unmatched`` block. So do the ids in ``absent``: they should be in the report.
    ``tolerated`` has the blind spots that were let through, and the pattern that did.
    """

    judgements: tuple[Judgement, ...]
    blind: tuple[BlindSpot, ...] = ()
    unmatched: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    tolerated: Mapping[BlindSpot, str] = msgspec.field(default_factory=dict)

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
            and not any(amiss)
        )


def judge(evidence: Evidence, policy: Policy, now: datetime) -> Verdict:
    """Return the verdict on the evidence, each source at the age that it has at ``now``."""
    sources = evidence.report.sources
    spots = {spot: _tolerating(spot, name, policy) for spot, name in evidence.blind.items()}
    return Verdict(
        judgements=tuple(
            _judge(source, policy, (now - evidence.seen_at(source)).total_seconds())
            for source in sources
        ),
        blind=tuple(spot for spot, pattern in spots.items() if pattern is None),
        unmatched=evidence.unmatched,
        absent=tuple(sorted(evidence.expected - {source.unique_id for source in sources})),
        tolerated={spot: pattern for spot, pattern in spots.items() if pattern is not None},
    )


def _tolerating(spot: BlindSpot, name: str, policy: Policy) -> str | None:
    """Return the pattern that lets a blind spot through, or None."""
    for pattern in policy.tolerated.get(spot.kind, ()):
        if fnmatchcase(spot.node, pattern) or fnmatchcase(name, pattern):
            return pattern
    return None


def _judge(source: SourceFreshness, policy: Policy, passed: float) -> Judgement:
    """Judge one source, ``passed`` seconds after it was seen; a clock set back takes none away."""
    measured = source.age_seconds
    age = None if measured is None else measured + max(0.0, passed)
    state = _state_at(source, age)
    too_old = _over(age, policy.max_age_seconds) or _unknown_where_limited(state, age, policy)
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
    if _over(age, source.error_after_seconds):
        return State.ERROR
    if _over(age, source.warn_after_seconds) and source.state is State.PASS:
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
        return "--max-age", policy.max_age_seconds
    limits = {
        State.WARN: ("warn_after", source.warn_after_seconds),
        State.ERROR: ("error_after", source.error_after_seconds),
    }
    return limits.get(state, ("", None))


def _over(age: float | None, limit: float | None) -> bool:
    return age is not None and limit is not None and not age <= limit


def freshness_at(evidence: Evidence, now: datetime) -> dict[str, tuple[str, float | None]]:
    """Return each source's state, and its age in seconds, at ``now``."""
    verdict = judge(evidence, Policy(), now)
    return {j.source.unique_id: (j.state.value, j.age_seconds) for j in verdict.judgements}
