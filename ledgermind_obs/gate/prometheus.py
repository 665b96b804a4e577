"""What was last pushed, read back from Prometheus: for a job that may not ask the warehouse.

Only a proven answer counts: a whole one, by Prometheus, of this project and target, of now, and
without contradictions. Anything else is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.dbt.entries import entry_for
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError, DestinationError
from ledgermind_obs.freshness import (
    FUTURE_TOLERANCE,
    UNMEASURED,
    FreshnessReport,
    SourceFreshness,
    SourceKey,
    State,
)
from ledgermind_obs.http.client import Response, request
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.metrics import Metric

_OF_SOURCES = (metrics.LOADED_AT, metrics.CHECKED_AT, metrics.STATUS)
_OF_RUNS = (
    metrics.RUN_SUCCESS,
    metrics.RUN_TIMESTAMP,
    metrics.RUN_DURATION,
    metrics.LAST_SUCCESS,
)
_READ = {metric.name: metric for metric in (*_OF_SOURCES, *_OF_RUNS)}
_TIMES = frozenset(
    {metrics.LOADED_AT, metrics.CHECKED_AT, metrics.RUN_TIMESTAMP, metrics.LAST_SUCCESS}
)
# In seconds, the rest of what a float loses of a time of today.
_ROUNDING = 0.001
_OK = 200

_SEE_SERVER = "is this the URL of a Prometheus server?"
_SEE_PUSHES = "see what pushes to this project and target, and with which version of obs"


class Sample(msgspec.Struct, frozen=True):
    """One series of an instant query's answer; ``value`` is Unix time and the number as text."""

    metric: dict[str, str]
    value: tuple[float, str]

    @property
    def number(self) -> float:
        """The value as a number; NaN for what is none."""
        try:
            return float(self.value[1])
        except ValueError:
            return math.nan

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.metric.get("__name__", "")

    @property
    def source(self) -> SourceKey:
        """The source that the labels name."""
        return SourceKey(*(self.metric.get(label, "") for label in metrics.SOURCE_LABELS))

    @property
    def group(self) -> frozenset[tuple[str, str]]:
        """The labels that all series of one push have."""
        own = {"__name__", *_READ[self.name].labels} if self.name in _READ else {"__name__"}
        return frozenset((name, text) for name, text in self.metric.items() if name not in own)


class _Vector(msgspec.Struct, frozen=True):
    resultType: str = ""  # noqa: N815 - Prometheus' own name
    result: list[Sample] = msgspec.field(default_factory=list)


class _Answer(msgspec.Struct, frozen=True):
    """What Prometheus answers; ``infos``, which it may add, say nothing against the data.

    ``isPartial`` is VictoriaMetrics' word: one of its storage nodes did not answer.
    """

    status: str = ""
    error: str = ""
    warnings: list[str] | None = None
    isPartial: bool = False  # noqa: N815 - VictoriaMetrics' own name
    data: _Vector | None = None


class Pushed(msgspec.Struct, frozen=True):
    """A report of what was pushed, where it comes from in words, and what to tell of it."""

    report: FreshnessReport
    origin: str
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
    samples = query_pushed(endpoint, labels)
    now = clock()
    check_samples(samples, labels, now)
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
    return Pushed(report, f"{endpoint.url}, as pushed {_ago(run.succeeded_at, now)}", run.notes)


def query_pushed(endpoint: Endpoint, labels: Mapping[str, str]) -> list[Sample]:
    """Return the series that Prometheus has now of the groups with these labels.

    Raises DestinationError unless it answers whole, and as Prometheus does.
    """
    matchers = "".join(f",{name}={_quoted(value)}" for name, value in labels.items())
    expression = f'{{__name__=~"{"|".join(_READ)}"{matchers}}}'
    response = request(endpoint, "GET", f"/api/v1/query?query={quote(expression)}")
    answer = _answer(endpoint, response)
    if answer.status != "success":
        words = " ".join(answer.error.split()) or "no reason"
        raise DestinationError(f"{endpoint.url} could not run the query: {words}")
    if answer.warnings or answer.isPartial:
        words = " ".join(answer.warnings[0].split()) if answer.warnings else "isPartial is true"
        raise DestinationError(
            f"{endpoint.url} answered in part only: {words}",
            "see its own sources: a remote store or a replica may be down",
        )
    if answer.data is None or answer.data.resultType != "vector":
        raise DestinationError(f"{endpoint.url} does not answer with a vector", _SEE_SERVER)
    return answer.data.result


def _answer(endpoint: Endpoint, response: Response) -> _Answer:
    if response.status != _OK:
        raise DestinationError(
            f"{endpoint.url} refused the query with {response.status}: {response.words}"
        )
    if response.headers.get("Content-Encoding"):
        raise DestinationError(
            f"{endpoint.url} answers in an encoding that was not asked for",
            "see what a proxy in front of it changes",
        )
    content_type = str(response.headers.get("Content-Type") or "none")
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise DestinationError(
            f"{endpoint.url} does not answer with JSON but with type {content_type}", _SEE_SERVER
        )
    try:
        return msgspec.json.decode(response.body, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DestinationError(
            f"{endpoint.url} does not answer as Prometheus does: {error}", _SEE_SERVER
        ) from error


def check_samples(samples: Sequence[Sample], labels: Mapping[str, str], now: datetime) -> None:
    """Raise ArtifactError unless the samples are of one push, under these labels, and of now."""
    seen: set[frozenset[tuple[str, str]]] = set()
    for sample in samples:
        _check_labels(sample, labels)
        _check_moment(sample, now)
        _check_number(sample)
        identity = frozenset(sample.metric.items())
        if identity in seen:
            raise ArtifactError(f"Prometheus answers twice with {_told(sample)}", _SEE_SERVER)
        seen.add(identity)
    _check_one_group(samples)


def _check_labels(sample: Sample, labels: Mapping[str, str]) -> None:
    if sample.name not in _READ:
        raise ArtifactError(
            f"Prometheus answers with {sample.name or 'a series without a name'}, which nobody "
            "asked for",
            "see whether a proxy in front of it changes the query",
        )
    for name, value in labels.items():
        found = sample.metric.get(name, "")
        if found != value:
            raise ArtifactError(
                f"Prometheus answers with {name}={found!r}, and was asked for {value!r}",
                "see whether a proxy in front of it changes the query",
            )


def _check_moment(sample: Sample, now: datetime) -> None:
    """Raise ArtifactError if the answer itself is of another time than now."""
    gap = now.timestamp() - sample.value[0]
    if not abs(gap) <= FUTURE_TOLERANCE.total_seconds():
        when = f"{format_age(abs(gap))} {'old' if gap > 0 else 'ahead'}"
        raise ArtifactError(
            f"Prometheus' answer is {when if math.isfinite(gap) else 'of no time'}",
            "check the clocks, and whether a cache answers in its place",
        )


def _check_number(sample: Sample) -> None:
    number, metric = sample.number, _READ[sample.name]
    if not math.isfinite(number):
        raise ArtifactError(f"{_told(sample)} is {sample.value[1]!r}", _SEE_PUSHES)
    if metric in _TIMES:
        try:
            datetime.fromtimestamp(number, UTC)
        except (ValueError, OverflowError, OSError):
            raise ArtifactError(f"{_told(sample)} is {number}: no time", _SEE_PUSHES) from None
    if metric in {metrics.STATUS, metrics.RUN_SUCCESS} and number not in {0.0, 1.0}:
        raise ArtifactError(f"{_told(sample)} is {number}, neither 0 nor 1", _SEE_PUSHES)


def _check_one_group(samples: Iterable[Sample]) -> None:
    groups = {sample.group for sample in samples}
    if len(groups) > 1:
        common = frozenset.intersection(*groups)
        differing = sorted(label for group in groups for label in group - common)
        told = ", ".join(f"{name}={value!r}" for name, value in differing)
        raise ArtifactError(
            f"Prometheus has {len(groups)} groups of series for one project and target: {told}",
            "say which is meant with --prometheus-label name=value",
        )


class _Run(msgspec.Struct, frozen=True):
    """The last run that succeeded; ``ended_at`` is when the last run of all ended."""

    succeeded_at: datetime
    ended_at: datetime
    seconds: float
    notes: tuple[str, ...] = ()


def _run(samples: Iterable[Sample], of_what: str, now: datetime, max_age_seconds: float) -> _Run:
    """Return the last run that succeeded; raises ArtifactError unless it is certain and recent."""
    found = {sample.name: sample for sample in samples if _READ[sample.name] in _OF_RUNS}
    last = found.get(metrics.LAST_SUCCESS.name)
    if last is None:
        raise ArtifactError(
            f"Prometheus has no successful push of {of_what}",
            "see whether the push runs, and whether Prometheus scrapes the gateway",
        )
    absent = [metric.name for metric in _OF_RUNS if metric.name not in found]
    if absent:
        raise ArtifactError(f"Prometheus has no {absent[0]} of {of_what}", _SEE_PUSHES)
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
        raise ArtifactError(f"{metrics.RUN_DURATION.name} is {seconds}", _SEE_PUSHES)
    failed = success == 0.0
    if last - started > _ROUNDING or (not failed and started - last > _ROUNDING):
        raise ArtifactError(
            f"the last run of {of_what} and its last success contradict each other: "
            f"{metrics.RUN_SUCCESS.name} is {success:.0f}, and they began "
            f"{format_age(abs(started - last))} apart",
            _SEE_PUSHES,
        )
    ended_at = _time(started) + timedelta(seconds=seconds)
    note = f"the last run of {of_what}, {_ago(_time(started), now)}, failed: see its own log"
    return _Run(_time(last), ended_at, 0.0 if failed else seconds, (note,) if failed else ())


def _by_source(samples: Iterable[Sample]) -> dict[SourceKey, list[Sample]]:
    found: dict[SourceKey, list[Sample]] = {}
    for sample in samples:
        if _READ[sample.name] in _OF_SOURCES:
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
    if loaded_at and loaded_at - min(checked_at, now) > FUTURE_TOLERANCE:
        state = State.FUTURE
    return entry_for(source, state, loaded_at=loaded_at, checked_at=checked_at)


def _state(source: Source, samples: Iterable[Sample]) -> tuple[State | None, str]:
    """Return the state whose series is 1, or None and why not; raises ArtifactError for two."""
    series = [sample for sample in samples if _READ[sample.name] is metrics.STATUS]
    states = [sample.metric.get("status", "") for sample in series if sample.number == 1.0]
    if len(states) > 1:
        told = " and ".join(sorted(states))
        raise ArtifactError(f"{source.label} was pushed as {told} at once", _SEE_PUSHES)
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
            f"{_told(sample)} is {format_age(ahead)} ahead",
            "check the clock of the host that pushes",
        )


def _moment(samples: Iterable[Sample], metric: Metric) -> datetime | None:
    """Return the time in a metric of one source, which has it once or not at all."""
    values = [sample.number for sample in samples if _READ[sample.name] is metric]
    return _time(values[0]) if values else None


def _told(sample: Sample) -> str:
    """Return the series as people write it, without the labels that all series have."""
    own = [sample.metric[label] for label in _READ[sample.name].labels if label in sample.metric]
    return f"{sample.name} of {'.'.join(own)}" if own else sample.name


def _ago(moment: datetime, now: datetime) -> str:
    return f"{format_age(max(0.0, (now - moment).total_seconds()))} ago"


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
