"""What was last pushed, read back from Prometheus: for a job that may not ask the warehouse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.dbt.manifest import Manifest, Source
from ledgermind_obs.dbt.reconcile import entry_for
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError, DestinationError
from ledgermind_obs.freshness import UNMEASURED, FreshnessReport, SourceFreshness, SourceKey, State
from ledgermind_obs.http.client import request
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.metrics import Metric

_READ = (metrics.LOADED_AT, metrics.CHECKED_AT, metrics.STATUS, metrics.LAST_SUCCESS)


class Sample(msgspec.Struct, frozen=True):
    """One series of an instant query's answer; ``value`` is Unix time and the number as text."""

    metric: dict[str, str]
    value: tuple[float, str]

    @property
    def number(self) -> float:
        """The value as a number."""
        return float(self.value[1])

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.metric.get("__name__", "")

    @property
    def source(self) -> SourceKey:
        """The source that the labels name."""
        return SourceKey(*(self.metric.get(label, "") for label in metrics.SOURCE_LABELS))


class _Vector(msgspec.Struct, frozen=True):
    result: list[Sample]


class _Answer(msgspec.Struct, frozen=True):
    data: _Vector


def query_pushed(endpoint: Endpoint, labels: Mapping[str, str]) -> list[Sample]:
    """Return the series that Prometheus holds now of the groups with these labels.

    Raises DestinationError where Prometheus does not answer with them.
    """
    names = "|".join(metric.name for metric in _READ)
    matchers = "".join(f",{name}={_quoted(value)}" for name, value in labels.items())
    expression = f'{{__name__=~"{names}"{matchers}}}'
    response = request(endpoint, "GET", f"/api/v1/query?query={quote(expression)}")
    if not response.ok:
        raise DestinationError(
            f"{endpoint.url} refused the query with {response.status}: {response.words}"
        )
    try:
        return msgspec.json.decode(response.body, type=_Answer).data.result
    except msgspec.DecodeError as error:
        raise DestinationError(
            f"{endpoint.url} does not answer as Prometheus does: {error}",
            "is this the URL of a Prometheus server?",
        ) from error


def report_of_pushed(
    samples: Iterable[Sample],
    manifest: Manifest,
    wanted: Iterable[str],
    *,
    target: str,
    now: datetime,
    max_age_seconds: float,
) -> FreshnessReport:
    """Return what was last pushed of the ``wanted`` sources.

    A source that was last looked at more than ``max_age_seconds`` ago is missing. Raises
    ArtifactError where there is no push, one that is too old, or more than one group of series.
    """
    found = list(samples)
    project = manifest.metadata.project_name or ""
    _check_push(
        _only(found, metrics.LAST_SUCCESS), f"{project} (target {target})", now, max_age_seconds
    )
    oldest = now - timedelta(seconds=max_age_seconds)
    by_source = _by_source(found)
    sources = [_entry(manifest.sources[uid], by_source, oldest) for uid in sorted(wanted)]
    looked_at = [source.checked_at for source in sources if source.checked_at]
    return FreshnessReport(
        started_at=min(looked_at, default=now),
        duration_seconds=0.0,
        engine="prometheus",
        engine_version="",
        project=project,
        target=target,
        whole=False,
        sources=tuple(sources),
    )


def _check_push(last: float | None, of_what: str, now: datetime, max_age_seconds: float) -> None:
    if last is None:
        raise ArtifactError(
            f"Prometheus knows of no push of {of_what} that succeeded",
            "see whether the push runs, and whether Prometheus scrapes the gateway",
        )
    age = now.timestamp() - last
    if age > max_age_seconds:
        raise ArtifactError(
            f"the last push of {of_what} that succeeded is {format_age(age)} old, "
            f"limit {format_age(max_age_seconds)}",
            "see whether cron still runs obs freshness push, and what it says",
        )


def _by_source(samples: Iterable[Sample]) -> dict[SourceKey, list[Sample]]:
    found: dict[SourceKey, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.source, []).append(sample)
    return found


def _entry(
    source: Source, samples: Mapping[SourceKey, list[Sample]], oldest: datetime
) -> SourceFreshness:
    own = samples.get(SourceKey(source.package_name, source.source_name, source.name), [])
    checked_at = _time(_only(own, metrics.CHECKED_AT))
    state = _state(own)
    if state is not None and state in UNMEASURED:
        return entry_for(source, state, message="the last push could not measure it")
    if state is None or checked_at is None:
        message = "Prometheus holds no series of it"
        return entry_for(source, State.MISSING, message=message)
    if checked_at < oldest:
        message = f"it was last looked at on {checked_at:%Y-%m-%d %H:%M} UTC"
        return entry_for(source, State.MISSING, message=message)
    loaded_at = _time(_only(own, metrics.LOADED_AT))
    if loaded_at is None and state is not State.EMPTY:
        return entry_for(source, State.MISSING, message="Prometheus does not hold its last time")
    return entry_for(source, state, loaded_at=loaded_at, checked_at=checked_at)


def _state(samples: Iterable[Sample]) -> State | None:
    """Return the state whose series is 1; None where that is not exactly one known state."""
    states = [
        sample.metric.get("status", "")
        for sample in samples
        if sample.name == metrics.STATUS.name and sample.number == 1
    ]
    known = [state for state in State if [state.value] == states]
    return known[0] if known else None


def _only(samples: Iterable[Sample], metric: Metric) -> float | None:
    """Return the one value of a metric, or None; raises ArtifactError where there are several."""
    values = [sample for sample in samples if sample.name == metric.name]
    if len(values) > 1:
        jobs = ", ".join(sorted({sample.metric.get("job", "?") for sample in values}))
        raise ArtifactError(
            f"Prometheus holds {len(values)} series of {metric.name} for one project and target "
            f"(job {jobs})",
            "say which is meant with --prometheus-label name=value",
        )
    return values[0].number if values else None


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
