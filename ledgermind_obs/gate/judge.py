"""The decision in front of a training job: it may run on these sources, or it may not.

It fails closed: what was not measured, or is in a state nobody allowed, blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec

from ledgermind_obs.freshness import STATES, FreshnessReport, SourceFreshness, State
from ledgermind_obs.lineage.blind_spots import Blindness, BlindSpot


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate lets through beside ``pass`` and, unless ``fail_on_warn``, ``warn``."""

    fail_on_warn: bool = False
    allowed: frozenset[State] = frozenset()
    max_age_seconds: float | None = None


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
        return STATES[self.state].next_step


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Every source's judgement and what cannot be seen; one that blocks is enough."""

    judgements: tuple[Judgement, ...]
    blind: tuple[BlindSpot, ...] = ()

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
        """Whether the gate is open: something was judged and nothing blocks."""
        return bool(self.judgements) and not self.blockers and not self.blind


def judge(report: FreshnessReport, policy: Policy, now: datetime) -> Verdict:
    """Return the verdict on the report's sources, each at the age it has at ``now``."""
    elapsed = max(0.0, (now - report.started_at).total_seconds())
    return Verdict(judgements=tuple(_judge(source, policy, elapsed) for source in report.sources))


def judge_upstream(
    verdict: Verdict,
    spots: Iterable[BlindSpot],
    names: Mapping[str, str],
    tolerated: Mapping[Blindness, tuple[str, ...]],
) -> Verdict:
    """Return the verdict with the blind spots that block.

    ``names`` gives each node's name; ``tolerated`` the patterns of ids or names that a kind of
    blind spot may have.
    """

    def blocks(spot: BlindSpot) -> bool:
        patterns = tolerated.get(spot.kind, ())
        called = (spot.node, names[spot.node])
        return not any(fnmatchcase(name, pattern) for pattern in patterns for name in called)

    return msgspec.structs.replace(verdict, blind=tuple(spot for spot in spots if blocks(spot)))


def _judge(source: SourceFreshness, policy: Policy, elapsed: float) -> Judgement:
    """Judge one source; ages grow by the seconds since the run began, never by two clocks' gap."""
    age = None if source.age_seconds is None else source.age_seconds + elapsed
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
    return age is None and STATES[state].ages and policy.max_age_seconds is not None


def _state_at(source: SourceFreshness, age: float | None) -> State:
    """Return dbt's verdict at this age; a source may have grown stale since it was measured."""
    if not STATES[source.state].ages:
        return source.state
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
    return age is not None and limit is not None and age > limit


def freshness_at(report: FreshnessReport, now: datetime) -> dict[str, tuple[str, float | None]]:
    """Return each source's state, and its age in seconds, at ``now``."""
    verdict = judge(report, Policy(), now)
    return {j.source.unique_id: (j.state.value, j.age_seconds) for j in verdict.judgements}
