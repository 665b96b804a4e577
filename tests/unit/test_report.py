"""What each form of a report says to people and programs."""

from __future__ import annotations

import html
import html.parser
import itertools
import json
import re
from collections.abc import Callable
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from ledgermind_obs.freshness import SourceFreshness, State
from ledgermind_obs.gate.built import Builds, Built
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.monitoring.runbooks import anchors
from ledgermind_obs.monitoring.timeliness import Miss, Timeliness, misses_of, sample_step
from ledgermind_obs.render.digest import Digest, NodeFacts, moment_in_words, share_in_words
from ledgermind_obs.render.digest_of import (
    RUNBOOK,
    SECTIONS,
    Surroundings,
    digest_of,
    node_facts,
)
from ledgermind_obs.render.documents import to_json
from ledgermind_obs.render.report import by_severity, summary
from ledgermind_obs.render.report_history import missed_in_words
from ledgermind_obs.render.report_html import as_html, as_mail_html
from ledgermind_obs.render.report_json import digest_document
from ledgermind_obs.render.report_mail import as_mail, failure_mail
from ledgermind_obs.render.report_markdown import as_markdown
from ledgermind_obs.render.report_style import COLOURS
from ledgermind_obs.render.report_text import WIDTH, as_text
from tests.unit import manifests
from tests.unit.digests import TRAINING_VIEW, days, digest, digest_of_sources, sources
from tests.unit.reports import DAY, HOUR, NOW, evidence, report, source, unmeasured

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FORMS: dict[str, Callable[[Digest], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "html": as_html,
    "mail": as_mail_html,
}
HOSTILE = '<script>alert(1)</script> | `x` *y* "z" [a](http://e)'


def test_the_summary_counts_every_state_that_occurs() -> None:
    mixed = report(unmeasured("a"), source("b"), source("c", State.WARN, 3 * DAY))

    assert summary(mixed) == (
        "3 sources of ledgermind (target prod) in 4.0 s: 1 pass, 1 warn, 1 query error"
    )
    assert [s.table for s in by_severity(mixed)] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ([source("a")], "The one source is fresh"),
        ([source("a"), source("b")], "All 2 sources are fresh"),
        ([source("a"), unmeasured("b")], "1 of 2 sources needs somebody"),
        ([source("a", State.WARN, 3 * DAY)], "1 of 1 source needs somebody"),
        ([unmeasured("a"), source("b", State.FUTURE, -HOUR)], "2 of 2 sources need somebody"),
    ],
)
def test_the_sentence_says_how_many_need_somebody(sources: list[Any], sentence: str) -> None:
    assert digest_of_sources(*sources).sentence == sentence


def test_a_model_whose_build_failed_is_in_the_sentence_and_in_every_form() -> None:
    found = digest(nodes={TRAINING_VIEW: NodeFacts("build failed")})

    assert found.sentence == "2 of 7 sources need somebody, and 1 model failed"
    for name, form in FORMS.items():
        text = re.sub(r"<wbr>|\\", "", html.unescape(form(found)))
        words = " ".join(re.sub(r"<[^>]*>", " ", text).split())
        assert re.search(r"fct_training_view\W+build failed", words), name


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_what_a_person_needs(name: str) -> None:
    text = re.sub(r"<wbr>|\\", "", html.unescape(FORMS[name](digest())))
    text = " ".join(text.split())

    for words in (
        "2 of 7 sources need somebody",
        "ledgermind, target prod",
        "Sun 1 Nov 2026, 12:00 UTC",
        "relation does not exist",
        "Sun 1 Nov 2026, 06:00 UTC, 6 h ago",
        "warn 2 d, error 5 d",
        "ML <ml@example.org>",
        "app.ml_features → stg_ml_features → fct_training_view → ml_training_pipeline",
        "see whether the table, its column and the permission are still there",
        f"{RUNBOOK}#source-cannot-be-measured",
    ):
        assert words in text, words
    assert text.index("app.ml_features") < text.index("app.transaction_labels")
    assert text.index("app.transaction_labels") < text.index("app.table_0000")


@pytest.mark.parametrize("state", [state for state in State if state is not State.PASS])
def test_every_state_that_needs_somebody_has_its_section_in_the_runbook(state: State) -> None:
    page = (DOCS / RUNBOOK.rpartition("/")[2]).read_text()

    assert SECTIONS[state] in anchors(page)
    assert f"/docs/{RUNBOOK.rpartition('/')[2]}" in RUNBOOK


def test_text_begins_with_the_sentence_and_fits_a_mail() -> None:
    text = as_text(digest(40, past=True, nodes={TRAINING_VIEW: NodeFacts("build failed")}))

    assert text.splitlines()[0] == "2 of 40 sources need somebody, and 1 model failed"
    long = [line for line in text.splitlines() if len(line) > WIDTH]
    assert all(line.split()[-1].startswith("https://") for line in long)
    assert len(long) == 2


def test_text_fits_a_mail_whatever_the_names() -> None:
    name = "a_very_long_name_of_a_table_that_somebody_generated_" * 2
    text = as_text(digest_of_sources(source(name), source("b"), unmeasured(f"{name}x")))

    assert max(len(line) for line in text.splitlines() if "https" not in line) <= WIDTH


def test_another_engine_is_not_given_the_version_of_dbt() -> None:
    measured = msgspec.structs.replace(report(source("a")), engine="postgres")
    found = digest_of(evidence(measured), NOW, Surroundings())

    assert (
        found.method == f"measured by the engine postgres (dbt {measured.engine_version}) in 4.0 s"
    )
    assert digest().method.startswith("measured by dbt 1.")


def test_two_sources_of_one_name_are_told_apart() -> None:
    other = source("a", package="vendor", unique_id="source.vendor.app.a")

    assert [e.name for e in digest_of_sources(source("a"), other, source("b")).entries] == [
        "app.b",
        "ledgermind.app.a",
        "vendor.app.a",
    ]


@pytest.mark.parametrize("name", FORMS)
def test_a_row_of_the_future_is_ahead_and_not_of_a_negative_age(name: str) -> None:
    found = digest_of_sources(source("a", State.FUTURE, -9 * HOUR), source("b", age=-60.0))
    text = html.unescape(FORMS[name](found))

    assert "9 h ahead" in text
    assert "1 min ahead" in text
    assert not re.search(r"-\d+ (min|h)\b", text)


def test_an_empty_table_has_no_last_row_whatever_was_known_before() -> None:
    empty = source("ml_features", State.EMPTY, None)
    text = as_text(digest_of_sources(empty))

    assert "last row  none: the table is empty" in text


@pytest.mark.parametrize("name", FORMS)
def test_what_a_database_says_is_text_and_no_markup(name: str) -> None:
    text = FORMS[name](digest_of_sources(source("t", State.QUERY_ERROR, None, message=HOSTILE)))

    if name != "text":
        assert "<script>" not in text
    if name == "markdown":
        assert "\\<script\\>alert(1)\\</script\\> \\| \\`x\\` \\*y\\*" in text


@pytest.mark.parametrize("form", [as_html, as_mail_html])
def test_a_page_is_ascii_and_right_in_every_encoding(form: Callable[[Digest], str]) -> None:
    foreign = source("bestände_日本", State.QUERY_ERROR, None, message="año → 🦆")
    page = form(digest_of_sources(foreign))

    assert page.isascii()
    seen = html.unescape(page.replace("<wbr>", ""))
    assert "app.bestände_日本" in seen
    assert "año → 🦆" in seen


def test_a_mail_on_a_failure_is_a_page_of_ascii_too() -> None:
    _, text, page = failure_mail("läden", "prod", "größer → 🦆", "next")

    assert page.isascii()
    assert "größer → 🦆" in text
    assert "größer → 🦆" in html.unescape(page)


class _Page(html.parser.HTMLParser):
    """What is in a page: its tags with their attributes, and which were left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "link", "br", "wbr"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("number", [3, 40, 100])
@pytest.mark.parametrize("form", [as_html, as_mail_html])
def test_a_page_is_whole_has_headings_and_asks_for_nothing(form: Any, number: int) -> None:
    page = _Page(form(digest(number, past=True)))
    names = [tag for tag, _ in page.tags]

    assert (page.open, page.wrong) == ([], [])
    assert not {"script", "img", "iframe", "object", "embed"} & set(names)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "link"]
    assert links == ["data:,"]
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "onload" in attrs]
    assert names.count("h1") == 1
    assert dict(page.tags)["html"] == {"lang": "en"}
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h\d", tag)]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_a_page_has_tables_that_are_read_aloud_in_order() -> None:
    page = _Page(as_html(digest(7, past=True)))
    names = [tag for tag, _ in page.tags]

    assert names.count("table") == names.count("caption") == 2
    scopes = [attrs.get("scope") for tag, attrs in page.tags if tag == "th"]
    assert set(scopes) == {"row", "col"}
    assert scopes.count("row") == 5 + 7


def test_a_bar_shows_the_age_against_both_limits() -> None:
    page = as_html(digest_of_sources(source("a", age=DAY), source("b", State.ERROR, 50 * DAY)))

    assert 'class="fill good" style="width:16.0%"' in page  # 1 d of 6.25 d
    assert 'class="fill bad" style="width:100.0%"' in page
    assert page.count("32.0%") == 2 * 2  # warn_after at 2 d, error_after at 5 d
    assert page.count("80.0%") == 2 * 2


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


GROUNDS = [row[2:] for row in COLOURS if row[1] == "background" and not row[0].startswith(".fill")]
# What only parts one thing from another, and says nothing.
RULERS = {".card,.sheet", "td,th", "svg .dot"}
MEANT = [row for row in COLOURS if row[0] not in {"body", *RULERS}]


@pytest.mark.parametrize("row", MEANT, ids=lambda row: row[0])
def test_what_is_drawn_is_seen_in_the_light_and_in_the_dark(row: tuple[str, ...]) -> None:
    who, what, *colours = row
    is_text = what == "color" or (what == "fill" and ".dot" not in who)

    for ground in GROUNDS:
        for colour, behind in zip(colours, ground, strict=True):
            assert contrast(colour, behind) >= (4.5 if is_text else 3), (colour, behind)


def test_the_lineage_marks_stale_and_unbuilt_paths() -> None:
    as_of = NOW - timedelta(days=2)
    page = html.unescape(as_html(digest(nodes={TRAINING_VIEW: NodeFacts("build failed", as_of)})))
    job, board = page.split("<figure")[1:]

    assert "ml_training_pipeline" in job
    assert 'class="line bad' in job
    assert 'class="line fair' in job
    assert "dashed" in job
    assert "✕ build failed" in job
    assert "data as of Fri 30 Oct 2026, 12:00 UTC" in job
    assert "line good" in board
    assert "line bad" not in board
    assert "BI" in board


def test_a_lineage_without_known_builds_has_no_marks_of_them() -> None:
    job = as_html(digest()).split("<figure")[1]

    assert "dashed" not in job
    assert "as of" not in job


def test_a_long_list_of_fresh_sources_is_folded_on_the_page_and_short_in_a_mail() -> None:
    found = digest(1000)
    subject, text, page = as_mail(found)

    assert subject == "ledgermind prod: 2 of 1,000 sources need somebody"
    assert "and 938 more" in text
    assert "and 938 more" in page
    assert len(page) < 100_000
    assert '<details class="sheet">' in as_html(found)
    assert "table_<wbr>0996" in as_html(found)


def test_a_mail_when_all_is_well_says_so_in_its_subject() -> None:
    assert as_mail(digest_of_sources(source("a"), source("b")))[0] == (
        "ledgermind prod: all 2 sources are fresh"
    )


@pytest.mark.parametrize("name", FORMS)
def test_the_past_is_told_with_its_figures_and_their_time(name: str) -> None:
    text = re.sub(r"<wbr>|\\", "", FORMS[name](digest(past=True)))
    text = " ".join(text.split())

    assert "92.0 %" in text  # 618 of 672 samples
    assert "97.4 %" in text  # 2058 of 2112
    assert "knows 22 d of the last 30 days" in text
    assert "in the last 24 h" in text
    assert "from Sun 1 Nov, 03:00 UTC to Sun 1 Nov, 05:00 UTC (2 h)" in text


def test_a_share_never_rounds_a_miss_away() -> None:
    assert share_in_words(1.0) == "100 %"
    assert share_in_words(0.99999) == "99.9 %"
    assert share_in_words(0.0) == "0.0 %"
    assert share_in_words(None) == "–"


def test_nothing_known_is_no_figure() -> None:
    assert Timeliness(days()).share(7) is None
    assert Timeliness(days((0, 0, 0), (4, 1, 2))).share(7) == 0.25


@pytest.mark.parametrize(
    ("samples", "misses"),
    [
        ([], ()),
        ([(1, 1), (2, 1)], ()),
        ([(1, 1), (2, 0), (3, 0), (4, 1)], (Miss(2, 4),)),
        ([(1, 0), (2, 1), (3, 0)], (Miss(None, 2), Miss(3, None))),
        ([(1, 0)], (Miss(None, None),)),
    ],
)
def test_a_miss_lasts_from_its_first_sample_to_the_first_one_after_it(
    samples: list[tuple[float, float]], misses: tuple[Miss, ...]
) -> None:
    assert misses_of(samples) == misses


def test_misses_are_told_by_where_they_begin_and_end() -> None:
    at = NOW.timestamp()

    def told(*misses: Miss) -> str:
        return missed_in_words(Timeliness((), misses))

    assert told(Miss(None, None)) == "all the time"
    assert told(Miss(None, at)) == "until Sun 1 Nov, 12:00 UTC"
    assert told(Miss(at, None)) == "since Sun 1 Nov, 12:00 UTC"


def test_samples_of_any_window_are_few_and_at_whole_minutes() -> None:
    for hours in (0.1, 1, 24, 24 * 7, 24 * 365):
        step = sample_step(hours * HOUR)
        assert step % 60 == 0
        assert hours * HOUR / step <= 289


def test_a_moment_is_told_in_utc() -> None:
    there = NOW.astimezone(UTC) + timedelta(hours=1)

    assert moment_in_words(there) == "Sun 1 Nov 2026, 13:00 UTC"


@pytest.mark.parametrize("past", [False, True])
def test_the_json_is_what_its_schema_says(past: bool) -> None:
    nodes = {TRAINING_VIEW: NodeFacts("build failed")}
    document = json.loads(to_json(digest_document(digest(past=past, nodes=nodes))))
    schema = json.loads((DOCS / "report.schema.json").read_text())

    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)
    assert document["needs_somebody"] == 2
    assert document["sources"][0]["feeds"][0]["path"][-1] == "ml_training_pipeline"


def test_the_schema_describes_every_key() -> None:
    document = json.loads(to_json(digest_document(digest(past=True))))
    schema = json.loads((DOCS / "report.schema.json").read_text())

    assert set(document) == set(schema["properties"])
    assert set(document["sources"][0]) == set(schema["$defs"]["source"]["properties"])


def test_what_is_known_of_builds_is_said_of_each_node() -> None:
    early, late = NOW.timestamp() - 2 * DAY, NOW.timestamp()
    known = Builds(
        nodes={
            "failed": Built(keeps_content=True, status="error", as_of={"a": late, "b": early}),
            "unknown": Built(keeps_content=True, status="success", as_of={"a": late, "b": None}),
            "tested": Built(keeps_content=False, status="success", failed_tests=("unique_id",)),
            "never": Built(keeps_content=True),
        },
        as_of={"a": late},
    )

    facts = node_facts(known, "job")

    assert facts["failed"] == NodeFacts("build failed", NOW - timedelta(days=2))
    assert facts["unknown"] == NodeFacts("", None)
    assert facts["tested"] == NodeFacts("test unique_id failed", None)
    assert facts["never"] == NodeFacts("", None)
    assert facts["job"] == NodeFacts("", NOW)


def test_a_source_that_nobody_measures_hides_no_stale_path() -> None:
    stale = source("stale", State.WARN, 3 * DAY)
    blind = manifests.source("blind", freshness=None)
    declared = (stale.unique_id, {**manifests.source("stale")[1], "unique_id": stale.unique_id})
    mart = manifests.model("mart", stale.unique_id, blind[0])
    graph = manifests.lineage(declared, blind, mart, manifests.exposure("job", mart[0]))

    page = as_html(digest_of(evidence(report(stale)), NOW, Surroundings(lineage=graph)))

    assert "? not measured" in page
    assert page.count('class="line fair"') == 2  # to the model, and on to the job
    assert page.count('class="line dim"') == 1
    assert '<figure class="card edge-fair">' in page


def test_an_exposure_of_many_nodes_is_drawn_by_its_stale_paths() -> None:
    found = digest_of(
        evidence(report(*(wide := sources(120)))), NOW, Surroundings(lineage=all_upstream(wide))
    )

    job = as_html(found).split("<figure")[1]

    assert job.count("<circle") == 2 * 2  # two sources that need somebody, and their models
    assert "table_0001" not in job


def test_an_exposure_of_too_many_stale_nodes_is_named_with_the_command_that_draws_it() -> None:
    stale = [source(f"t{n}", State.WARN, 3 * DAY) for n in range(60)]
    around = Surroundings(lineage=all_upstream(stale))

    page = as_html(digest_of(evidence(report(*stale)), NOW, around))

    assert "obs lineage graph everything --freshness" in page
    assert "<svg" not in page


def all_upstream(found: list[SourceFreshness]) -> Lineage:
    """Return a graph in which every source reaches one exposure, by a model of its own."""
    declared = [
        (s.unique_id, {**manifests.source(s.table)[1], "unique_id": s.unique_id}) for s in found
    ]
    models = [manifests.model(f"stg_{s.table}", s.unique_id) for s in found]
    job = manifests.exposure("everything", *(uid for uid, _ in models))
    return manifests.lineage(*declared, *models, job)
