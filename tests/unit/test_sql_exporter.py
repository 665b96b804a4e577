"""ops/sql_exporter: only keys that sql_exporter documents, and the names that alerts look at."""

from pathlib import Path
from shutil import copytree

import pytest
import yaml

from ledgermind_obs import metrics
from ledgermind_obs.freshness import State
from services.monitoring import ROOT
from tests.sql_exporter import RefusedError, read

FOLDER = ROOT / "ops/sql_exporter"
BY_NAME = {metric.name: metric for metric in (metrics.LOADED_AT, metrics.STATUS)}


def sources() -> set[str]:
    """Return the tables of the warehouse that have freshness."""
    (source,) = yaml.safe_load((ROOT / "warehouse/models/sources.yml").read_text())["sources"]
    return {t["name"] for t in source["tables"] if t.get("config", {}).get("freshness")}


def test_names_labels_and_texts_are_those_of_obs() -> None:
    for query in read(FOLDER / "sql_exporter.yml"):
        for metric in query.metrics:
            ours = BY_NAME[metric["metric_name"]]
            assert (metric["help"], metric["type"]) == (ours.help, "gauge")
            assert tuple(metric["static_labels"]) == ours.labels
            assert metric["static_labels"].get("status", "empty") == State.EMPTY


def test_each_source_of_the_warehouse_with_freshness_has_both_metrics() -> None:
    queries = read(FOLDER / "sql_exporter.yml")
    assert {query.name for query in queries} == sources()
    for query in queries:
        assert [metric["static_labels"]["table"] for metric in query.metrics] == [query.name] * 2
        assert {metric["metric_name"] for metric in query.metrics} == set(BY_NAME)


def test_no_password_is_in_the_file() -> None:
    config = yaml.safe_load((FOLDER / "sql_exporter.yml").read_text())
    user = config["target"]["data_source_name"].partition("//")[2].partition("@")[0]
    assert ":" not in user


@pytest.mark.parametrize(
    ("file", "was", "becomes"),
    [
        ("sql_exporter.yml", "min_interval:", "minimum_interval:"),
        ("sql_exporter.yml", "collectors: [dbt_sources]", "collectors: [dbt_source]"),
        ("dbt_sources.collector.yml", "query_ref: transactions", "query_ref: transaction"),
        ("dbt_sources.collector.yml", "static_labels:", "labels:"),
        ("dbt_sources.collector.yml", "type: gauge", "type: Histogram"),
    ],
)
def test_what_sql_exporter_does_not_know_is_refused(
    tmp_path: Path, file: str, was: str, becomes: str
) -> None:
    copytree(FOLDER, tmp_path / "conf")
    path = tmp_path / "conf" / file
    path.write_text(path.read_text().replace(was, becomes))

    with pytest.raises(RefusedError):
        read(tmp_path / "conf" / "sql_exporter.yml")
