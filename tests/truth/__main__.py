"""Live through random histories and print how far the claims stay behind the truth.

``python -m tests.truth [HISTORIES]``: exit code 1 if a claim is later than the truth.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ledgermind_obs.durations import format_age
from tests.truth.gate import decisions
from tests.truth.histories import DAY, HOUR, Claim, World

HISTORIES = 20_000
LIMITS = (6 * HOUR, DAY, 2 * DAY, 4 * DAY)
SHARES = {"median": 0.5, "p90": 0.9, "p99": 0.99}


def main() -> int:
    """Run the histories that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", type=int, nargs="?", default=HISTORIES)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.histories)
    asked = [(seed, claim) for seed in seeds for claim in World(seed).claims()]
    wrong = [(seed, claim) for seed, claim in asked if too_late(claim)]
    claims = [claim for _, claim in asked if claim.claimed is not None]
    sys.stdout.write(
        f"{len(seeds):,} histories: {len(asked):,} questions, {len(claims):,} claims, "
        f"{len(asked) - len(claims):,} unknown, {len(wrong)} later than the truth\n"
    )
    behind = sorted(claim.truth - (claim.claimed or 0.0) for claim in claims)
    sys.stdout.write(f"behind the truth: {_shares(behind)}\n")
    for seed, claim in wrong[:10]:
        sys.stdout.write(f"seed {seed}: {claim}\n")
    opened_wrongly = _gate(seeds)
    return 1 if wrong or opened_wrongly else 0


def _gate(seeds: Sequence[int]) -> int:
    """Say how often the gate opens in the histories; return how often it should not have."""
    made = [d for seed in seeds for d in decisions(World(seed), LIMITS[seed % len(LIMITS)])]
    opened = [decision for decision in made if decision.opens]
    wrong = [decision for decision in opened if decision.is_wrong]
    could = sum(decision.age <= decision.limit for decision in made)
    sys.stdout.write(
        f"the gate: {len(made):,} decisions, {could:,} with data within the limit, "
        f"{len(opened):,} open, {len(wrong)} over data that is too old\n"
    )
    return len(wrong)


def too_late(claim: Claim) -> bool:
    """Whether more is claimed than is true."""
    return claim.claimed is not None and claim.claimed > claim.truth


def _shares(ordered: Sequence[float]) -> str:
    at = {name: ordered[int(share * (len(ordered) - 1))] for name, share in SHARES.items()}
    return ", ".join(f"{name} {format_age(seconds)}" for name, seconds in at.items())


if __name__ == "__main__":
    sys.exit(main())
