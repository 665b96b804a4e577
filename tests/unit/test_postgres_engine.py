"""The second engine on a named manifest, with answers in the place of a database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledgermind_obs.dbt.manifest_file import ManifestChoice
from ledgermind_obs.dbt.project import Dbt, open_project
from ledgermind_obs.engines.measure import measure
from ledgermind_obs.engines.postgres import workers
from ledgermind_obs.engines.postgres.lookups import Answer, Lookup
from ledgermind_obs.engines.postgres.plans import Size
from ledgermind_obs.engines.progress import Progress
from ledgermind_obs.engines.settings import Postgres
from ledgermind_obs.errors import ConfigurationError, NothingSelectedError
from ledgermind_obs.freshness import State
from tests.unit.manifests import Named, content, source

PROFILE = "{type: postgres, host: h, port: 5432, user: u, password: pw-of-u, dbname: shop}"


def table(name: str) -> Named:
    return source(
        name,
        database="shop",
        schema="public",
        identifier=name,
        relation_name=f'"shop"."public"."{name}"',
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answer each look-up: of ``gone`` with an error, of all others with an hour ago."""
    asked: list[str] = []

    def ask(_: object, lookups: Sequence[Lookup], **how: Any) -> dict[str, Answer]:
        how["meanwhile"]()
        answers = {}
        for lookup in lookups:
            now = datetime.now(UTC)
            asked.append(lookup.statement)
            found = Answer(now - timedelta(hours=1), now, seconds=2.0)
            gone = lookup.unique_id.endswith(".gone")
            answers[lookup.unique_id] = Answer(error="no such table") if gone else found
            how["on_answer"](lookup.unique_id)
        return answers

    monkeypatch.setattr(workers, "ask", ask)
    return asked


@pytest.fixture
def engine(tmp_path: Path) -> Postgres:
    (tmp_path / "dbt_project.yml").write_text(
        "name: shop\nprofile: shop\nflags: {source_freshness_run_project_hooks: false}\n"
    )
    (tmp_path / "profiles.yml").write_text(f"shop: {{target: prod, outputs: {{prod: {PROFILE}}}}}")
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(content(table("orders"), table("gone")))
    dbt = Dbt(open_project(tmp_path), None, None, None, 60.0)
    return Postgres(dbt, ManifestChoice(manifest))


def test_each_source_has_an_entry_whatever_the_database_said(
    engine: Postgres, asked: list[str]
) -> None:
    came: list[Progress] = []

    report = measure(engine, on_progress=came.append)

    states = {entry.name: (entry.state, entry.message) for entry in report.sources}
    assert states["app.orders"] == (State.PASS, "")
    assert states["app.gone"] == (State.QUERY_ERROR, "no such table")
    assert (report.engine, report.project, report.target, report.whole) == (
        *("postgres", "shop", "prod"),
        True,
    )
    assert [step.total for step in came] == [2, 2]


def test_only_what_is_selected_is_asked(engine: Postgres, asked: list[str]) -> None:
    report = measure(engine, ["source:app.orders"])

    assert [entry.name for entry in report.sources] == ["app.orders"]
    assert len(asked) == 1
    assert not report.whole


def test_a_selection_of_nothing_is_refused_and_the_database_is_left_alone(
    engine: Postgres, asked: list[str]
) -> None:
    with pytest.raises(NothingSelectedError, match=r"no source matches source:app\.order"):
        measure(engine, ["source:app.order"])

    assert not asked


def test_a_default_selector_that_dbt_may_not_have_parsed_yet_is_refused(
    engine: Postgres, asked: list[str]
) -> None:
    (engine.project.directory / "selectors.yml").write_text(
        "selectors: [{name: daily, default: true, definition: 'tag:daily'}]\n"
    )

    with pytest.raises(ConfigurationError, match="a default selector, daily"):
        measure(engine)

    assert not asked


def test_only_look_ups_that_were_answered_are_explained_the_slowest_first(
    engine: Postgres, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = {"Node Type": "Seq Scan", "Schema": "public", "Relation Name": "orders"}
    explained: list[str] = []

    def plans(_: object, lookups: Sequence[Lookup], deadline: float) -> dict[str, Any]:
        explained.extend(lookup.unique_id for lookup in lookups)
        return {lookup.unique_id: {**scan, "Plan Rows": 7} for lookup in lookups}

    monkeypatch.setattr(workers, "plans", plans)
    sizes = {"public.orders": Size(6, 1 << 30)}
    monkeypatch.setattr(workers, "sizes", lambda *_: sizes)

    report = measure(msgspec.structs.replace(engine, explain=True))

    assert explained == ["source.shop.app.orders"]
    assert report.scans is not None
    assert [(found.name, found.rows, found.seconds) for found in report.scans] == [
        ("app.orders", 6, 2.0)
    ]
