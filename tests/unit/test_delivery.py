import pytest

from ledgermind_obs import metrics
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.freshness import SourceKey
from ledgermind_obs.sinks.deliver import deliver, deliver_failure
from ledgermind_obs.sinks.textfile import Textfile
from tests.unit.reports import HOUR, NOW, report, source, unmeasured

LABELS = {"project": "ledgermind", "target": "prod"}


@pytest.fixture
def sink(tmp_path) -> Textfile:  # type: ignore[no-untyped-def]
    return Textfile(tmp_path / "dbt.prom", LABELS)


def test_a_delivery_counts_the_series_and_names_the_times_it_kept(sink: Textfile) -> None:
    deliver(report(source("a"), source("b", age=6 * HOUR)), sink)

    delivery = deliver(report(source("a"), unmeasured("b")), sink)

    assert delivery.series == len(sink.known(metrics.METRICS))
    assert delivery.kept == {
        SourceKey("ledgermind", "app", "b"): NOW.timestamp() - 6 * HOUR,
    }


def test_a_failed_run_changes_the_run_metrics_and_nothing_else(sink: Textfile) -> None:
    deliver(report(source("a"), source("b")), sink)
    before = sink.known(metrics.METRICS)

    deliver_failure(sink, NOW, 1.0)

    run = {metrics.RUN_SUCCESS, metrics.RUN_TIMESTAMP, metrics.RUN_DURATION}
    after = sink.known(metrics.METRICS)
    assert [s for s in after if s.metric not in run] == [s for s in before if s.metric not in run]
    assert {s.metric: s.value for s in after}[metrics.RUN_SUCCESS] == 0.0


def test_a_file_of_another_target_is_not_overwritten(sink: Textfile) -> None:
    deliver(report(source("a")), sink)
    content = sink.path.read_bytes()

    with pytest.raises(DestinationError, match="holds other series"):
        deliver(report(source("a")), Textfile(sink.path, {**LABELS, "target": "dev"}))

    assert sink.path.read_bytes() == content


def test_a_file_that_is_no_exposition_is_not_overwritten(sink: Textfile) -> None:
    sink.path.write_text("my notes\n")

    with pytest.raises(DestinationError, match="holds other series"):
        deliver(report(source("a")), sink)

    assert sink.path.read_text() == "my notes\n"


def test_nothing_but_the_file_is_left_and_everybody_may_read_it(sink: Textfile) -> None:
    deliver(report(source("a")), sink)

    assert [path.name for path in sink.path.parent.iterdir()] == ["dbt.prom"]
    assert sink.path.stat().st_mode & 0o777 == 0o644


def test_a_folder_that_is_not_there_is_one_clear_error(sink: Textfile) -> None:
    nowhere = Textfile(sink.path.parent / "nowhere" / "dbt.prom", LABELS)

    with pytest.raises(DestinationError, match=r"cannot write .*dbt\.prom: No such file"):
        deliver(report(source("a")), nowhere)
