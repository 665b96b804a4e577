from ledgermind_obs.freshness import State
from ledgermind_obs.render.report import as_html, as_markdown, by_severity, summary
from tests.unit.reports import DAY, report, source, unmeasured

MIXED = report(
    unmeasured("ml_features"),
    source("transactions"),
    source("labels", State.WARN, 3 * DAY),
)


def test_the_summary_counts_every_state_that_occurs() -> None:
    assert summary(MIXED) == (
        "3 sources of ledgermind (target prod) in 4.0 s: 1 pass, 1 warn, 1 query error"
    )


def test_sources_are_in_the_order_of_the_attention_they_need() -> None:
    assert [s.table for s in by_severity(MIXED)] == ["transactions", "labels", "ml_features"]


def test_markdown_has_a_row_a_source_with_the_worst_first() -> None:
    lines = as_markdown(MIXED).splitlines()

    assert lines[0] == f"**{summary(MIXED)}**"
    assert lines[4] == "| `app.ml_features` | 🔴 query error | – | relation does not exist |"
    assert lines[5] == "| `app.labels` | 🟡 warn | 3 d | warn 2 d  error 5 d |"
    assert lines[6].startswith("| `app.transactions` | 🟢 pass | 1 h |")


def test_markdown_keeps_a_message_from_breaking_the_table() -> None:
    text = as_markdown(report(source("t", State.QUERY_ERROR, None, message='a | b\\c "x_y" <b>')))

    assert text.splitlines()[4].endswith('| a \\| b\\c "x\\_y" &lt;b> |')


def test_html_escapes_what_the_database_said() -> None:
    text = as_html(
        report(source("t", State.QUERY_ERROR, None, message="<script>alert(1)</script>"))
    )

    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_html_has_a_row_a_source() -> None:
    text = as_html(MIXED)

    assert text.count("<tr>") == 1 + 3
    assert text.index("ml_features") < text.index("labels") < text.index("transactions")
