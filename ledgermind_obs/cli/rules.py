"""``obs rules``: alert rules that fit the metrics, the sources and the runbook."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.catalogue_options import catalogue_options, source_names
from ledgermind_obs.cli.findings_options import Handling, findings_options, read_each, tell
from ledgermind_obs.cli.groups import Group
from ledgermind_obs.cli.help import HelpfulCommand
from ledgermind_obs.cli.options import option
from ledgermind_obs.cli.project_options import Workplace
from ledgermind_obs.cli.rules_generate import generate_command
from ledgermind_obs.monitoring.dashboard import MAX_BYTES
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.files import (
    RULES,
    RUNBOOKS,
    not_too_large,
    read_file,
    rule_files,
    runbook_pages,
)
from ledgermind_obs.monitoring.findings import Checked, Finding
from ledgermind_obs.monitoring.routes import CODES as ROUTING_CODES
from ledgermind_obs.monitoring.routes import Routing, check_routes, read_routing
from ledgermind_obs.monitoring.rules import CODES, Rule, check, read_rules
from ledgermind_obs.monitoring.runbooks import Page

CHECK_EXAMPLES = """
obs rules check
# rules in another folder, runbook pages in a third
obs rules check monitoring/rules --runbooks handbook
# does Alertmanager reach every owner?
obs rules check --alertmanager ops/alertmanager/alertmanager.yml
# a file for a code scanner; warnings fail, too
obs rules check --format sarif --fail-on warning > rules.sarif
"""

_DASH = Path("-")


@click.group(cls=Group)
def rules() -> None:
    """Write the alert rules of a dbt project, and check them."""


rules.add_command(generate_command)


@rules.command("check", cls=HelpfulCommand, examples=CHECK_EXAMPLES)
@click.argument(
    "files",
    nargs=-1,
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="[FILE|DIR|-]...",
)
@option(
    "--runbooks",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the pages that the alerts link to.  [default: docs, if there]",
)
@option(
    "--alertmanager",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Alertmanager's configuration: find owners that no route reaches.",
)
@findings_options((*CODES, *ROUTING_CODES), "OBS_RULES_IGNORE")
@catalogue_options
def check_command(
    files: tuple[Path, ...],
    runbooks: Path | None,
    alertmanager: Path | None,
    handling: Handling,
    place: Workplace,
    catalogue: Catalogue,
) -> None:
    """Check alert rules against metrics, dbt project and runbook.

    Without FILE, the files in prometheus/rules. Exit code 1 means that an alert could stay silent
    or mislead: it uses a metric or label that nobody exports, merges sources, names a table that
    the project does not have, or links to a runbook section that is missing; or that a source has
    no alert at all. docs/alerting.md explains each code.
    """
    paths = rule_files(files or (RULES,))
    contents, unread = read_each(paths, _read)
    loaded = [rule for found in contents for rule in found]
    pages = _pages(loaded, runbooks)
    checked = Checked(
        command="rules check",
        codes=(*CODES, *ROUTING_CODES),
        looked_at={
            "files": [str(path) for path in paths],
            "alerts": [rule.name for rule in loaded if rule.is_alert],
            "sources": source_names(catalogue),
            "runbooks": sorted(pages or ()),
        },
        findings=[
            *check(loaded, catalogue, pages, whole=not unread),
            *(check_routes(loaded, _routing(alertmanager)) if alertmanager else ()),
        ],
        unread=unread,
    )
    tell(checked, handling, lambda finding: _located(finding, place))


def _read(path: Path) -> list[Rule]:
    if path == _DASH:
        content = sys.stdin.buffer.read(MAX_BYTES + 1)
        return read_rules(not_too_large(content, "standard input"), "standard input")
    return read_rules(read_file(path), str(path))


def _routing(path: Path) -> Routing:
    return read_routing(read_file(path), str(path))


def _pages(loaded: Sequence[Rule], given: Path | None) -> Mapping[str, Page] | None:
    """Return the pages that the alerts link to, and say which links cannot be checked.

    None stands for no folder to look into.
    """
    links = [rule.runbook for rule in loaded if rule.is_alert and rule.runbook]
    elsewhere = [link for link in links if not link.is_markdown]
    wanted = [link.page for link in links if link.is_markdown]
    folder = given or (RUNBOOKS if RUNBOOKS.is_dir() else None)
    if elsewhere:
        warn(f"runbook links to other than Markdown files are not checked: {elsewhere[0].url}")
    if wanted and folder is None:
        warn(f"runbook links are not checked: there is no folder {RUNBOOKS}")
        click.echo("     name the folder that has the pages: --runbooks DIR", err=True)
    return None if folder is None else runbook_pages(folder, wanted)


def _located(finding: Finding, place: Workplace) -> Finding:
    """Return the finding; one about a source gets the file and line that declare the source."""
    from ledgermind_obs.lineage.locations import located

    is_source = finding.node in place.lineage.nodes
    return located(finding, place.lineage, place.project_dir) if is_source else finding
