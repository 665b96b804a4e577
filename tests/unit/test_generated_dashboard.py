"""From a project to its dashboard, without Grafana."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.cli import root
from ledgermind_obs.monitoring.board import uid_of
from ledgermind_obs.monitoring.promql import parse
from ledgermind_obs.monitoring.template import ABSENT, filled
from tests.fake_grafana import ADMIN, EIGHT, NEW, colour_of, fake_grafana
from tests.unit.test_generated_rules import exposure, project, source

OURS = ("ledgermind", "transaction", "ml_features", "ml training")
Model = dict[str, Any]


@pytest.fixture(autouse=True)
def away_from_our_own_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(manifest: Path, *argv: object) -> Result:
    words = ["dashboard", "generate", "--manifest", manifest, *argv]
    return CliRunner().invoke(root, [str(word) for word in words])


def board(manifest: Path, *argv: object) -> Model:
    result = run(manifest, *argv)
    assert result.exit_code == 0, result.output
    model: Model = json.loads(result.stdout)
    return model


def titles(model: Model) -> list[str]:
    return [panel["title"] for panel in model["panels"]]


def tiles(model: Model) -> list[Model]:
    return [p for p in model["panels"] if p["title"].endswith("freshness (hours)")]


def sources(tables: int, names: int = 1) -> list[Model]:
    return [source(f"t{number:03}", f"app{number % names}") for number in range(tables)]


def limits(warn: str = "", error: str = "") -> Model:
    """Return freshness by limits such as `36 hour`."""
    each = {"warn_after": warn.split(), "error_after": error.split()}
    freshness = {name: {"count": int(v[0]), "period": v[1]} for name, v in each.items() if v}
    return {"freshness": freshness}


def steps(tile: Model) -> list[tuple[str, float | None]]:
    found = tile["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [(step["color"], step["value"]) for step in found]


def test_another_projects_dashboard_has_its_words_and_none_of_ours(tmp_path: Path) -> None:
    orders = source("orders")
    manifest = project(tmp_path, orders, exposures=[exposure("sales", orders["unique_id"])])
    result = run(manifest)
    model = json.loads(result.stdout)

    assert (model["uid"], model["title"]) == ("dbt-freshness-shop", "dbt source freshness: shop")
    assert model["tags"] == ["shop", "dbt", "freshness"]
    assert [word for word in OURS if word in result.stdout.lower()] == []
    assert "@" not in result.stdout
    variables = {v["name"]: v["current"].get("value") for v in model["templating"]["list"]}
    assert (variables["project"], variables["target"]) == (["shop"], ["$__all"])


def test_title_uid_runbook_and_what_is_shown_first_can_be_chosen(tmp_path: Path) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    words = ("--title", "Shop", "--uid", "shop", "--runbook-url", "https://wiki.example.org/data")
    model = board(manifest, *words, "--show-target", "prod", "--all-projects")

    assert (model["uid"], model["title"]) == ("shop", "Shop")
    assert [link["url"] for link in model["links"]] == ["https://wiki.example.org/data"]
    variables = {v["name"]: v["current"] for v in model["templating"]["list"]}
    assert variables["project"]["text"] == ["All"]
    assert variables["target"]["value"] == ["prod"]


def test_a_uid_that_grafana_refuses_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    result = run(manifest, "--uid", "a b", "--output", "board.json")
    assert result.exit_code == 2
    assert "which Grafana refuses" in result.stderr
    assert not Path("board.json").exists()


def test_each_tile_has_the_limits_of_its_own_source(tmp_path: Path) -> None:
    both = source("both", **limits("36 hour", "30 day"))
    only = source("only", **limits(error="90 minute"))
    odd = source("odd", **limits("5 day", "1 day"))
    model = board(project(tmp_path, both, only, odd, exposures=[]))

    found = {tile["title"].split()[0]: steps(tile) for tile in tiles(model)}
    assert found == {
        "both": [("green", None), ("yellow", 36), ("red", 720)],
        "only": [("green", None), ("red", 1.5)],
        "odd": [("green", None), ("red", 24)],  # the warning would come after the error
    }
    words = {tile["title"].split()[0]: tile["description"] for tile in tiles(model)}
    assert "Green below 36 hours, yellow below 720, red from there on." in words["both"]
    assert "Green below 1.5 hours, red from there on." in words["only"]


@pytest.mark.parametrize(
    ("limit", "parts", "decimals"),
    [("2 day", 10, 1), ("90 minute", 10, 1), ("15 minute", 60, 2), ("400 minute", 60, 2)],
)
def test_an_age_is_rounded_so_that_it_is_on_the_right_side_of_its_limit(
    tmp_path: Path, limit: str, parts: int, decimals: int
) -> None:
    day = source("day")
    model = board(project(tmp_path, source("short", **limits(limit)), day, exposures=[]))
    first, second = tiles(model)[1], tiles(model)[0]
    assert f"floor({parts} * " in first["targets"][0]["expr"]
    assert first["targets"][0]["expr"].count(f") / {parts}\n") == 1
    assert first["fieldConfig"]["defaults"]["decimals"] == decimals
    assert "floor(10 * " in second["targets"][0]["expr"]
    (table,) = [p for p in model["panels"] if p["title"] == "State of every source"]
    assert f"floor({parts} * " in table["targets"][1]["expr"]


def test_limits_that_sources_do_not_share_are_no_lines_and_colour_no_ages(tmp_path: Path) -> None:
    day, week = source("day"), source("week", **limits("7 day", "9 day"))

    def trend_and_table(*tables: Model) -> tuple[Model, Model]:
        model = board(project(tmp_path, *tables, exposures=[]))
        named = {panel["title"]: panel for panel in model["panels"]}
        return named["Freshness over 24 hours"], named["State of every source"]

    trend, table = trend_and_table(day, week)
    assert trend["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "off"
    assert "dashed" not in trend["description"]
    assert trend["fieldConfig"]["defaults"]["custom"]["axisSoftMax"] is None
    assert '"green"' not in json.dumps(ages_steps(table))
    trend, table = trend_and_table(week)
    assert trend["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"]["mode"] == "dashed"
    assert trend["fieldConfig"]["defaults"]["custom"]["axisSoftMax"] == 234
    assert "The dashed lines are the limits of 168 and 216 hours." in trend["description"]
    assert "the table shown above" in trend["description"]
    assert colour_of(ages_steps(table), 200) == "yellow"


def ages_steps(table: Model) -> list[Model]:
    (ages,) = [o for o in table["fieldConfig"]["overrides"] if o["matcher"]["options"] == "age"]
    (found,) = [p["value"]["steps"] for p in ages["properties"] if p["id"] == "thresholds"]
    steps: list[Model] = found
    return steps


def test_tables_of_one_name_are_told_apart_by_their_source(tmp_path: Path) -> None:
    erp, web = source("orders", "erp"), source("orders", "web")
    model = board(project(tmp_path, erp, web, exposures=[]))
    named = [tile["title"] for tile in tiles(model)]
    assert named == ["erp.orders freshness (hours)", "web.orders freshness (hours)"]
    assert 'source="erp", table="orders"' in tiles(model)[0]["targets"][0]["expr"]


@pytest.mark.parametrize("name", ["a$project", "größe", 'q"uote', "x.y+z", "a\\$b", "50%", "@uid@"])
def test_a_table_of_any_name_is_selected_and_no_variable_is_seen_in_it(
    tmp_path: Path, name: str
) -> None:
    model = board(project(tmp_path, source(name), exposures=[]))
    trend = next(p for p in model["panels"] if p["title"] == "Freshness over 24 hours")
    for panel in (*tiles(model), trend):
        expr = panel["targets"][0]["expr"]
        bare = expr.replace('"$project"', '"x"').replace('"$target"', '"y"')
        assert "$" not in bare
        labels = {"project": "x", "target": "y", "table": name}
        for selector in parse(bare).selectors:
            assert all(m.matches(labels[m.label]) for m in selector.matchers), selector


def test_without_exposures_their_row_is_not_there_and_leaves_no_hole(tmp_path: Path) -> None:
    orders = source("orders")
    without = board(project(tmp_path, orders, exposures=[]))
    having = board(project(tmp_path, orders, exposures=[exposure("sales", orders["unique_id"])]))
    assert "What each exposure reads" in titles(having)
    assert not [title for title in titles(without) if "exposure" in title]
    assert "dbt_exposure" not in json.dumps(without)
    assert rows_without_a_panel(without) == rows_without_a_panel(having) == []


def rows_without_a_panel(model: Model) -> list[int]:
    boxes = [panel["gridPos"] for panel in model["panels"]]
    taken = {y for box in boxes for y in range(box["y"], box["y"] + box["h"])}
    return sorted(set(range(max(taken))) - taken)


def test_ml_training_is_spoken_of_if_it_reads_every_table_that_has_a_tile(tmp_path: Path) -> None:
    orders, other = source("orders"), source("other")
    training = exposure("training", orders["unique_id"], type="ml")
    assert "ML training reads" in run(project(tmp_path, orders, exposures=[training])).stdout
    manifest = project(tmp_path, orders, other, exposures=[training])
    assert "ML training" not in run(manifest).stdout
    named = board(manifest, "--tile", "app.orders")
    assert "the table ML training reads" in json.dumps(named)
    assert named["tags"] == ["shop", "dbt", "freshness", "ml"]


GATE = {"config": {"meta": {"obs": {"max_age": "3d"}}}}


def test_a_few_tables_have_a_tile_and_of_many_those_that_matter_most(tmp_path: Path) -> None:
    many = sources(20)
    ids = [each["unique_id"] for each in many]
    wide, gated = exposure("sales", *ids), exposure("training", *ids[:2], **GATE)
    assert len(tiles(board(project(tmp_path, *many[:6], exposures=[])))) == 6
    assert len(tiles(board(project(tmp_path, *many, exposures=[exposure("x", *ids[:4])])))) == 4
    assert len(tiles(board(project(tmp_path, *many, exposures=[wide, gated])))) == 2
    none = board(project(tmp_path, *many, exposures=[wide]))
    assert titles(none)[:3] == [
        "Sources in each state",
        "The 25 tables nearest to error_after, or past it",
        "State of every source",
    ]


def test_tiles_can_be_named_in_an_order(tmp_path: Path) -> None:
    unmeasured = source("raw", freshness=None)
    manifest = project(tmp_path, *sources(20), unmeasured, exposures=[])
    model = board(manifest, "--tile", "app0.t009", "--tile", "app0.t001")
    assert [tile["title"].split()[0] for tile in tiles(model)] == ["t009", "t001"]
    for name, words in [("app0.t999", "there is no node"), ("app.raw", "no source with freshness")]:
        result = run(manifest, "--tile", name)
        assert result.exit_code == 2
        assert words in result.stderr


@pytest.mark.parametrize("names", [1, 50])
def test_five_hundred_sources_are_as_few_panels_as_five(tmp_path: Path, names: int) -> None:
    manifest = project(tmp_path, *sources(500, names), exposures=[])
    model = board(manifest)
    (row,) = [panel for panel in model["panels"] if panel.get("repeat")]
    everything = [*model["panels"], *row["panels"]]
    assert len(everything) <= 9
    # many sources: their rows are closed; a large one: only its oldest tables are shown
    assert row["collapsed"] is (names > 1)
    shares = [p for p in everything if p["title"].startswith("Age, as a share")]
    assert ["topk" in p["targets"][0]["expr"] for p in shares] == [names == 1] * 2
    assert [p["title"].endswith(": the 25 highest") for p in shares] == [names == 1] * 2


def test_two_runs_are_equal_whatever_the_order_in_the_manifest(tmp_path: Path) -> None:
    some = sources(5, 2)
    first = run(project(tmp_path, *some, exposures=[])).stdout
    assert run(project(tmp_path, *reversed(some), exposures=[])).stdout == first


def test_check_says_what_would_change_and_what_to_do_and_writes_nothing(tmp_path: Path) -> None:
    manifest, file = project(tmp_path, source("orders"), exposures=[]), tmp_path / "board.json"
    missing = run(manifest, "--output", file, "--check")
    assert (missing.exit_code, file.exists()) == (1, False)
    assert f"{file}: no file" in missing.output
    assert run(manifest, "--output", file).output == ""
    same = run(manifest, "--output", file, "--check")
    assert (same.exit_code, same.output) == (0, "")
    before = file.read_text()
    file.write_text(before.replace("orders freshness", "my orders"))
    changed = run(manifest, "--output", file, "--check")
    assert changed.exit_code == 1
    assert '+      "title": "orders freshness (hours)"' in changed.output
    assert "next: run the command without --check" in changed.output
    assert file.read_text() != before
    assert run(manifest, "--check").exit_code == 2


@pytest.mark.parametrize("uid", ["dbt-freshness-shop", "A_b", "___"])
def test_for_kubernetes_the_same_dashboard_is_in_a_config_map(tmp_path: Path, uid: str) -> None:
    manifest = project(tmp_path, source("orders"), exposures=[])
    plain = run(manifest, "--uid", uid).stdout
    text = run(manifest, "--uid", uid, "--format", "kubernetes").stdout
    found = yaml.safe_load(text)
    kubernetes_validate.validate(found, "1.31", strict=True)
    assert list(found["data"].values()) == [plain.rstrip()]
    assert '\n      "uid"' in text  # as lines that a diff can show
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", found["metadata"]["name"])


NAMES = st.sampled_from(["orders", "Orders", "a b", "x.y+z", 'q"uote', "größe", "$target", "1"])
KEYS = st.tuples(st.sampled_from(["shop", "pkg"]), st.sampled_from(["app", "erp"]), NAMES)
LIMIT = st.none() | st.builds(
    lambda count, period: {"count": count, "period": period},
    st.integers(0, 400),
    st.sampled_from(["minute", "hour", "day"]),
)


@st.composite
def projects(draw: st.DrawFn) -> tuple[list[Model], list[Model]]:
    """Draw the sources of a project, and the exposures that read them."""
    keys = draw(st.lists(KEYS, unique=True, min_size=1, max_size=9))
    made = [
        source(
            table, name, package, freshness={"warn_after": draw(LIMIT), "error_after": draw(LIMIT)}
        )
        for package, name, table in keys
    ]
    ids = st.sampled_from([each["unique_id"] for each in made])
    readers = draw(st.lists(st.tuples(st.lists(ids), st.sampled_from([{}, GATE])), max_size=2))
    return made, [exposure(f"e{n}", *reads, **more) for n, (reads, more) in enumerate(readers)]


@given(projects())
def test_any_projects_dashboard_passes_the_check(drawn: tuple[list[Model], list[Model]]) -> None:
    with tempfile.TemporaryDirectory(prefix="obs-test-") as scratch:
        manifest = project(Path(scratch), *drawn[0], exposures=drawn[1])
        file = Path(scratch) / "board.json"
        assert run(manifest, "--output", file).output == ""
        argv = ["dashboard", "check", str(file), "--manifest", str(manifest)]
        result = CliRunner().invoke(root, [*argv, "--fail-on", "warning"])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("version", [EIGHT, NEW])
def test_it_is_imported_once_and_then_unchanged(tmp_path: Path, version: str) -> None:
    manifest = project(tmp_path, *sources(40, 9), exposures=[])
    generated = run(manifest).stdout
    with fake_grafana(version) as grafana:
        env = {"GRAFANA_URL": grafana.url, "GRAFANA_API_KEY": ADMIN}
        argv = ["dashboard", "import", "-"]
        told = [CliRunner().invoke(root, argv, env=env, input=generated) for _ in range(2)]
    assert [(each.exit_code, each.stdout.split()[0]) for each in told] == [
        (0, "created"),
        (0, "unchanged"),
    ]


def test_a_uid_is_the_projects_own_and_one_that_grafana_takes() -> None:
    names = ["shop", "a" * 60, "a" * 61, "a.b", "a b", "größe", ""]
    made = [uid_of(name) for name in names]
    assert made[0] == "dbt-freshness-shop"
    assert len(set(made)) == len(names)
    assert all(len(uid) <= 40 and uid.replace("-", "").isalnum() for uid in made)


def test_a_template_is_filled_in_once_and_what_is_absent_is_left_out() -> None:
    template = {"a": ["@x@", "is @x@", {"value": "@y@"}, {"value": 1}], "b": "@list@"}
    words = {"x": "@y@", "y": ABSENT, "list": [1, 2]}
    assert filled(template, words) == {"a": ["@y@", "is @y@", {"value": 1}], "b": [1, 2]}
    with pytest.raises(KeyError):
        filled("@nothing@", words)
