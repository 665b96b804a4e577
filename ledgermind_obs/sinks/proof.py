"""Whether series that were read back can be true; what cannot is not evidence of anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from datetime import datetime

from ledgermind_obs import metrics
from ledgermind_obs.freshness import FUTURE_TOLERANCE, STATES, SourceKey, State
from ledgermind_obs.metrics import Metric, Series

# Looks and runs before this moment (2001) were not made by obs: a clock, or a number, was cut.
_EARLIEST = 1e9
# What a timestamp of a database can be: the years 1 to 9999.
_YEARS = (-62_135_596_800.0, 253_402_300_800.0)
_OF_OBS = (metrics.CHECKED_AT, metrics.RUN_TIMESTAMP, metrics.LAST_SUCCESS, metrics.BUILT_AT)
_NAMES = {str(state): state for state in State}


def check_series(series: Sequence[Series], now: datetime) -> None:
    """Raise ValueError where series are doubled, or say what cannot be.

    Times of looks and runs lie at most five minutes ahead of ``now``; a newest row's time may lie
    further ahead only if the source's state allows for it.
    """
    seen: set[tuple[Metric, tuple[str, ...]]] = set()
    latest = (now + FUTURE_TOLERANCE).timestamp()
    for metric, labels, value in series:
        if (metric, labels) in seen:
            raise ValueError(f"{_name(metric, labels)} is there twice")
        seen.add((metric, labels))
        _check_value(metric, labels, value, latest)
    states = _states(series)
    if states is None:
        return
    times: set[tuple[str, SourceKey | None]] = set()
    for item in series:
        metric = item.metric
        if metric is metrics.LOADED_AT or metric is metrics.CHECKED_AT:
            key = item.source
            times.add((metric.name, key))
            if metric is metrics.LOADED_AT and item.value > latest and key:
                _check_ahead(key, states.get(key))
    for key, state in states.items():
        _check_complete(key, state, times)


def _check_value(metric: Metric, labels: tuple[str, ...], value: float, latest: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{_name(metric, labels)} is {value}")
    if metric in _OF_OBS and not _EARLIEST <= value <= latest:
        ahead = "ahead of this machine's clock" if value > latest else "no time of a run"
        raise ValueError(f"{_name(metric, labels)} is {value:.0f}, {ahead}")
    if metric is metrics.LOADED_AT and not _YEARS[0] <= value <= _YEARS[1]:
        raise ValueError(f"{_name(metric, labels)} is {value:g}, no time of a row")


def _states(series: Iterable[Series]) -> dict[SourceKey, State] | None:
    """Return the state of each source that is in one of ours; None where no state was read."""
    found: dict[SourceKey, State] = {}
    read = False
    for item in series:
        if item.metric is not metrics.STATUS:
            continue
        read = True
        if item.value == 1.0 and (state := _NAMES.get(item.state)) and (key := item.source):
            if key in found:
                raise ValueError(f"{'.'.join(key)} is in two states")
            found[key] = state
    return found if read else None


def _check_ahead(key: SourceKey, state: State | None) -> None:
    """Allow such a time in the state ``future``, and to whoever could not be measured since."""
    if state is None or (state is not State.FUTURE and STATES[state].measured):
        raise ValueError(
            f"{_name(metrics.LOADED_AT, key)} lies ahead of this machine's clock, "
            f"and the source is not in the state future"
        )


def _check_complete(key: SourceKey, state: State, times: Set[tuple[str, SourceKey | None]]) -> None:
    """Raise ValueError where a source was measured and lacks a time that goes with its state."""
    if not STATES[state].measured:
        return
    needed = [metrics.CHECKED_AT] if state is State.EMPTY else metrics.LAST_KNOWN
    for metric in needed:
        if (metric.name, key) not in times:
            raise ValueError(f"{_name(metric, key)} is missing")


def _name(metric: Metric, labels: Sequence[str]) -> str:
    return f"{metric.name} of {'.'.join(labels)}" if labels else metric.name
