"""What a person sees on a terminal, as text."""

import sys
from collections.abc import Iterator
from io import StringIO

import pytest
from rich.console import Console
from rich.style import Style

from ledgermind_obs import secrets
from ledgermind_obs.cli import show
from ledgermind_obs.engines.progress import Progress
from ledgermind_obs.freshness import STATES, State
from ledgermind_obs.render.terminal import report_text, rows_text
from tests.unit.reports import HOUR, report, source, unmeasured


def console(width: int = 200, *, colours: bool = False) -> Console:
    shown = Console(width=width, force_terminal=colours, color_system="standard")
    shown.no_color = not colours
    return shown


def test_the_worst_source_is_the_last_line_before_the_summary() -> None:
    text = report_text(report(source("b", State.ERROR, 99 * HOUR), source("a")), console())

    first, second, empty, summary = text.splitlines()
    assert (first.split()[0], second.split()[0], empty) == ("app.a", "app.b", "")
    assert summary.endswith("1 pass, 1 error")


def test_a_source_without_an_answer_has_no_age_and_says_why() -> None:
    line = report_text(report(unmeasured("a")), console()).splitlines()[0]

    assert line.split(maxsplit=4)[:4] == ["app.a", "query", "error", "–"]
    assert line.endswith(unmeasured("a").message)


def test_each_state_has_its_colour_where_the_terminal_has_colours() -> None:
    for state, meaning in STATES.items():
        shown = report_text(report(source("a", state)), console(colours=True))
        assert Style.parse(meaning.colour).render(state.label) in shown


def test_a_cell_that_is_too_wide_is_folded_and_loses_nothing() -> None:
    lines = rows_text([("name", "x" * 50)], console(30)).splitlines()

    assert len(lines) == 3
    assert "".join(lines).replace("name", "").replace(" ", "") == "x" * 50


@pytest.fixture
def no_secrets() -> Iterator[None]:
    secrets.forget()
    yield
    secrets.forget()


def test_a_secret_is_not_shown_although_its_cell_is_folded(no_secrets: None) -> None:
    secrets.register("correct-horse-battery")

    text = rows_text([("name", "it says correct-horse-battery")], console(20))

    assert "horse" not in text.replace("\n", "")
    assert "***" in text


def test_progress_counts_what_is_finished_and_names_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = StringIO()
    monkeypatch.setattr(
        show, "Console", lambda **_: Console(file=shown, force_terminal=True, width=80)
    )

    with show.progress("source freshness") as on_progress:
        on_progress(Progress("source.shop.app.orders", 2, finished=False))
        on_progress(Progress("source.shop.app.orders", 2, finished=True))

    assert "1 of 2  app.orders" in shown.getvalue()


def test_without_a_terminal_a_line_is_as_long_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)

    assert rows_text([("name", "x" * 500)], show.screen()).splitlines() == [f"name  {'x' * 500}"]
