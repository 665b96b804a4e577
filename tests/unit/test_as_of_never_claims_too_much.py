"""No claim is later than the truth, in random histories; ``python -m tests.truth`` has them all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from math import inf

import pytest

from ledgermind_obs.gate import as_of
from ledgermind_obs.gate.as_of import AsOf
from ledgermind_obs.sinks.history import Build, Outcome
from tests.truth.__main__ import too_late
from tests.truth.gate import decisions
from tests.truth.histories import DAY, EXPOSURE, HOUR, MINUTE, Settings, World

HISTORIES = 200
NIGHTLY = Settings(
    measured_every=15 * MINUTE,
    built_every=24 * HOUR,
    missed=0.1,
    from_gateway=False,
    clock_gap=0.0,
    other_host=0.0,
    retention=0.0,
    removals=False,
    days=5.0,
)
TWO_HOSTS = dataclasses.replace(
    NIGHTLY, measured_every=5 * MINUTE, built_every=2 * HOUR, clock_gap=290.0, other_host=1.0
)


def test_no_claim_is_later_than_the_truth() -> None:
    claims = [claim for seed in range(HISTORIES) for claim in World(seed).claims()]

    assert not [claim for claim in claims if too_late(claim)]
    assert sum(claim.claimed is not None for claim in claims) > len(claims) / 2


def test_the_gate_never_opens_over_data_that_is_older_than_the_limit() -> None:
    made = [d for seed in range(HISTORIES) for d in decisions(World(seed), DAY)]

    assert not [decision for decision in made if decision.is_wrong]
    opened = sum(decision.opens for decision in made)
    assert opened > sum(decision.age <= decision.limit for decision in made) / 4


def test_with_a_measurement_each_quarter_of_an_hour_the_claims_are_at_most_that_far_behind() -> (
    None
):
    claims = [claim for seed in range(60) for claim in World(seed, NIGHTLY).claims()]
    behind = sorted(c.truth - c.claimed for c in claims if c.claimed is not None)

    assert behind[len(behind) // 2] <= 15 * MINUTE


def _stamped_before(looks: as_of._Looks, moment: float) -> float | None:
    """Believe a stamp: the newest row not later than the build, whenever it was seen."""
    stamps = [look.newest for look in looks._all if look.newest is not None]
    return max((newest for newest in stamps if newest <= moment), default=None)


def _seen_soon_after(looks: as_of._Looks, moment: float) -> float | None:
    return BEFORE(looks, moment + HOUR)


def _never_lowered(looks: as_of._Looks, moment: float) -> float | None:
    seen = [look for look in looks._all if look.until <= moment]
    return (-inf if seen[-1].newest is None else seen[-1].newest) if seen else None


def _last_build_only(claims: AsOf, uid: str, reader: as_of._Reader) -> list[int]:
    return BUILDS_READ(claims, uid, reader)[-1:]


def _by_its_own_clock(build: Build) -> float:
    return build.started_at


def _newest_way(parts: Sequence[as_of._Contents]) -> as_of._Contents:
    known: dict[str, float] = {}
    for part in parts:
        known |= {s: max(m, known.get(s, m)) for s, m in part.known.items()}
    return as_of._Contents(known, frozenset.union(frozenset(), *(part.unseen for part in parts)))


def _known_wins(parts: Sequence[as_of._Contents]) -> as_of._Contents:
    merged = MERGED(parts)
    return as_of._Contents(merged.known, merged.unseen - merged.known.keys())


def _empty_is_a_build(
    claims: AsOf, uid: str, index: int, content: as_of._Contents
) -> as_of._Contents:
    return (
        content
        if claims._builds[uid][index].outcome is Outcome.SPOILT
        else WRITTEN(claims, uid, index, content)
    )


BEFORE, BUILDS_READ = as_of._Looks.before, AsOf._builds_read
MERGED, WRITTEN = as_of._merged, AsOf._written
BROKEN: dict[str, tuple[object, str, object]] = {
    "a stamp is believed": (as_of._Looks, "before", _stamped_before),
    "what was seen after the start counts": (as_of._Looks, "before", _seen_soon_after),
    "rows that are gone do not count": (as_of._Looks, "before", _never_lowered),
    "of overlapping builds the last counts": (AsOf, "_builds_read", _last_build_only),
    "clocks of two hosts are one": (Build, "begin", property(_by_its_own_clock)),
    "of several ways the newest counts": (as_of, "_merged", _newest_way),
    "a known way wins over an unknown one": (as_of, "_merged", _known_wins),
    "an empty view is a view": (AsOf, "_is_spoilt", lambda *_: False),
    "an empty build is a build": (AsOf, "_written", _empty_is_a_build),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_caught(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BROKEN[rule])

    settings = TWO_HOSTS if "hosts" in rule else None
    claims = (claim for seed in range(HISTORIES) for claim in World(seed, settings).claims())

    assert any(too_late(claim) for claim in claims)


def test_an_exposure_is_asked_too() -> None:
    assert any(claim.node == EXPOSURE for claim in World(1).claims())
