"""Every trial there is, in a fixed order, and the smaller sets that are chosen from them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from tests.faults import (
    of_database,
    of_dbt,
    of_files,
    of_gateway,
    of_prometheus,
    of_real_dbt,
    of_runs,
    of_signals,
    of_streams,
)
from tests.faults.trial import Trial

SEED = 9
NO_FAULT = "no fault"
_ROOMS = (
    *(of_gateway, of_prometheus, of_dbt, of_signals, of_streams),
    *(of_files, of_database, of_runs, of_real_dbt),
)


def catalogue() -> list[Trial]:
    """Return all trials; raises ValueError if two have one name."""
    found = [trial for room in _ROOMS for trial in room.trials()]
    names = [trial.name for trial in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two trials have the name {min(twice)}")
    return found


def shuffled(trials: Sequence[Trial], seed: int = SEED) -> list[Trial]:
    """Return the trials in an order that the seed decides."""
    found = list(trials)
    random.Random(seed).shuffle(found)  # noqa: S311 - it is to be repeatable
    return found


def named(trials: Sequence[Trial], patterns: Sequence[str]) -> list[Trial]:
    """Return the trials whose names match one of the patterns."""
    return [t for t in trials if any(fnmatchcase(t.name, pattern) for pattern in patterns)]


def reduced(trials: Sequence[Trial]) -> list[Trial]:
    """Return one trial of each fault; over all of them, the moments, and the rooms, take turns.

    Those with a real dbt are left to the whole: the integration tests have their like.
    """
    by_fault: dict[str, list[Trial]] = {}
    for trial in (each for each in trials if each.room != of_real_dbt.ROOM):
        apart = trial.room if trial.fault == NO_FAULT else ""
        by_fault.setdefault(apart + trial.fault, []).append(trial)
    return [own[number % len(own)] for number, own in enumerate(by_fault.values())]


def rooms(trials: Sequence[Trial]) -> Iterator[tuple[str, list[Trial]]]:
    """Yield each room's name and trials."""
    for name in dict.fromkeys(trial.room for trial in trials):
        yield name, [trial for trial in trials if trial.room == name]
