"""``obs rules``: whether the alerts match the metrics, the sources and the runbook."""

from __future__ import annotations

from pathlib import Path

import click

from ledgermind_obs.cli.catalogue_options import FORMATS, catalogue_options, tell
from ledgermind_obs.cli.options import option
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring import rules as rule_files
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.rules import Rule, read_rules

DEFAULT_RULES = Path("prometheus/rules")


@click.group()
def rules() -> None:
    """Check the alert rules."""


@rules.command()
@click.argument(
    "files", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[FILE|DIR]..."
)
@option(
    "--runbooks",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default="docs",
    help="Where the pages are that the alerts link to.",
)
@option("--format", "output", type=FORMATS, default="table", help="What to print.")
@catalogue_options
def check(files: tuple[Path, ...], runbooks: Path, output: str, catalogue: Catalogue) -> None:
    """Check rule files against the metrics, the dbt project and the runbook.

    Without a FILE these are the files of prometheus/rules. Exit code 1 means that something is
    wrong: a metric or label that nobody exports, sources made one, a source without an alert, an
    alert for a table that is not there, a runbook section that is missing.
    """
    loaded = [rule for path in _paths(files or (DEFAULT_RULES,)) for rule in _read(path)]
    pages = {page.name: rule_files.anchors(page.read_text()) for page in runbooks.glob("*.md")}
    faults = rule_files.check(loaded, catalogue, pages)
    alerts = sum(rule.is_alert for rule in loaded)
    tell(faults, f"{alerts} alerts, {len(catalogue.sources or ())} sources", output)


def _paths(given: tuple[Path, ...]) -> list[Path]:
    found = [
        file
        for path in given
        for file in (
            sorted([*path.glob("*.yml"), *path.glob("*.yaml")]) if path.is_dir() else [path]
        )
    ]
    if not found:
        raise ConfigurationError(
            f"no rule file in {', '.join(map(str, given))}", "name the files, or their directory"
        )
    return found


def _read(path: Path) -> list[Rule]:
    try:
        return read_rules(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
