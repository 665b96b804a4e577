"""What the content of a table is of: the rules one by one, on small lineages."""

from __future__ import annotations

import pytest

from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.gate.as_of import AsOf, forgotten
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.sinks.history import Build, History, Observation, Outcome
from tests.unit.manifests import FCT, RAW, STG, TRAINING, exposure, lineage, model, source

OTHER = "source.shop.app.other"
TABLE = {"materialized": "table"}


def seen(at: float, newest: float | None) -> Observation:
    return Observation(at, at, newest)


def built(start: float, end: float, outcome: Outcome = Outcome.WRITTEN) -> Build:
    return Build(started_at=start, completed_at=end, outcome=outcome)


def shop(kind: str = "table") -> Lineage:
    """raw → stg (a view) → fct → training."""
    fct = model("fct", STG, config={"materialized": kind})
    return lineage(source("raw"), model("stg", RAW), fct, exposure("training", FCT))


def of_training(graph: Lineage, looks: list[Observation], **builds: list[Build]) -> float | None:
    history = History({RAW: looks}, {f"model.shop.{name}": made for name, made in builds.items()})
    return AsOf(graph, history).of(TRAINING)[RAW]


def test_a_view_is_as_of_its_source_now() -> None:
    assert of_training(shop("view"), [seen(10, 7), seen(20, 18)]) == 18


@pytest.mark.parametrize("kind", ["table", "incremental", "materialized_view", "house_made"])
def test_what_keeps_rows_is_as_of_the_last_look_before_its_build(kind: str) -> None:
    assert of_training(shop(kind), [seen(10, 7), seen(20, 18)], fct=[built(15, 16)]) == 7


def test_a_stamp_earlier_than_the_build_is_no_evidence_that_the_row_was_there() -> None:
    committed_late = [seen(10, 7), seen(20, 14)]

    assert of_training(shop(), committed_late, fct=[built(15, 16)]) == 7


def test_a_table_that_nobody_saw_built_is_of_unknown_age() -> None:
    assert of_training(shop(), [seen(10, 7)]) is None


def test_a_build_before_the_first_look_is_of_unknown_age() -> None:
    assert of_training(shop(), [seen(20, 7)], fct=[built(15, 16)]) is None


def test_rows_that_are_gone_later_may_have_been_gone_then() -> None:
    assert of_training(shop(), [seen(10, 7), seen(20, 4)], fct=[built(15, 16)]) == 4
    assert of_training(shop(), [seen(10, 7), seen(20, None)], fct=[built(15, 16)]) is None


def test_a_failed_build_leaves_the_table_as_it_was() -> None:
    builds = [built(15, 16), built(25, 26, Outcome.FAILED)]

    assert of_training(shop(), [seen(10, 7), seen(20, 18)], fct=builds) == 7


def test_an_empty_build_leaves_a_table_of_unknown_age_until_the_next() -> None:
    looks, empty = [seen(10, 7), seen(20, 18)], built(21, 22, Outcome.SPOILT)

    assert of_training(shop(), looks, fct=[built(15, 16), empty]) is None
    assert of_training(shop(), looks, fct=[built(15, 16), empty, built(25, 26)]) == 18


def test_a_view_that_was_built_empty_lets_nothing_through_until_it_is_built_again() -> None:
    looks, empty = [seen(10, 7), seen(20, 18)], built(12, 13, Outcome.SPOILT)

    assert of_training(shop(), looks, stg=[empty], fct=[built(15, 16)]) is None
    assert of_training(shop(), looks, stg=[empty, built(14, 15)], fct=[built(15, 16)]) == 7


def test_of_builds_that_overlap_the_earliest_start_counts() -> None:
    builds = [built(25, 26), built(15, 40)]

    assert of_training(shop(), [seen(10, 7), seen(20, 18)], fct=builds) == 7


def test_a_table_is_as_of_what_the_tables_it_read_held_then() -> None:
    graph = lineage(
        source("raw"),
        model("stg", RAW, config=TABLE),
        model("fct", STG, config=TABLE),
        exposure("training", FCT),
    )
    looks = [seen(10, 7), seen(20, 18), seen(30, 29)]

    assert of_training(graph, looks, stg=[built(15, 16), built(35, 36)], fct=[built(25, 26)]) == 7


def test_within_one_run_a_clock_that_is_off_does_not_matter() -> None:
    graph = lineage(
        source("raw"),
        model("stg", RAW, config=TABLE),
        model("fct", STG, config=TABLE),
        exposure("training", FCT),
    )
    first = Build(started_at=1000, completed_at=1001, outcome=Outcome.WRITTEN, run="a", skew=300)
    second = Build(started_at=1002, completed_at=1003, outcome=Outcome.WRITTEN, run="a", skew=300)
    looks = [seen(690, 7), seen(710, 18)]

    assert of_training(graph, looks, stg=[first], fct=[second]) == 7


def test_of_several_ways_to_a_source_the_oldest_counts_and_unknown_wins() -> None:
    graph = lineage(
        source("raw"),
        model("stg", RAW),
        model("fct", STG, config=TABLE),
        exposure("training", STG, FCT),
    )
    looks = [seen(10, 7), seen(20, 18)]

    assert of_training(graph, looks, fct=[built(15, 16)]) == 7
    assert of_training(graph, looks) is None


def test_each_source_has_a_moment_of_its_own() -> None:
    graph = lineage(
        source("raw"),
        source("other"),
        model("fct", RAW, OTHER, config=TABLE),
        exposure("training", FCT),
    )
    history = History({RAW: [seen(10, 7)], OTHER: [seen(12, 3)]}, {FCT: [built(15, 16)]})

    assert AsOf(graph, history).of(TRAINING) == {RAW: 7, OTHER: 3}


def test_what_was_certain_counts_where_the_observations_are_forgotten() -> None:
    history = History({RAW: [seen(10, 7), seen(20, 18)]}, {FCT: [built(15, 16)]})

    kept = forgotten(shop(), history, before=1000.0)

    assert kept.observations == {RAW: [seen(20, 18)]}
    assert AsOf(shop(), kept).of(TRAINING) == {RAW: 7}


def test_builds_that_were_replaced_are_forgotten_and_many_failed_ones_are_kept_as_one() -> None:
    failed = [built(100 + n, 100.5 + n, Outcome.FAILED) for n in range(500)]
    history = History({RAW: [seen(10, 7)]}, {FCT: [built(15, 16), built(25, 26), *failed]})

    kept = forgotten(shop(), history, before=0.0)

    assert [build.started_at for build in kept.builds[FCT]] == [100, 25, *range(590, 600)]
    assert AsOf(shop(), kept).of(TRAINING) == {RAW: 7}


def test_views_need_no_memory_of_what_they_hold() -> None:
    kept = forgotten(shop(), History({RAW: [seen(10, 7)]}, {STG: [built(15, 16)]}), before=0.0)

    assert [build.certain for build in kept.builds[STG]] == [{}]


def test_a_later_look_that_is_older_lowers_what_was_certain_too() -> None:
    kept = forgotten(shop(), History({RAW: [seen(10, 7)]}, {FCT: [built(15, 16)]}), before=1000.0)
    kept = History({RAW: [seen(2000, 4)]}, kept.builds)

    assert AsOf(shop(), kept).of(TRAINING) == {RAW: 4}


def test_without_a_look_of_its_own_a_build_is_as_of_the_build_before() -> None:
    before = Build(started_at=15, completed_at=16, outcome=Outcome.WRITTEN, certain={RAW: 7.0})

    assert of_training(shop(), [], fct=[before, built(25, 26)]) == 7


def test_what_was_certainly_nothing_stays_so_when_the_record_is_forgotten() -> None:
    looks = [seen(10, 7), seen(20, None)]
    history = History({RAW: looks}, {FCT: [built(15, 16), built(25, 26)]})

    kept = History({}, forgotten(shop(), history, before=1000.0).builds)

    assert AsOf(shop(), kept).of(TRAINING) == {RAW: None}


def test_what_was_once_certain_is_not_exceeded_when_what_lowered_it_is_forgotten() -> None:
    graph, looks = shop(), [seen(10, 7), seen(30, 18)]
    emptied = [built(12, 13, Outcome.SPOILT), built(40, 41)]
    history = History({RAW: looks}, {STG: emptied, FCT: [built(15, 16)]})

    kept = forgotten(graph, history, before=20.0)

    assert kept.builds[STG] == [Build(started_at=40, completed_at=41, outcome=Outcome.WRITTEN)]
    assert AsOf(graph, History({RAW: looks}, kept.builds)).of(TRAINING) == {RAW: None}


def test_a_chain_of_thousands_of_tables_has_an_answer() -> None:
    names = [f"model.shop.m{number}" for number in range(3000)]
    nodes = [
        model(f"m{number}", names[number - 1] if number else RAW, config=TABLE)
        for number in range(3000)
    ]
    builds = {name: [built(20 + number, 20.5 + number)] for number, name in enumerate(names)}
    graph = lineage(source("raw"), *nodes, exposure("training", names[-1]))

    assert AsOf(graph, History({RAW: [seen(10, 7)]}, builds)).of(TRAINING) == {RAW: 7}


def test_a_cycle_is_refused() -> None:
    graph = lineage(model("stg", FCT), model("fct", STG), exposure("training", FCT))

    with pytest.raises(ArtifactError, match="cycle"):
        AsOf(graph, History({}, {})).of(TRAINING)
