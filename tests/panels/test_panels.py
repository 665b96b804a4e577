"""What the dashboard says of each state, by Grafana's own code and real answers of Prometheus.

Pictures of every scene are left in ``build/panels/``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.prometheus import Pushgateway, prometheus, pushgateway
from tests.integration.chain import until
from tests.panels.board import ROOT, board
from tests.panels.drawing import artist
from tests.panels.scenes import SCENES, past, push, pushes

PICTURES = ROOT / "build/panels"
PICTURE = PICTURES / "dashboard.png"

# The panels, by their id.
TRANSACTIONS, LABELS, FEATURES, TREND, STATES, LAST_PUSH, LAST_RUN = range(1, 8)
OF_WARN, OF_ERROR, AGES = 9, 10, 11
EXPOSURES, BUILDS = 13, 14

Panel = dict[str, Any]
Drawn = dict[int, Panel]


class Case(NamedTuple):
    """Of which project, in which panel, and what is to be read there, line by line."""

    scene: str
    panel: int
    lines: list[str]


CASES = {
    "a table loaded four hours ago is green": Case(
        "fresh", TRANSACTIONS, ["app.transactions prod: 4.0 hours, green"]
    ),
    "a table older than two days is yellow": Case(
        "warn", LABELS, ["app.transaction_labels prod: 58.0 hours, yellow"]
    ),
    "a table older than five days is red": Case(
        "critical", FEATURES, ["app.ml_features prod: 146.3 hours, red"]
    ),
    "an age just below 48 hours does not read 48 hours in green": Case(
        "edges", TRANSACTIONS, ["app.transactions prod: 47.9 hours, green"]
    ),
    "an age just below 120 hours does not read 120 hours in yellow": Case(
        "edges", LABELS, ["app.transaction_labels prod: 119.9 hours, yellow"]
    ),
    "a table without a row is one tile, and was never loaded": Case(
        "empty", FEATURES, ["app.ml_features prod: never loaded, red"]
    ),
    "a table that was never measured is one tile, too": Case(
        "missing", FEATURES, ["app.ml_features prod: never loaded, red"]
    ),
    "a row from the future has no age": Case(
        "future", TRANSACTIONS, ["app.transactions prod: in the future, purple"]
    ),
    "clocks that differ by four minutes make no future": Case(
        "clocks_differ", TRANSACTIONS, ["app.transactions prod: just now, green"]
    ),
    "a table whose query fails keeps the age of its last known row": Case(
        "query_error", FEATURES, ["app.ml_features prod: 30.0 hours, green"]
    ),
    "a table that nobody exports is not called never loaded": Case(
        "no_limits", FEATURES, ["not exported, red"]
    ),
    "a fresh target does not hide a stale one": Case(
        "two_targets",
        TRANSACTIONS,
        ["app.transactions prod: 4.0 hours, green", "app.transactions staging: 300.0 hours, red"],
    ),
    "on a wiped gateway a table is not exported": Case(
        "wiped", TRANSACTIONS, ["not exported, red"]
    ),
    "the trend ends with the ages of today": Case(
        "fresh",
        TREND,
        [
            "app.ml_features prod: 6.0 hours",
            "app.transaction_labels prod: 10.0 hours",
            "app.transactions prod: 4.0 hours",
        ],
    ),
    "a project without the three tables has no trend, and it says so": Case(
        "many", TREND, ["not exported"]
    ),
    "each source has its state and its age, the oldest first": Case(
        "warn",
        STATES,
        [
            "app.ml_features prod: pass green, 6.0 hours green",
            "app.transaction_labels prod: warn yellow, 58.0 hours yellow",
            "app.transactions prod: pass green, 4.0 hours green",
        ],
    ),
    "an empty table is in the list": Case(
        "empty",
        STATES,
        [
            "app.ml_features prod: empty red, never loaded red",
            "app.transaction_labels prod: pass green, 10.0 hours green",
            "app.transactions prod: pass green, 4.0 hours green",
        ],
    ),
    "dbt's pass for a row from the future is not in the list": Case(
        "future",
        STATES,
        [
            "app.ml_features prod: pass green, 6.0 hours green",
            "app.transaction_labels prod: pass green, 10.0 hours green",
            "app.transactions prod: future purple, in the future purple",
        ],
    ),
    "a failed query is in the list, with the age of the last known row": Case(
        "query_error",
        STATES,
        [
            "app.ml_features prod: query error red, 30.0 hours green",
            "app.transaction_labels prod: pass green, 10.0 hours green",
            "app.transactions prod: pass green, 4.0 hours green",
        ],
    ),
    "a source that was not measured is in the list": Case(
        "missing",
        STATES,
        [
            "app.ml_features prod: missing red, never loaded red",
            "app.transaction_labels prod: pass green, 10.0 hours green",
            "app.transactions prod: pass green, 4.0 hours green",
        ],
    ),
    "an application's own gauge has an age and no state of dbt's": Case(
        "no_limits", STATES, ["app.transactions prod: 5.0 hours green"]
    ),
    "on a wiped gateway no source is exported": Case("wiped", STATES, ["not exported"]),
    "a push is as old as its whole minutes": Case("in_time", LAST_PUSH, ["prod: 44 mins, green"]),
    "a push is red after 45 minutes": Case("late", LAST_PUSH, ["prod: 1.50 hours, red"]),
    "each target has its own last push": Case(
        "two_targets", LAST_PUSH, ["prod: 0 s, green", "staging: 0 s, green"]
    ),
    "on a wiped gateway no push is exported": Case("wiped", LAST_PUSH, ["not exported, red"]),
    "a run with a report is green": Case("fresh", LAST_RUN, ["prod: report, green"]),
    "a run without a report is red": Case("no_report", LAST_RUN, ["prod: no report, red"]),
    "on a wiped gateway no run is exported": Case("wiped", LAST_RUN, ["not exported, red"]),
    "the share of warn_after is yellow from 100 % on, the oldest first": Case(
        "warn",
        OF_WARN,
        [
            "transaction_labels prod: 120%, yellow",
            "ml_features prod: 12%, green",
            "transactions prod: 8%, green",
        ],
    ),
    "the share of error_after is red from 100 % on": Case(
        "critical",
        OF_ERROR,
        [
            "ml_features prod: 121%, red",
            "transaction_labels prod: 8%, green",
            "transactions prod: 3%, green",
        ],
    ),
    "a share just below 100 % does not read 100 % in green": Case(
        "edges",
        OF_ERROR,
        [
            "transaction_labels prod: 99%, green",
            "transactions prod: 39%, green",
            "ml_features prod: 0%, green",
        ],
    ),
    "a row from the future is no share of a limit": Case(
        "future",
        OF_WARN,
        [
            "transaction_labels prod: 20%, green",
            "ml_features prod: 12%, green",
            "transactions prod: in the future, purple",
        ],
    ),
    "clocks that differ by four minutes make no share of the future": Case(
        "clocks_differ",
        OF_WARN,
        [
            "transaction_labels prod: 20%, green",
            "ml_features prod: 12%, green",
            "transactions prod: 0%, green",
        ],
    ),
    "a table without a row is shown with its limit": Case(
        "empty",
        OF_ERROR,
        [
            "transaction_labels prod: 8%, green",
            "transactions prod: 3%, green",
            "ml_features prod: never loaded, red",
        ],
    ),
    "no false alarm where no table has a warn_after": Case(
        "no_limits", OF_WARN, ["no table has this limit, text"]
    ),
    "no false alarm where no table has an error_after": Case(
        "no_limits", OF_ERROR, ["no table has this limit, text"]
    ),
    "a table without limits has an age all the same": Case(
        "no_limits", AGES, ["transactions prod: 5.0 hours"]
    ),
    "of each exposure the oldest source is shown": Case(
        "ledgermind",
        EXPOSURES,
        [
            "spending: bank.statements prod: 124%, red",
            "ml_training_pipeline: app.transaction_labels prod: 59%, green",
        ],
    ),
    "no false alarm where no build was pushed": Case(
        "fresh", EXPOSURES, ["no build is known, text"]
    ),
    "a failed build is named": Case("ledgermind", BUILDS, ["stg_statements: error"]),
    "where no build was pushed, none is said to be whole": Case(
        "fresh", BUILDS, ["no failed build is known"]
    ),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drawn]:
    """Every scene, drawn: what each panel says, by its id; of panels that repeat, the first."""
    return dict(_drawn(tmp_path_factory.mktemp("panels")))


def _drawn(directory: Path) -> Iterator[tuple[str, Drawn]]:
    before = past(pushes(time.time()), time.time())
    with (
        artist(directory / "chromium") as hand,
        pushgateway(directory / "gateway") as gateway,
        prometheus(directory / "prometheus", _scraping(gateway), past=before) as asked,
    ):
        every = list(pushes(time.time()))
        push(gateway, every)
        until(lambda: len(asked.query("push_time_seconds")) == len(every), "it is scraped")
        at = time.time()
        for scene in {each.project for each in every}:
            yield scene, _by_id(hand.draw(board(asked, at, scene), PICTURES / f"{scene}.png"))
        narrow = board(asked, at, "ledgermind", width=1280)
        yield "narrow", _by_id(hand.draw(narrow, PICTURES / "narrow.png"))
        dark = board(asked, at, "ledgermind", width=1400, theme="dark")
        yield "dark", _by_id(hand.draw(dark, PICTURES / "dark.png"))
        hand.slim(PICTURES / "dark.png", PICTURE)
        gateway.wipe()
        until(lambda: not asked.query("push_time_seconds"), "it is wiped")
        wiped = board(asked, time.time(), ".*")
        yield "wiped", _by_id(hand.draw(wiped, PICTURES / "wiped.png"))


def _scraping(gateway: Pushgateway) -> str:
    return f"""
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: pushgateway
    honor_labels: true
    static_configs: [{{targets: ["{gateway.url.removeprefix("http://")}"]}}]
"""


def _by_id(panels: list[Panel]) -> Drawn:
    return {panel["id"]: panel for panel in reversed(panels)}


def lines(panel: Panel, scene: str) -> list[str]:
    """Return what a panel says as a person reads it; the project's name is left out."""
    said = [", ".join(filter(None, (each["text"], each["colour"]))) for each in panel["said"]]
    names = [f" {each['of']}".replace(f" {scene}", "").strip() for each in panel["said"]]
    tiles = [": ".join(filter(None, pair)) for pair in zip(names, said, strict=True)]
    return tiles + [_row(row) for row in panel["rows"]]


def _row(row: dict[str, dict[str, str]]) -> str:
    if "model" in row:
        return f"{row['model']['text']}: {row['last build']['text']}"
    name = f"{row['source']['text']}.{row['table']['text']} {row['target']['text']}"
    cells = [row[column] for column in ("state", "age") if column in row]
    return f"{name}: " + ", ".join(f"{cell['text']} {cell['colour']}" for cell in cells)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_panel_says(drawn: dict[str, Drawn], case: Case) -> None:
    panel = drawn[case.scene][case.panel]

    found = lines(panel, case.scene)
    assert (sorted(found) if panel["rows"] else found) == case.lines
    for each in panel["said"] if case.panel != TREND else ():
        assert "".join(each["text"].split()) in "".join(panel["text"].split())


def test_every_limit_is_in_the_picture_before_it_is_reached(drawn: dict[str, Drawn]) -> None:
    lowest, highest = drawn["fresh"][TREND]["axis"]
    assert lowest <= 0
    assert highest > 120


def test_a_row_from_the_future_is_in_the_trend(drawn: dict[str, Drawn]) -> None:
    assert drawn["future"][TREND]["axis"][0] <= -3


@pytest.mark.parametrize("scene", ["narrow", "many"])
def test_state_and_age_are_in_view(drawn: dict[str, Drawn], scene: str) -> None:
    assert drawn[scene][STATES]["columns"][:4] == ["source", "table", "state", "age"]


@pytest.mark.parametrize("panel", [TRANSACTIONS, OF_WARN, OF_ERROR, EXPOSURES])
def test_no_name_is_cut(drawn: dict[str, Drawn], panel: int) -> None:
    assert drawn["ledgermind"][panel]["cut"] == []


def test_of_500_sources_each_is_listed(drawn: dict[str, Drawn]) -> None:
    assert len(drawn["many"][STATES]["rows"]) == len(SCENES["many"]) == 500


def test_the_picture_for_the_readme_is_small(drawn: dict[str, Drawn]) -> None:
    assert PICTURE.stat().st_size < 300_000
    assert (ROOT / "docs/images/dashboard.png").stat().st_size < 300_000
