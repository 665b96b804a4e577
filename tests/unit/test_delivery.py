from collections.abc import Iterable

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.freshness import FreshnessReport, SourceKey
from ledgermind_obs.metrics import CHECKED_AT, LOADED_AT, RUN_SUCCESS, Metric, Series
from ledgermind_obs.sinks.deliver import Delivery, deliver, deliver_failure
from ledgermind_obs.sinks.known import Destination, Known, known_of
from tests.unit.reports import HOUR, NOW, report, seen, source, unmeasured

B = SourceKey("ledgermind", "app", "b")
OF_THE_RUN = {metrics.RUN_SUCCESS, metrics.RUN_TIMESTAMP, metrics.RUN_DURATION}


class Shelf:
    """A sink that does as a gateway does, or fails as told."""

    destination = Destination("http://gw", {})

    def __init__(self) -> None:
        self.series: list[Series] = []
        self.reads = 0
        self.readable = self.writable = True

    def prepare(self) -> None:
        pass

    def within(self, _: float) -> "Shelf":
        return self

    def known(self, wanted: Iterable[Metric]) -> list[Series] | None:
        self.reads += 1
        if not self.readable:
            raise DestinationError("it answers with 204")
        return [s for s in self.series if s.metric in set(wanted)]

    def put(self, series: Iterable[Series]) -> None:
        self.post([])
        self.series = list(series)

    def post(self, series: Iterable[Series]) -> None:
        if not self.writable:
            raise DestinationError("it is down")
        new = list(series)
        named = {s.metric for s in new}
        self.series = [*(s for s in self.series if s.metric not in named), *new]

    def times(self, table: str) -> tuple[float | None, float | None]:
        """Return how old the newest row and the look at it are."""
        found = {s.metric: s.value for s in self.series if s.source and s.source.table == table}
        ages = [
            NOW.timestamp() - v if (v := found.get(m)) else None for m in (LOADED_AT, CHECKED_AT)
        ]
        return ages[0], ages[1]

    @property
    def tables(self) -> set[str]:
        return {s.source.table for s in self.series if s.source and s.metric is LOADED_AT}


class Memory:
    """A memory that is a variable."""

    def __init__(self) -> None:
        self.known: Known | None = None

    def recall(self) -> Known | None:
        return self.known

    def remember(self, series: Iterable[Series]) -> None:
        self.known = known_of(series)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def delivered(shelf: Shelf, memory: Memory) -> None:
    """Let a whole run of an hour ago be delivered."""
    deliver(seen(report(source("a"), source("b")), HOUR), shelf, memory)


def now(*sources: str, whole: bool = True) -> FreshnessReport:
    """Return a report of now; a source with a minus could not be measured."""
    made = [unmeasured(s[1:]) if s.startswith("-") else source(s) for s in sources]
    return report(*made, whole=whole)


def test_a_whole_and_complete_run_reads_nothing(shelf: Shelf, memory: Memory) -> None:
    deliver(now("a"), shelf, memory)

    assert shelf.reads == 0
    assert memory.known == known_of(shelf.series)


@pytest.mark.usefixtures("delivered")
def test_a_delivery_counts_the_series_and_names_the_times_it_kept(
    shelf: Shelf, memory: Memory
) -> None:
    delivery = deliver(now("a", "-b"), shelf, memory)

    assert delivery == Delivery(len(shelf.series), {B: NOW.timestamp() - 2 * HOUR})
    assert shelf.times("b") == (2 * HOUR, HOUR)
    assert memory.known == known_of(shelf.series)


@pytest.mark.usefixtures("delivered")
@pytest.mark.parametrize("measured", [("a", "-b"), ("-a", "-b")])
def test_a_destination_that_lost_everything_gets_the_last_known_times_again(
    shelf: Shelf, memory: Memory, measured: tuple[str, ...]
) -> None:
    shelf.series = []

    delivery = deliver(now(*measured), shelf, memory)

    assert shelf.times("b") == (2 * HOUR, HOUR)
    assert "had lost what was last pushed" in delivery.notice


@pytest.mark.usefixtures("delivered")
def test_a_selected_run_brings_everything_else_back(shelf: Shelf, memory: Memory) -> None:
    before, shelf.series = shelf.series, []

    deliver(now("a", whole=False), shelf, memory)

    of_b = [s for s in before if s.source == B]
    assert of_b
    assert [s for s in shelf.series if s.source == B] == of_b


@pytest.mark.usefixtures("delivered")
def test_an_older_answer_moves_no_time_back(shelf: Shelf, memory: Memory) -> None:
    shelf.series = list(metrics.report_series(seen(report(source("a"), source("b")), 5 * HOUR)))

    delivery = deliver(now("a", "-b"), shelf, memory)

    assert shelf.times("b") == (2 * HOUR, HOUR)
    assert "showed an older push (of 2026-11-01 07:00:00 UTC)" in delivery.notice


@pytest.mark.usefixtures("delivered")
def test_what_another_host_pushed_later_counts_and_is_said(shelf: Shelf, memory: Memory) -> None:
    later = seen(report(source("a"), source("b", age=60), source("new")), 300)
    shelf.series = list(metrics.report_series(later))

    delivery = deliver(now("a", "-b", whole=False), shelf, memory)

    assert shelf.times("b") == (360, 300)
    assert shelf.tables == {"a", "b", "new"}
    assert "holds a later push (of 2026-11-01 11:55:00 UTC)" in delivery.notice
    assert "does another host or directory push this group?" in delivery.notice


@pytest.mark.usefixtures("delivered")
def test_another_hosts_push_is_noticed_by_a_whole_run_that_looked(
    shelf: Shelf, memory: Memory
) -> None:
    glanced = known_of(metrics.report_series(seen(report(source("a")), 300)))

    delivery = deliver(now("a", "b"), shelf, memory, glanced)

    assert "holds a later push" in delivery.notice
    assert shelf.reads == 0


@pytest.mark.usefixtures("delivered")
@pytest.mark.parametrize("glanced", [None, Known({})])
def test_a_whole_run_says_nothing_of_what_it_makes_good_anyway(
    shelf: Shelf, memory: Memory, glanced: Known | None
) -> None:
    assert deliver(now("a", "b"), shelf, memory, glanced).notice == ""


@pytest.mark.usefixtures("delivered")
def test_what_left_the_project_does_not_come_back_from_the_memory(
    shelf: Shelf, memory: Memory
) -> None:
    before = shelf.series
    deliver(seen(report(source("a")), 60), shelf, memory)
    shelf.series = before  # a copy from before that run

    deliver(now("a", whole=False), shelf, memory)

    assert shelf.tables == {"a"}


@pytest.mark.parametrize("with_memory", [True, False])
@pytest.mark.parametrize("measured", [("a", "-b"), ("-a", "-b")])
def test_an_answer_that_is_not_proven_ends_the_push_and_nothing_is_sent(
    shelf: Shelf, memory: Memory, measured: tuple[str, ...], with_memory: bool
) -> None:
    deliver(seen(report(source("a"), source("b")), HOUR), shelf, memory)
    before, known = shelf.series, memory.known
    shelf.readable, memory.known = False, known if with_memory else None

    with pytest.raises(DestinationError):
        deliver(now(*measured), shelf, memory)

    assert shelf.series == before
    assert memory.known == (known if with_memory else None)


@pytest.mark.usefixtures("delivered")
def test_nothing_is_remembered_that_was_not_confirmed(shelf: Shelf, memory: Memory) -> None:
    known, shelf.writable = memory.known, False

    with pytest.raises(DestinationError):
        deliver(now("a", "b"), shelf, memory)

    assert memory.known == known


def test_without_a_memory_the_destinations_own_answer_counts(shelf: Shelf, memory: Memory) -> None:
    deliver(seen(report(source("a"), source("b")), HOUR), shelf, memory)

    deliver(now("a", "-b"), shelf, Memory())

    assert shelf.times("b") == (2 * HOUR, HOUR)


@pytest.mark.usefixtures("delivered")
def test_a_failed_run_changes_the_run_metrics_and_nothing_else(
    shelf: Shelf, memory: Memory
) -> None:
    before = shelf.series

    assert deliver_failure(shelf, memory, NOW, 1.0) == ""

    after = shelf.series
    assert [s for s in after if s.metric not in OF_THE_RUN] == [
        s for s in before if s.metric not in OF_THE_RUN
    ]
    assert {s.metric: s.value for s in after}[RUN_SUCCESS] == 0.0


@pytest.mark.usefixtures("delivered")
def test_a_failed_run_restores_what_a_destination_has_lost(shelf: Shelf, memory: Memory) -> None:
    before, shelf.series = shelf.series, []

    notice = deliver_failure(shelf, memory, NOW, 1.0)

    assert known_of(shelf.series) == known_of(before)
    assert {s.metric: s.value for s in shelf.series}[RUN_SUCCESS] == 0.0
    assert "had lost what was last pushed" in notice


@pytest.mark.usefixtures("delivered")
def test_a_failed_run_that_cannot_be_sure_of_a_loss_restores_nothing(
    shelf: Shelf, memory: Memory
) -> None:
    shelf.series, shelf.readable = [], False

    assert deliver_failure(shelf, memory, NOW, 1.0) == ""

    assert {s.metric for s in shelf.series} == OF_THE_RUN


@pytest.mark.usefixtures("delivered")
def test_a_failed_run_leaves_what_another_host_pushed_later(shelf: Shelf, memory: Memory) -> None:
    later = list(metrics.report_series(seen(report(source("a"), source("new")), 60)))
    shelf.series = later

    deliver_failure(shelf, memory, NOW, 1.0)

    assert known_of(shelf.series) == known_of(later)


def test_a_failed_run_without_a_memory_asks_nothing(shelf: Shelf) -> None:
    deliver_failure(shelf, None, NOW, 1.0)
    deliver_failure(shelf, Memory(), NOW, 1.0)

    assert shelf.reads == 0
    assert {s.metric for s in shelf.series} == OF_THE_RUN


class Stream(Shelf):
    """A sink that cannot be read back: what was written is gone."""

    def known(self, wanted: Iterable[Metric]) -> list[Series] | None:  # noqa: ARG002
        return None


@pytest.mark.usefixtures("delivered")
def test_of_a_sink_that_cannot_be_read_the_memory_answers_alone(memory: Memory) -> None:
    stream = Stream()

    delivery = deliver(now("a", "-b"), stream, memory)

    assert delivery.notice == ""
    assert stream.times("b") == (2 * HOUR, HOUR)


@pytest.mark.usefixtures("delivered")
def test_a_failed_run_restores_nothing_in_a_sink_that_cannot_be_read(memory: Memory) -> None:
    stream = Stream()

    assert deliver_failure(stream, memory, NOW, 1.0) == ""
    assert {s.metric for s in stream.series} == {
        *(s.metric for s in metrics.failed_run_series(NOW, 1.0))
    }
