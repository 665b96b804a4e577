"""Samples of what was pushed, asked of Prometheus and proven.

Only a proven answer counts: a whole one, by Prometheus, of this project and target, of now, and
without contradictions. Anything else is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import FUTURE_TOLERANCE, SourceKey
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.http.prometheus import SEE_SERVER, vector
from ledgermind_obs.metrics import Metric

_METRICS = {metric.name: metric for metric in metrics.METRICS}
_TIMES = frozenset(
    {
        *(metrics.LOADED_AT, metrics.CHECKED_AT, metrics.RUN_TIMESTAMP, metrics.LAST_SUCCESS),
        *(metrics.BUILT_AT, metrics.EXPOSURE_AS_OF),
    }
)
_FLAGS = frozenset({metrics.STATUS, metrics.RUN_SUCCESS, metrics.BUILD_STATUS})

SEE_PUSHES = "see what pushes to this project and target, and with which version of obs"


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
    def of(self) -> Metric:
        """The metric in the table of metrics; a sample of another is refused."""
        return _METRICS[self.name]

    @property
    def source(self) -> SourceKey:
        """The source that the labels name."""
        return SourceKey(*(self.metric.get(label, "") for label in metrics.IDENTITY_LABELS))

    @property
    def group(self) -> frozenset[tuple[str, str]]:
        """The labels that all series of one push have."""
        own = {"__name__", *_METRICS[self.name].labels} if self.name in _METRICS else {"__name__"}
        return frozenset((name, text) for name, text in self.metric.items() if name not in own)


def query_pushed(
    endpoint: Endpoint,
    wanted: Sequence[Metric],
    labels: Mapping[str, str],
    at: float | None = None,
) -> list[Sample]:
    """Return the series of some metrics that Prometheus has of the groups with these labels.

    It has them now, or had them at a moment in Unix seconds. Raises DestinationError unless it
    answers whole, and as Prometheus does.
    """
    names = "|".join(metric.name for metric in wanted)
    matchers = "".join(f",{name}={_quoted(value)}" for name, value in labels.items())
    expression = f'{{__name__=~"{names}"{matchers}}}'
    moment = {} if at is None else {"time": f"{at:.3f}"}
    return vector(endpoint, {"query": expression, **moment}, Sample)


def check_samples(
    samples: Sequence[Sample], wanted: Sequence[Metric], labels: Mapping[str, str], now: datetime
) -> None:
    """Raise ArtifactError unless the samples are of one push, under these labels, and of now."""
    seen: set[frozenset[tuple[str, str]]] = set()
    for sample in samples:
        _check_labels(sample, wanted, labels)
        _check_moment(sample, now)
        _check_number(sample)
        identity = frozenset(sample.metric.items())
        if identity in seen:
            raise ArtifactError(f"Prometheus answers twice with {told(sample)}", SEE_SERVER)
        seen.add(identity)
    _check_one_group(samples)


def _check_labels(sample: Sample, wanted: Sequence[Metric], labels: Mapping[str, str]) -> None:
    if sample.name not in {metric.name for metric in wanted}:
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
    number, metric = sample.number, sample.of
    if not math.isfinite(number):
        raise ArtifactError(f"{told(sample)} is {sample.value[1]!r}", SEE_PUSHES)
    if metric in _TIMES:
        try:
            datetime.fromtimestamp(number, UTC)
        except (ValueError, OverflowError, OSError):
            raise ArtifactError(f"{told(sample)} is {number}: no time", SEE_PUSHES) from None
    if metric in _FLAGS and number not in {0.0, 1.0}:
        raise ArtifactError(f"{told(sample)} is {number}, neither 0 nor 1", SEE_PUSHES)


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


def told(sample: Sample) -> str:
    """Return the series as people write it, without the labels that all series have."""
    own = [sample.metric[label] for label in sample.of.labels if label in sample.metric]
    return f"{sample.name} of {'.'.join(own)}" if own else sample.name


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
