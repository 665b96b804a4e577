"""The table of metrics, and the way from a report to series.

Everything that is exported is declared here; the documentation and the checks of rules and
dashboards are made from this table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from ledgermind_obs import __version__
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.freshness import FreshnessReport, SourceFreshness, SourceKey, State

# The labels that say which source a series is of.
IDENTITY_LABELS = SourceKey._fields
# The labels of every series of a source, those first, and before the metric's own.
SOURCE_LABELS = IDENTITY_LABELS
_IDENTITY, _OF_SOURCE = slice(len(IDENTITY_LABELS)), slice(len(SOURCE_LABELS))


class Metric(msgspec.Struct, frozen=True):
    """A gauge: its name, its help text, and the labels of its series beyond the grouping key."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def is_of_sources(self) -> bool:
        """Whether each of its series speaks of a source."""
        return self.labels[_OF_SOURCE] == SOURCE_LABELS

    def values(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the values of its labels in their order; one that is not there is empty."""
        return tuple(labels.get(name, "") for name in self.labels)


LOADED_AT = Metric(
    "dbt_source_loaded_at_seconds",
    "Unix time of the newest row of a dbt source; absent for an empty table.",
    SOURCE_LABELS,
)
CHECKED_AT = Metric(
    "dbt_source_checked_at_seconds",
    "Unix time at which the source was last looked at with success.",
    SOURCE_LABELS,
)
STATUS = Metric(
    "dbt_source_freshness_status",
    "1 for the state the source is in, 0 for every other state.",
    (*SOURCE_LABELS, "status"),
)
WARN_AFTER = Metric(
    "dbt_source_warn_after_seconds",
    "Age in seconds beyond which dbt warns of the source.",
    SOURCE_LABELS,
)
ERROR_AFTER = Metric(
    "dbt_source_error_after_seconds",
    "Age in seconds beyond which dbt calls the source an error.",
    SOURCE_LABELS,
)
INFO = Metric(
    "dbt_source_info",
    "1 for every source; says where its table is.",
    (*SOURCE_LABELS, "unique_id", "database", "schema", "identifier"),
)
RUN_SUCCESS = Metric(
    "dbt_freshness_run_success",
    "1 if the last run produced a report, else 0.",
)
RUN_TIMESTAMP = Metric(
    "dbt_freshness_run_timestamp_seconds",
    "Unix time at which the last run started.",
)
LAST_SUCCESS = Metric(
    "dbt_freshness_last_success_timestamp_seconds",
    "Unix time at which the last run that produced a report started.",
)
RUN_DURATION = Metric(
    "dbt_freshness_run_duration_seconds",
    "How long the last run took, in seconds.",
)
BUILD_INFO = Metric(
    "obs_build_info",
    "1; says which obs, which dbt and which engine made the last report.",
    ("version", "dbt_version", "engine"),
)
BUILT_AT = Metric(
    "dbt_model_built_at_seconds",
    "Unix time at which the last build of a model or snapshot began that wrote it whole.",
    ("package", "model"),
)
BUILD_STATUS = Metric(
    "dbt_model_build_status",
    "1 for how the last build of a model or snapshot ended, 0 for the other ways; partial is a "
    "build with --empty, --sample or --defer, or of some batches.",
    ("package", "model", "status"),
)
FAILED_TESTS = Metric(
    "dbt_model_failed_tests",
    "How many data tests and unit tests of a model or snapshot failed when they last ran.",
    ("package", "model"),
)
EXPOSURE_AS_OF = Metric(
    "dbt_exposure_as_of_seconds",
    "Unix time of the newest data of a source that what the exposure reads can hold; absent if "
    "that is not known.",
    ("exposure", *IDENTITY_LABELS),
)

CANARY = Metric(
    "obs_canary_timestamp_seconds",
    "Unix time at which obs doctor --end-to-end sent it; it is taken away again.",
)

FRESHNESS_METRICS = (
    LOADED_AT,
    CHECKED_AT,
    STATUS,
    WARN_AFTER,
    ERROR_AFTER,
    INFO,
    RUN_SUCCESS,
    RUN_TIMESTAMP,
    LAST_SUCCESS,
    RUN_DURATION,
    BUILD_INFO,
)
BUILD_METRICS = (BUILT_AT, BUILD_STATUS, FAILED_TESTS, EXPOSURE_AS_OF)
METRICS = (*FRESHNESS_METRICS, *BUILD_METRICS, CANARY)

LAST_KNOWN = (LOADED_AT, CHECKED_AT)

_STATES = tuple((state, str(state)) for state in State)


class Series(NamedTuple):
    """One value: the metric, the values of its labels in the metric's order, the number."""

    metric: Metric
    label_values: tuple[str, ...]
    value: float

    @property
    def source(self) -> SourceKey | None:
        """The source it speaks of, or None for a metric of the run."""
        if not self.metric.is_of_sources:
            return None
        return SourceKey(*self.label_values[_IDENTITY])

    @property
    def state(self) -> str:
        """The state that a series of ``STATUS`` speaks of."""
        return self.label_values[-1]


def source_labels(source: Source) -> dict[str, str]:
    """Return the labels by which the series of a source in the manifest are found."""
    return source.key._asdict()


def other_states(status: Series) -> Iterator[Series]:
    """Yield the series of the states that a source is not in, from that of the one it is in."""
    for state, name in _STATES:
        if state != status.state:
            yield Series(STATUS, (*status.label_values[:-1], name), 0.0)


def last_known_series(source: SourceFreshness, known: Series) -> Series:
    """Return a known series of a source with the labels that its series have today."""
    return Series(known.metric, _labels_of(source), known.value)


def _labels_of(source: SourceFreshness) -> tuple[str, ...]:
    """Return the values of ``SOURCE_LABELS``."""
    return tuple(source.key)


def report_series(report: FreshnessReport) -> Iterator[Series]:
    """Yield the series of a run that produced a report."""
    for source in report.sources:
        yield from _source_series(source)
    started = report.started_at.timestamp()
    yield from _run_series(started, report.duration_seconds, success=True)
    yield Series(LAST_SUCCESS, (), started)
    yield Series(BUILD_INFO, (__version__, report.engine_version, report.engine), 1.0)


def failed_run_series(started_at: datetime, duration_seconds: float) -> Iterator[Series]:
    """Yield the series of a run that produced no report: they say so and nothing else."""
    yield from _run_series(started_at.timestamp(), duration_seconds, success=False)


def _source_series(source: SourceFreshness) -> Iterator[Series]:
    key = _labels_of(source)
    if source.loaded_at:
        yield Series(LOADED_AT, key, source.loaded_at.timestamp())
    if source.checked_at:
        yield Series(CHECKED_AT, key, source.checked_at.timestamp())
    for state, name in _STATES:
        yield Series(STATUS, (*key, name), 1.0 if state is source.state else 0.0)
    if source.warn_after_seconds is not None:
        yield Series(WARN_AFTER, key, source.warn_after_seconds)
    if source.error_after_seconds is not None:
        yield Series(ERROR_AFTER, key, source.error_after_seconds)
    location = (source.unique_id, source.database, source.schema, source.identifier)
    yield Series(INFO, (*key, *location), 1.0)


def _run_series(started: float, duration_seconds: float, *, success: bool) -> Iterator[Series]:
    yield Series(RUN_SUCCESS, (), float(success))
    yield Series(RUN_TIMESTAMP, (), started)
    yield Series(RUN_DURATION, (), duration_seconds)
