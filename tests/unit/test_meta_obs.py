"""A project's settings in ``meta.obs``, and who owns a source."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from ledgermind_obs.dbt.meta_obs import ExposureSettings, NoFreshness, SourceSettings, settings_of
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.owners import owner_of
from tests.unit.manifests import exposure, lineage, model, source

ORDERS = "source.shop.app.orders"
TRAINING = "exposure.shop.training"
PLACES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "top level": lambda said: {"meta": said},
    "config": lambda said: {"config": {"meta": said}},
    "of the whole source": lambda said: {"source_meta": said},
}


def of_source(**said: Any) -> Lineage:
    return lineage(source("orders", **said), exposure("training", ORDERS))


def of_exposure(**said: Any) -> Lineage:
    return lineage(source("orders"), exposure("training", ORDERS, meta={"obs": said}))


def refusal(found: Lineage, directory: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        settings_of(found.manifest, directory)
    return str(refused.value)


@pytest.mark.parametrize("place", PLACES)
def test_a_sources_settings_are_found_wherever_dbt_takes_meta(place: str) -> None:
    said = {"obs": {"no_freshness": "changes when somebody acts", "owner": "payments"}}
    found = settings_of(of_source(**PLACES[place](said)).manifest, None)
    assert found.sources == {
        ORDERS: SourceSettings(NoFreshness("changes when somebody acts"), "payments")
    }


def test_what_a_table_says_goes_before_what_its_source_says_for_all() -> None:
    found = of_source(
        source_meta={"obs": {"owner": "everybody", "no_freshness": "static"}},
        meta={"obs": {"owner": "payments"}},
    )
    assert settings_of(found.manifest, None).sources[ORDERS] == SourceSettings(
        NoFreshness("static"), "payments"
    )


def test_a_reason_counts_to_the_end_of_its_day() -> None:
    said = {"no_freshness": {"reason": "moved house", "until": "2027-01-31"}}
    settings = settings_of(of_source(meta={"obs": said}).manifest, None).sources[ORDERS]
    assert settings.no_freshness == NoFreshness("moved house", date(2027, 1, 31))
    assert settings.no_freshness.holds(datetime(2027, 1, 31, 23, 59, tzinfo=UTC))
    assert not settings.no_freshness.holds(datetime(2027, 2, 1, tzinfo=UTC))


def test_an_exposures_limits_are_read() -> None:
    found = settings_of(of_exposure(max_age="5d", fail_on="warn").manifest, None)
    assert found.exposures == {TRAINING: ExposureSettings(432000.0, "warn")}


def test_other_meta_says_nothing() -> None:
    found = lineage(source("orders", meta={"team": "x"}), exposure("training", ORDERS, meta={}))
    assert settings_of(found.manifest, None).sources == {}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"max_age": "5d"}, "max_age is not known"),
        ({"no_freshness": True}, "no_freshness is a reason, or has reason and until"),
        ({"no_freshness": " "}, "no_freshness says nothing"),
        ({"no_freshness": {"reason": "x", "untill": "2027-01-01"}}, "has reason and until"),
        ({"no_freshness": {"until": "2027-01-01"}}, "no_freshness says nothing"),
        ({"no_freshness": {"reason": "x", "until": "soon"}}, "no day such as 2027-01-31"),
        ({"owner": ["payments"]}, "owner says nothing"),
        ({"owner": "pay\nments"}, "owner says nothing"),
        ({"expect": {"cron": "0 7 * * *"}}, "expect is not known"),
        ("monthly", "it is no mapping"),
    ],
)
def test_what_a_source_may_not_say_is_refused(said: Any, told: str) -> None:
    assert told in refusal(of_source(meta={"obs": said}))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"owner": "ml"}, "owner is not known"),
        ({"max_age": 5}, "max_age is no duration"),
        ({"max_age": "5 dayz"}, "max_age '5 dayz' is not a duration"),
        ({"max_age": "0s"}, "max_age is not longer than nothing"),
        ({"fail_on": "always"}, "fail_on is neither warn nor error"),
    ],
)
def test_what_an_exposure_may_not_say_is_refused(said: Any, told: str) -> None:
    assert told in refusal(of_exposure(**said))


def test_a_setting_on_a_model_is_refused() -> None:
    found = lineage(
        source("orders"), model("fct", ORDERS, config={"meta": {"obs": {"max_age": "5d"}}})
    )
    assert "only sources and exposures have settings" in refusal(found)


YAML = """\
sources:
  - name: app
    config:
      meta:
        obs: {owner: payments}
    tables:
      - name: orders
        meta:
          obs:
            no_freshness: static
            max-age: 5d
"""


@pytest.mark.parametrize(("key", "line"), [("max-age", 11), ("no_freshness", 10), ("owner", 5)])
def test_a_refusal_names_file_and_line(tmp_path: Path, key: str, line: int) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models/sources.yml").write_text(YAML)
    told = refusal(of_source(meta={"obs": {key: 7}}), tmp_path)
    assert told.startswith(f"models/sources.yml:{line}: meta.obs of app.orders: {key} ")


def test_the_owner_of_a_source_is_the_one_in_obs_then_in_meta_then_that_of_its_exposures() -> None:
    for meta, owner in [
        ({"obs": {"owner": "payments"}, "owner": "data"}, "payments"),
        ({"owner": "data"}, "data"),
        ({}, "ML <ml@example.org>"),
    ]:
        found = of_source(meta=meta)
        assert owner_of(found, settings_of(found.manifest, None), ORDERS) == owner


def test_a_source_that_reaches_nobody_has_no_owner() -> None:
    found = lineage(source("orders"))
    assert owner_of(found, settings_of(found.manifest, None), ORDERS) == ""
