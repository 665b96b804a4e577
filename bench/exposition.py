"""A thousand sources in Prometheus' text format, written and read: by us, and by its client."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from ledgermind_obs.freshness import State
from ledgermind_obs.metrics import STATUS, Series
from ledgermind_obs.sinks.exposition import exposition, parse_exposition

LABELS = {"project": "ledgermind", "target": "prod"}
ROUNDS = 7


def main() -> None:
    """Print both times and their ratio."""
    series = [
        Series(STATUS, ("ledgermind", "app", f"table_{number}", str(state)), float(number % 2))
        for number in range(1_000)
        for state in State
    ]
    ours = _median(lambda: exposition(series, LABELS))
    theirs = _median(lambda: _by_prometheus_client(series))
    print(f"{'exposition of 7,000 series':<44} {ours / theirs:6.3f}  {ours:.3f} s / {theirs:.3f} s")
    text = exposition(series, LABELS)
    ours = _median(lambda: parse_exposition(text, LABELS))
    theirs = _median(lambda: list(text_string_to_metric_families(text.decode())))
    print(f"{'reading them back':<44} {ours / theirs:6.3f}  {ours:.3f} s / {theirs:.3f} s")


def _by_prometheus_client(series: list[Series]) -> bytes:
    registry = CollectorRegistry()
    labels = (*STATUS.labels, *LABELS)
    gauge = Gauge(STATUS.name, STATUS.help, labels, registry=registry)
    for _, label_values, value in series:
        gauge.labels(*label_values, *LABELS.values()).set(value)
    return generate_latest(registry)


def _median(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    main()
