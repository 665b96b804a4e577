"""What the pages show can be typed, and what there is to know is on a page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from docs.make import commands
from ledgermind_obs import errors
from ledgermind_obs.doctor.check import Area
from ledgermind_obs.metrics import METRICS
from tests.documented import CommandLine, command_lines

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs/DATA_QUALITY_COMPLETE.md").read_text()
LINES = command_lines()
GENERATED = "docs/commands.md"
CONTEXTS = {context.command_path: context for context in commands()}


def parse(line: CommandLine) -> None:
    """Parse a command line with the real commands; raise click's own error if it is wrong."""
    words = [word for word in line.words if word not in {"…", "..."}]
    if words == ["--version"]:
        return
    path = next((path for path in CONTEXTS if f"obs {' '.join(words)} ".startswith(f"{path} ")), "")
    if not path:
        raise click.UsageError("No such command.")
    context = CONTEXTS[path]
    parser = context.command.make_parser(context)
    given, _, _ = parser.parse_args(words[len(path.split()) - 1 :])
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and parameter.name in given:
            convert(parameter, given[parameter.name], context)


def convert(option: click.Option, value: Any, context: click.Context) -> None:
    """Raise click's error unless the value is of the option's type; files need not exist."""
    if not option.is_flag and not isinstance(option.type, click.Path):
        option.type_cast_value(context, value)


@pytest.mark.parametrize(
    "line", sorted({line.text: line for line in LINES}.values(), key=str), ids=str
)
def test_every_command_line_of_the_pages_can_be_typed(line: CommandLine) -> None:
    try:
        parse(line)
    except click.ClickException as error:
        pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize(
    "text",
    [
        "obs freshness pull",
        "obs freshness push --textfiles x",
        "obs freshness check --fail-on red",
        "obs freshness check --max-age soon",
        "obs builds push --run-results",
    ],
)
def test_a_command_line_that_is_wrong_is_found(text: str) -> None:
    with pytest.raises(click.ClickException):
        parse(CommandLine("page.md", 1, text))


def test_command_lines_are_found_in_blocks_in_prose_in_tables_and_behind_a_schedule() -> None:
    found = {str(line).partition(" ")[2] for line in LINES}
    assert "obs freshness push --project-dir /app/warehouse --target prod" in found
    assert "obs freshness check --max-age 5d" in found
    assert "obs dashboard diff ops/grafana/dashboards" in found
    assert not [line for line in LINES if any(sign in line.text for sign in "|#;")]


@pytest.mark.parametrize("path", sorted(CONTEXTS))
def test_every_command_is_shown_on_a_page_that_somebody_wrote(path: str) -> None:
    assert [
        line for line in LINES if line.page != GENERATED and f"{line.text} ".startswith(f"{path} ")
    ]


def alerts() -> Iterator[str]:
    for file in (ROOT / "prometheus/rules").glob("*.yml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from (rule["alert"] for rule in group["rules"] if "alert" in rule)


@pytest.mark.parametrize("alert", sorted(set(alerts())))
def test_every_alert_is_in_the_runbooks_table(alert: str) -> None:
    rows = [line for line in RUNBOOK.splitlines() if line.startswith("|") and f"`{alert}`" in line]
    assert rows, f"{alert} is in no row of docs/DATA_QUALITY_COMPLETE.md"
    assert all(re.search(r"\]\(#[\w-]+\) \|$", row) for row in rows)


@pytest.mark.parametrize(
    "alert", sorted(a for a in set(alerts()) if a.startswith(("Source", "Fresh")))
)
def test_the_canarys_page_says_what_each_alert_on_sources_means_for_a_rollout(alert: str) -> None:
    page = (ROOT / "docs/ML_CANARY_DEPLOYMENT.md").read_text()
    assert re.search(rf"^\| `{alert}` \| .+ \| .+ \|$", page, re.MULTILINE)


def test_every_alert_of_the_runbooks_table_exists() -> None:
    table = RUNBOOK.partition("| alert |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`((?:Source|Freshness|Model|Exposure)[A-Z]\w+)`", table)) <= {*alerts()}


@pytest.mark.parametrize("metric", [metric.name for metric in METRICS])
def test_every_metric_is_on_its_page(metric: str) -> None:
    assert f"| `{metric}` |" in (ROOT / "docs/metrics.md").read_text()


def exit_codes() -> set[int]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return {kind.exit_code for kind in kinds if isinstance(getattr(kind, "exit_code", None), int)}


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md", "docs/ML_CANARY_QUICK_REF.md"])
def test_every_exit_code_is_in_each_table_of_them(page: str) -> None:
    table = re.findall(r"^\| (\d+) \|", (ROOT / page).read_text(), re.MULTILINE)
    wanted = {0, 1, *exit_codes()} - ({70} if "QUICK" in page else set())
    assert {str(code) for code in wanted} <= set(table)


def dbt_tests() -> set[str]:
    """The names of the warehouse's own tests: generic ones, queries, and tests of units."""
    files = [path.stem for path in (ROOT / "warehouse/tests").rglob("*.sql")]
    units = yaml.safe_load((ROOT / "warehouse/models/marts/unit_tests.yml").read_text())
    return {*files, *(test["name"] for test in units["unit_tests"])}


@pytest.mark.parametrize("name", sorted(dbt_tests()))
def test_every_dbt_test_of_the_warehouse_is_explained(name: str) -> None:
    assert f"`{name}`" in RUNBOOK.partition("## The dbt tests")[2].partition("\n## ")[0]


def test_the_slos_are_those_of_the_sources() -> None:
    slos = RUNBOOK.partition("## Freshness SLOs")[2].partition("\n## ")[0]
    document = yaml.safe_load((ROOT / "warehouse/models/sources.yml").read_text())
    for table in document["sources"][0]["tables"]:
        (row,) = [
            line
            for line in slos.splitlines()
            if line.startswith("|") and f"`{table['name']}`" in line
        ]
        freshness = table.get("config", {}).get("freshness")
        assert row.endswith("| 2 days | 5 days |" if freshness else "| none | none |")
        if freshness:
            assert (freshness["warn_after"]["count"], freshness["error_after"]["count"]) == (2, 5)


def test_every_page_is_in_the_index_once() -> None:
    index = (ROOT / "docs/index.md").read_text()
    pages = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name != "index.md")
    assert sorted(re.findall(r"^- \[.+?\]\(([\w-]+\.md)\)", index, re.MULTILINE)) == pages


@pytest.mark.parametrize("area", [area for area in Area if area is not Area.END_TO_END])
def test_every_area_of_the_doctor_has_its_symptoms(area: Area) -> None:
    page = (ROOT / "docs/troubleshooting.md").read_text()
    (section,) = re.findall(rf"\n## {area}\n(.*?)(?=\n## |\Z)", page, re.DOTALL | re.IGNORECASE)
    assert f"`obs doctor {area.lower()}`" in section
    assert section.count("\n**") >= 2 - (area is Area.EXPOSURE)
