import pytest

from ledgermind_obs import metrics
from ledgermind_obs.freshness import SourceFreshness, SourceKey, State
from ledgermind_obs.metrics import CHECKED_AT, LOADED_AT, Series
from ledgermind_obs.sinks.known import (
    NOTHING,
    Known,
    Standing,
    kept_series,
    known_of,
    restored_series,
    standing,
)
from tests.unit.reports import HOUR, NOW, report, seen, source, unmeasured

KEY = SourceKey("ledgermind", "app", "a")


def known(*sources: SourceFreshness, ago: float = 0.0) -> Known:
    """Return what a report of so many seconds ago makes known."""
    return known_of(metrics.report_series(seen(report(*sources), ago)))


def times(series: list[Series], table: str = "a") -> tuple[float | None, float | None]:
    """Return the newest row's time and the look's, in seconds before now."""
    found = {s.metric: s.value for s in series if s.source and s.source.table == table}
    loaded_at, checked_at = (found.get(metric) for metric in (LOADED_AT, CHECKED_AT))
    now = NOW.timestamp()
    return (None if loaded_at is None else now - loaded_at), (
        None if checked_at is None else now - checked_at
    )


def tables(series: list[Series]) -> set[str]:
    return {s.source.table for s in series if s.source}


@pytest.mark.parametrize("wherefrom", ["memory", "destination"])
def test_an_unmeasured_source_keeps_its_last_known_time_and_no_old_status(wherefrom: str) -> None:
    before = known(source("a"), source("b"))
    sides = (before, NOTHING) if wherefrom == "memory" else (NOTHING, before)

    kept = list(kept_series(report(source("a"), unmeasured("b")), *sides))

    assert {(s.metric, s.source and s.source.table) for s in kept} == {
        (LOADED_AT, "b"),
        (CHECKED_AT, "b"),
    }


def test_a_whole_run_lets_a_removed_source_go_from_both() -> None:
    before = known(source("a"), source("removed"))

    assert not list(kept_series(report(source("a")), before, before))


def test_a_selected_run_leaves_every_series_of_the_other_sources_alone() -> None:
    before = known(source("a"), source("beside"))

    kept = list(kept_series(report(source("a"), whole=False), NOTHING, before))

    assert tuple(kept) == before.sources[SourceKey("ledgermind", "app", "beside")]


def test_two_sources_with_one_table_name_are_kept_apart() -> None:
    before = known(source("t"), source("t", source="billing"))

    now = report(unmeasured("t"), source("t", source="billing"))
    kept = list(kept_series(now, before, NOTHING))

    assert {s.source for s in kept} == {SourceKey("ledgermind", "app", "t")}


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("memory", "destination"), [(60, 3600), (3600, 60)])
def test_of_two_known_times_the_one_of_the_later_look_counts(
    memory: float, destination: float, whole: bool
) -> None:
    delivered = known(source("a", age=HOUR), ago=memory)
    held = known(source("a", age=2 * HOUR), ago=destination)

    kept = list(kept_series(report(unmeasured("a"), whole=whole), delivered, held))

    expected = (HOUR + 60, 60) if memory < destination else (2 * HOUR + 60, 60)
    assert times(kept) == expected


def test_a_table_that_was_seen_empty_later_has_no_time_again() -> None:
    delivered = known(source("a", State.EMPTY, None, checked_at=NOW), ago=60)
    held = known(source("a"), ago=HOUR)

    kept = list(kept_series(report(unmeasured("a")), delivered, held))

    assert times(kept) == (None, 60)


def test_the_later_report_says_which_sources_there_are() -> None:
    delivered, older = known(source("a"), ago=60), known(source("a"), source("gone"), ago=HOUR)
    selected = report(source("b"), whole=False)

    assert tables(list(kept_series(selected, delivered, older))) == {"a"}
    assert tables(list(kept_series(selected, older, delivered))) == {"a"}


def test_what_a_destination_has_lost_is_restored_whole() -> None:
    delivered = known(source("a"), source("b"), ago=60)

    restored = known_of(restored_series(delivered, NOTHING))

    assert restored == delivered


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (NOTHING, Standing.LOST),
        (known(source("a"), ago=60), Standing.SAME),
        (known(source("a"), ago=HOUR), Standing.OLDER),
        (known(source("a"), ago=0), Standing.NEWER),
        (Known({}, known(source("a"), ago=60).of_report), Standing.SAME),  # not read
        (known(source("b"), ago=60), Standing.OLDER),  # the look at a is gone
    ],
)
def test_how_a_destination_stands_to_what_was_delivered(held: Known, expected: Standing) -> None:
    assert standing(known(source("a"), ago=60), held) is expected


def test_without_a_memory_nothing_is_odd() -> None:
    assert standing(None, NOTHING) is Standing.SAME
