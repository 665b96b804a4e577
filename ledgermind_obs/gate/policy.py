"""What the gate lets through: states, ages, and what is allowed by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from math import inf

import msgspec

from ledgermind_obs.dbt.meta_obs import ExposureSettings
from ledgermind_obs.freshness import SourceFreshness, State
from ledgermind_obs.lineage.blind_spots import Blindness


class Permission(msgspec.Struct, frozen=True):
    """By what something was let through that would block.

    ``by`` is an option, with the ``pattern`` that was given to it, or ``meta.obs`` with a reason.
    """

    by: str
    pattern: str


class AgeVerdict(msgspec.Struct, frozen=True):
    """What the age of a source's data means; ``state`` is None if the age is unknown."""

    state: State | None
    blocks: bool
    limit: str = ""
    limit_seconds: float | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate lets through in addition to ``pass`` and, unless ``fail_on_warn``, ``warn``.

    ``tolerated`` has the patterns of ids or names that a kind of blind spot may have. Where nobody
    says what to do about warnings, or how old data may be, the exposure's own settings count.
    """

    fail_on_warn: bool | None = None
    allowed: frozenset[State] = frozenset()
    max_age_seconds: float | None = None
    max_age_by: str = "--max-age"
    tolerated: Mapping[Blindness, tuple[str, ...]] = msgspec.field(default_factory=dict)
    allow_unbuilt: tuple[str, ...] = ()
    allow_failed_test: tuple[str, ...] = ()
    allow_unknown_age: tuple[str, ...] = ()

    def for_exposure(self, said: ExposureSettings | None) -> Policy:
        """Return the policy with what the exposure says itself, where no option does."""
        if said is None:
            return self
        policy = self
        if self.fail_on_warn is None and said.fail_on:
            policy = msgspec.structs.replace(policy, fail_on_warn=said.fail_on == "warn")
        if self.max_age_seconds is None and said.max_age_seconds is not None:
            own = {"max_age_seconds": said.max_age_seconds, "max_age_by": "meta.obs.max_age"}
            policy = msgspec.structs.replace(policy, **own)
        return policy

    def on_data(self, source: SourceFreshness, age: float | None) -> AgeVerdict:
        """Return what it means that a table holds a source's data of this age, in seconds."""
        name, limit = "error_after", source.error_after_seconds
        if self.max_age_seconds is not None:
            name, limit = self.max_age_by, self.max_age_seconds
        if age is None:
            return AgeVerdict(None, source.state not in self.allowed, name if limit else "", limit)
        if over(age, limit):
            blocks = self.max_age_seconds is not None or State.ERROR not in self.allowed
            return AgeVerdict(State.ERROR, blocks, name, limit)
        if over(age, source.warn_after_seconds):
            warn_after = source.warn_after_seconds
            return AgeVerdict(State.WARN, bool(self.fail_on_warn), "warn_after", warn_after)
        return AgeVerdict(State.PASS, False, name if limit else "", limit)

    def safe_age(self, source: SourceFreshness) -> float:
        """Return the age in seconds up to which a source's data in a table never blocks."""
        warn_after = source.warn_after_seconds if self.fail_on_warn else None
        own = source.error_after_seconds if self.max_age_seconds is None else self.max_age_seconds
        return min((limit for limit in (warn_after, own) if limit is not None), default=inf)


def over(age: float | None, limit: float | None) -> bool:
    """Return whether an age is beyond a limit, both in seconds; what is unknown is not."""
    return age is not None and limit is not None and not age <= limit


def allowed(by: str, patterns: Iterable[str], names: Iterable[str]) -> Permission | None:
    """Return the permission by the first pattern that any of the names has, or None."""
    known = list(names)
    for pattern in patterns:
        if any(fnmatchcase(name, pattern) for name in known):
            return Permission(by, pattern)
    return None
