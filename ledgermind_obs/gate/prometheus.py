"""What was last pushed, read back from Prometheus: for a job that may not ask the warehouse.

Only a proven answer counts: a whole one, by Prometheus, of this project and target, of now, and
without contradictions. Anything else is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.dbt.entries import entry_for
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import (
    FUTURE_TOLERANCE,
    UNMEASURED,
    FreshnessReport,
    SourceFreshness,
    SourceKey,
    State,
    is_ahead,
)
from ledgermind_obs.gate.samples import SEE_PUSHES, Sample, check_samples, query_pushed, told
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.metrics import BUILD_METRICS, Metric, Series

_OF_SOURCES = (metrics.LOADED_AT, metrics.CHECKED_AT, metrics.STATUS)
_OF_RUNS = (
    metrics.RUN_SUCCESS,
    metrics.RUN_TIMESTAMP,
    metrics.RUN_DURATION,
    metrics.LAST_SUCCESS,
)
_READ = (*_OF_SOURCES, *_OF_RUNS)
_BUILD_NAMES = frozenset(metric.name for metric in BUILD_METRICS)
# In seconds, the rest of what a float loses of a time of today.
_ROUNDING = 0.001


class Pushed(msgspec.Struct, frozen=True):
    """A report of what was pushed, where it comes from in words, and what to tell of it.

    ``builds`` are the series of what was built.
    """

    report: FreshnessReport
    origin: str
    builds: tuple[Series, ...] = ()
    notes: tuple[str, ...] = ()


def pushed(
    endpoint: Endpoint,
    labels: Mapping[str, str],
    sources: Sequence[Source],
    clock: Callable[[], datetime],
    max_age_seconds: float,
) -> Pushed:
    """Return what was last pushed of the sources under these labels, project and target in them.

    A source that was last checked more than ``max_age_seconds`` ago is missing. Raises
    DestinationError unless Prometheus answers whole, ArtifactError unless its answer is proven.
    """
    samples, builds, now = _asked(endpoint, labels, clock)
    of_what = f"{labels['project']} (target {labels['target']})"
    run = _run(samples, of_what, now, max_age_seconds)
    by_source = _by_source(samples)
    entries = [_entry(source, by_source, run, now, max_age_seconds) for source in sources]
    report = FreshnessReport(
        started_at=run.succeeded_at,
        duration_seconds=run.seconds,
        engine="prometheus",
        engine_version="",
        project=labels["project"],
        target=labels["target"],
        whole=False,
        sources=tuple(entries),
    )
    origin = f"{endpoint.url}, as pushed {_ago(run.succeeded_at, now)}"
    return Pushed(report, origin, tuple(_series(sample) for sample in builds), run.notes)


def _asked(
    endpoint: Endpoint, labels: Mapping[str, str], clock: Callable[[], datetime]
) -> tuple[list[Sample], list[Sample], datetime]:
    """Return the proven samples of sources and those of builds, of one moment.

    Builds are pushed by another job: a job that is asked for is that of the sources.
    """
    of_both = {name: value for name, value in labels.items() if name != "job"}
    samples = query_pushed(endpoint, (*_READ, *BUILD_METRICS), of_both)
    now = clock()
    builds = [sample for sample in samples if sample.name in _BUILD_NAMES]
    job = labels.get("job")
    rest = [sample for sample in samples if sample.name not in _BUILD_NAMES]
    rest = [sample for sample in rest if job is None or sample.metric.get("job") == job]
    check_samples(rest, _READ, of_both, now)
    check_samples(builds, BUILD_METRICS, of_both, now)
    return rest, builds, now


def _series(sample: Sample) -> Series:
    labels = tuple(sample.metric.get(label, "") for label in sample.of.labels)
    return Series(sample.of, labels, sample.number)


class _Run(msgspec.Struct, frozen=True):
    """The last run that succeeded; ``ended_at`` is when the last run of all ended."""

    succeeded_at: datetime
    ended_at: datetime
    seconds: float
    notes: tuple[str, ...] = ()


def _run(samples: Iterable[Sample], of_what: str, now: datetime, max_age_seconds: float) -> _Run:
    """Return the last run that succeeded; raises ArtifactError unless it is certain and recent."""
    found = {sample.name: sample for sample in samples if sample.of in _OF_RUNS}
    last = found.get(metrics.LAST_SUCCESS.name)
    if last is None:
        raise ArtifactError(
            f"Prometheus has no successful push of {of_what}",
            "see whether the push runs, and whether Prometheus scrapes the gateway",
        )
    absent = [metric.name for metric in _OF_RUNS if metric.name not in found]
    if absent:
        raise ArtifactError(f"Prometheus has no {absent[0]} of {of_what}", SEE_PUSHES)
    for sample in (last, found[metrics.RUN_TIMESTAMP.name]):
        _check_past(sample, now)
    run = _consistent(found, of_what, now)
    age = (now - run.succeeded_at).total_seconds()
    if age > max_age_seconds:
        raise ArtifactError(
            f"the last successful push of {of_what} is {format_age(age)} old, "
            f"limit {format_age(max_age_seconds)}",
            "see whether cron still runs obs freshness push, and what it says",
        )
    return run


def _consistent(found: Mapping[str, Sample], of_what: str, now: datetime) -> _Run:
    """Return the run that the four series of one push speak of; raises ArtifactError."""
    success, started, seconds, last = (found[metric.name].number for metric in _OF_RUNS)
    if seconds < 0 or seconds > now.timestamp():
        raise ArtifactError(f"{metrics.RUN_DURATION.name} is {seconds}", SEE_PUSHES)
    failed = success == 0.0
    if last - started > _ROUNDING or (not failed and started - last > _ROUNDING):
        raise ArtifactError(
            f"the last run of {of_what} and its last success contradict each other: "
            f"{metrics.RUN_SUCCESS.name} is {success:.0f}, and they began "
            f"{format_age(abs(started - last))} apart",
            SEE_PUSHES,
        )
    ended_at = _time(started) + timedelta(seconds=seconds)
    note = f"the last run of {of_what}, {_ago(_time(started), now)}, failed: see its own log"
    return _Run(_time(last), ended_at, 0.0 if failed else seconds, (note,) if failed else ())


def _by_source(samples: Iterable[Sample]) -> dict[SourceKey, list[Sample]]:
    found: dict[SourceKey, list[Sample]] = {}
    for sample in samples:
        if sample.of in _OF_SOURCES:
            found.setdefault(sample.source, []).append(sample)
    return found


def _entry(
    source: Source,
    samples: Mapping[SourceKey, list[Sample]],
    run: _Run,
    now: datetime,
    max_age_seconds: float,
) -> SourceFreshness:
    """Return what the series of a source say; raises ArtifactError if they cannot be true."""
    own = samples.get(source.key, [])
    state, doubt = _state(source, own)
    checked_at, loaded_at = _moment(own, metrics.CHECKED_AT), _moment(own, metrics.LOADED_AT)
    if state is not None and state in UNMEASURED:
        return entry_for(source, state, message="the last push could not measure it")
    if state is None or checked_at is None:
        return entry_for(source, State.MISSING, message=doubt or "it was pushed without a check")
    _check_checked(source, checked_at, run, now)
    if checked_at < now - timedelta(seconds=max_age_seconds):
        return entry_for(
            source,
            State.MISSING,
            message=f"it was last checked {_ago(checked_at, now)}, "
            f"limit {format_age(max_age_seconds)} (--push-max-age)",
        )
    if loaded_at is None and state is not State.EMPTY:
        return entry_for(source, State.MISSING, message="Prometheus does not have its last time")
    if loaded_at and is_ahead(loaded_at, min(checked_at, now)):
        state = State.FUTURE
    return entry_for(source, state, loaded_at=loaded_at, checked_at=checked_at)


def _state(source: Source, samples: Iterable[Sample]) -> tuple[State | None, str]:
    """Return the state whose series is 1, or None and why not; raises ArtifactError for two."""
    series = [sample for sample in samples if sample.of is metrics.STATUS]
    states = [sample.metric.get("status", "") for sample in series if sample.number == 1.0]
    if len(states) > 1:
        told = " and ".join(sorted(states))
        raise ArtifactError(f"{source.label} was pushed as {told} at once", SEE_PUSHES)
    if not states:
        return None, "no state of it is 1" if series else "Prometheus has no series of it"
    if states[0] not in set(State):
        return None, f"it was pushed as {states[0]!r}, a state that this obs does not know"
    return State(states[0]), ""


def _check_checked(source: Source, checked_at: datetime, run: _Run, now: datetime) -> None:
    limit = min(now, run.ended_at)
    if checked_at - limit > FUTURE_TOLERANCE:
        ahead = format_age((checked_at - limit).total_seconds())
        raise ArtifactError(
            f"{source.label} was checked {ahead} after the run that checked it",
            "check the clocks of the database and of the host that pushes",
        )


def _check_past(sample: Sample, now: datetime) -> None:
    ahead = sample.number - now.timestamp()
    if ahead > FUTURE_TOLERANCE.total_seconds():
        raise ArtifactError(
            f"{told(sample)} is {format_age(ahead)} ahead",
            "check the clock of the host that pushes",
        )


def _moment(samples: Iterable[Sample], metric: Metric) -> datetime | None:
    """Return the time in a metric of one source, which has it once or not at all."""
    values = [sample.number for sample in samples if sample.of is metric]
    return _time(values[0]) if values else None


def _ago(moment: datetime, now: datetime) -> str:
    return f"{format_age(max(0.0, (now - moment).total_seconds()))} ago"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
