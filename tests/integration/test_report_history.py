"""What a report says of the past, by a real Prometheus, against a count by hand."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.freshness import SourceKey
from ledgermind_obs.http.endpoint import Endpoint, Tls
from ledgermind_obs.metrics import Metric
from ledgermind_obs.monitoring.history import read_history
from ledgermind_obs.monitoring.timeliness import DAY_SECONDS, DAYS, STEP_SECONDS, History
from services.prometheus import Prometheus, prometheus

LABELS = {"project": "shop", "target": "prod"}
HOUR = 3600.0
SCRAPE_SECONDS = 240
LOOKBACK_SECONDS = 300
SINCE = DAY_SECONDS
NOW = int(time.time())


@dataclass
class Past:
    """What was scraped of one source: at each moment its newest row, its limits, its state."""

    table: str
    warn: Callable[[float], float | None]
    error: Callable[[float], float | None]
    loads: list[float]
    empty: tuple[float, float] = (0, 0)
    silent: tuple[float, float] = (0, 0)
    ahead: tuple[float, float] = (0, 0)
    known_since: float = NOW - 40 * DAY_SECONDS
    scraped: list[float] = field(default_factory=list)

    @property
    def key(self) -> SourceKey:
        return SourceKey("shop", "app", self.table)

    def newest(self, at: float) -> float | None:
        if self.empty[0] <= at < self.empty[1]:
            return None
        if self.ahead[0] <= at < self.ahead[1]:
            return at + HOUR
        return max((load for load in self.loads if load <= at), default=None)

    def is_scraped(self, at: float) -> bool:
        return at >= self.known_since and not self.silent[0] <= at < self.silent[1]

    def seen(self, at: float, value: Callable[[float], float | None]) -> float | None:
        """Return a series' value as Prometheus sees it: of the last scrape that had one."""
        scrape = at - at % SCRAPE_SECONDS
        while at - scrape <= LOOKBACK_SECONDS:
            found = value(scrape) if self.is_scraped(scrape) else None
            if found is not None:
                return found
            scrape -= SCRAPE_SECONDS
        return None

    def is_empty(self, at: float) -> float:
        return float(self.empty[0] <= at < self.empty[1])

    def within(self, at: float, limit: Callable[[float], float | None]) -> bool | None:
        """Return whether it is within a limit, as Prometheus sees it at a moment; else None."""
        newest, allowed = self.seen(at, self.newest), self.seen(at, limit)
        if newest is not None and allowed is not None:
            return newest - at <= 300 and at - newest <= allowed
        return False if self.seen(at, self.is_empty) == 1.0 else None


def constant(value: float | None) -> Callable[[float], float | None]:
    return lambda _: value


def first_limit(past: Past) -> Callable[[float], float | None]:
    return lambda at: past.error(at) if past.warn(at) is None else past.warn(at)


@pytest.fixture(scope="module")
def pasts() -> list[Past]:
    chance = random.Random(7)  # noqa: S311 - any will do

    def loads(typical: float) -> list[float]:
        at, found = NOW - 45.0 * DAY_SECONDS, []
        while at < NOW:
            found.append(at)
            at += chance.uniform(0.1, 2.0) * typical
        return found

    changed = NOW - 11 * DAY_SECONDS
    return [
        Past("often", constant(6 * HOUR), constant(12 * HOUR), loads(5 * HOUR)),
        Past("rare", constant(48 * HOUR), constant(120 * HOUR), loads(50 * HOUR)),
        Past("only_error", constant(None), constant(8 * HOUR), loads(6 * HOUR)),
        Past("only_warn", constant(8 * HOUR), constant(None), loads(6 * HOUR)),
        Past(
            "tightened",
            lambda at: 30 * HOUR if at < changed else 3 * HOUR,
            constant(60 * HOUR),
            loads(4 * HOUR),
        ),
        Past(
            "emptied",
            constant(24 * HOUR),
            constant(48 * HOUR),
            loads(6 * HOUR),
            empty=(NOW - 5.4 * DAY_SECONDS, NOW - 4.9 * DAY_SECONDS),
            silent=(NOW - 12.3 * DAY_SECONDS, NOW - 8.7 * DAY_SECONDS),
        ),
        Past(
            "ahead",
            constant(24 * HOUR),
            constant(48 * HOUR),
            loads(6 * HOUR),
            ahead=(NOW - 3.2 * DAY_SECONDS, NOW - 0.4 * DAY_SECONDS),
        ),
        Past(
            "young",
            constant(5 * HOUR),
            constant(9 * HOUR),
            loads(5 * HOUR),
            known_since=NOW - 9.2 * DAY_SECONDS,
        ),
    ]


def line(metric: Metric, past: Past, at: float, value: float, **more: str) -> str:
    labels = {**LABELS, **past.key._asdict(), **more}
    told = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return f"{metric.name}{{{told}}} {value} {at:.0f}"


def scraped(past: Past, at: float) -> Iterator[tuple[Metric, str]]:
    newest, warn, error = past.newest(at), past.warn(at), past.error(at)
    for metric, value in (
        (metrics.LOADED_AT, newest),
        (metrics.WARN_AFTER, warn),
        (metrics.ERROR_AFTER, error),
    ):
        if value is not None:
            yield metric, line(metric, past, at, value)
    empty = past.is_empty(at)
    yield metrics.STATUS, line(metrics.STATUS, past, at, empty, status="empty")
    yield metrics.STATUS, line(metrics.STATUS, past, at, 1 - empty, status="pass")


@pytest.fixture(scope="module")
def server(pasts: list[Past], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    lines: dict[Metric, list[str]] = {}
    first = NOW - NOW % SCRAPE_SECONDS - 35 * DAY_SECONDS
    for at in range(first, NOW, SCRAPE_SECONDS):
        for past in pasts:
            for metric, text in scraped(past, at) if past.is_scraped(at) else ():
                lines.setdefault(metric, []).append(text)
    content = [
        part for metric, of_it in lines.items() for part in (f"# TYPE {metric.name} gauge", *of_it)
    ]
    directory: Path = tmp_path_factory.mktemp("past")
    with prometheus(
        directory, "scrape_configs: []\n", past="\n".join([*content, "# EOF\n"])
    ) as one:
        yield one


@pytest.fixture(scope="module")
def history(server: Prometheus) -> History:
    return read_history(endpoint(server.url), LABELS, NOW, SINCE)


def endpoint(url: str) -> Endpoint:
    return Endpoint.parse(url, tls=Tls(), timeout=30.0)


def steps(begin: float, end: float, step: int) -> list[int]:
    first = int(begin) - int(begin) % step + step
    return list(range(first, int(end) + 1, step))


def test_each_day_of_each_source_is_what_a_count_by_hand_gives(
    history: History, pasts: list[Past]
) -> None:
    assert set(history.sources) == {past.key for past in pasts}
    for past in pasts:
        days = history.sources[past.key].days
        assert len(days) == DAYS
        for day in days:
            moments = steps(day.ends_at - DAY_SECONDS, day.ends_at, STEP_SECONDS)
            seen = [past.within(at, first_limit(past)) for at in moments]
            tolerable = [past.within(at, past.error) for at in moments]
            assert (day.known, day.within, day.tolerable) == (
                sum(each is not None for each in seen),
                sum(each is True for each in seen),
                sum(each is True for each in tolerable),
            ), (past.table, day)


def test_the_figures_are_those_of_the_samples_and_differ_between_sources(
    history: History, pasts: list[Past]
) -> None:
    shares = set()
    for past in pasts:
        for days in (7, 30):
            moments = steps(history.ends_at - days * DAY_SECONDS, history.ends_at, STEP_SECONDS)
            seen = [past.within(at, first_limit(past)) for at in moments]
            known = [each for each in seen if each is not None]
            expected = sum(known) / len(known)
            found = history.sources[past.key].share(days)
            assert found == pytest.approx(expected, abs=1e-12)
            shares.add(found)
    assert len(shares) > 8


def test_a_source_that_is_known_for_less_time_says_so(history: History, pasts: list[Past]) -> None:
    young = next(past for past in pasts if past.table == "young")
    known = history.sources[young.key].known_seconds(30)

    assert known == pytest.approx(9.2 * DAY_SECONDS, abs=2 * STEP_SECONDS)
    assert history.known_days() == pytest.approx(30, abs=0.1)


def test_what_was_missed_and_recovered_is_found_to_the_sample(
    history: History, pasts: list[Past]
) -> None:
    step, found = 300, 0
    for past in pasts:
        begin = int(history.ends_at - SINCE)
        moments = list(range(begin, int(history.ends_at) + 1, step))
        seen = [(at, past.within(at, first_limit(past))) for at in moments]
        late = {at for at, within in seen if within is False}
        misses = history.sources[past.key].misses
        told = {
            at
            for at, _ in seen
            for miss in misses
            if (miss.began_at or begin) <= at < (miss.ended_at or history.ends_at + 1)
        }
        assert late == told, past.table
        found += len(misses)
    assert found >= 3


def test_a_project_that_prometheus_does_not_know_has_no_history(server: Prometheus) -> None:
    found = read_history(endpoint(server.url), {**LABELS, "project": "other"}, NOW, SINCE)

    assert found.sources == {}


def test_a_quote_in_a_label_is_a_quote_and_no_query(server: Prometheus) -> None:
    labels = {**LABELS, "team": 'a"} or vector(1) #\\'}

    assert read_history(endpoint(server.url), labels, NOW, SINCE).sources == {}


def test_a_prometheus_that_is_gone_is_an_error_of_the_destination(server: Prometheus) -> None:
    with pytest.raises(DestinationError, match=r"Connection refused"):
        read_history(
            Endpoint.parse("http://127.0.0.1:9", tls=Tls(), timeout=1.0), LABELS, NOW, SINCE
        )
