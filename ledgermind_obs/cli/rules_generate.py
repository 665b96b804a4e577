"""``obs rules generate``: a project's own alert rules, and the cases that prove them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from ledgermind_obs.cli.generated_files import STDOUT, output_options, put, refuse_check_of_stdout
from ledgermind_obs.cli.help import HelpfulCommand
from ledgermind_obs.cli.options import Duration, option
from ledgermind_obs.cli.project_options import Workplace, workplace_options
from ledgermind_obs.dbt.meta_obs import settings_of
from ledgermind_obs.lineage.graph import find_exposure
from ledgermind_obs.lineage.watched import exposure_owners, watched_sources
from ledgermind_obs.monitoring import generate
from ledgermind_obs.monitoring.alerts import DOCUMENT_RUNBOOK
from ledgermind_obs.monitoring.cases import cases
from ledgermind_obs.render.yaml_document import to_yaml

EXAMPLES = """
obs rules generate --output rules/dbt_freshness.yml
# cases for promtool test rules: each alert fires when it should, and only then
obs rules generate --output rules/dbt_freshness.yml --tests rules/dbt_freshness_test.yml
# in CI: are the files still what the project asks for?
obs rules generate --output rules/dbt_freshness.yml --check
# for the Prometheus operator
obs rules generate --format kubernetes | kubectl apply -f -
"""

_COMMENT = """Alerts on the freshness of dbt sources. An age as an alert's value is in hours.

Written by `obs rules generate`. Do not edit: change the dbt project or the command's options.

A source is its project, target, package, source and table: every expression keeps all five apart.
Nothing resolves because a series went away. What was last known counts for a week, or until a later
successful run no longer has the source."""
_CASES_COMMENT = "Cases for `promtool test rules`. Written by `obs rules generate`; do not edit."


@click.command("generate", cls=HelpfulCommand, examples=EXAMPLES)
@option(
    "--gated",
    multiple=True,
    metavar="EXPOSURE",
    help="Page if data upstream of this exposure is too old for its gate.  "
    "[default: exposures with meta.obs]",
)
@option("--critical-after", type=Duration(), help="Age at which any source is critical: 5d.")
@option("--runbook-url", default=DOCUMENT_RUNBOOK, help="Page that explains each alert.")
@option(
    "--without-general",
    is_flag=True,
    help="Leave out the rules that another project's file on the same Prometheus has already.",
)
@output_options(
    "RULES",
    ["prometheus", "kubernetes"],
    "Rule file, or a PrometheusRule manifest.",
    option(
        "--tests",
        env="OBS_RULES_TESTS",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Also write cases for promtool test rules to this file.",
    ),
)
@workplace_options
def generate_command(
    gated: tuple[str, ...],
    critical_after: float | None,
    runbook_url: str,
    without_general: bool,
    output: Path,
    tests: Path | None,
    output_format: str,
    check: bool,
    place: Workplace,
) -> None:
    """Write the alert rules of a dbt project.

    Each source with freshness gets an alert with its own limit, its owner and the exposures
    downstream of it. The owner is meta.obs.owner, meta.owner, or the owners of those exposures.
    docs/alerting.md explains every rule.
    """
    _refuse_contradictions(output, tests, output_format, check=check)
    plan = generate.Plan(
        project=place.project_name,
        sources=watched_sources(
            place.lineage,
            settings_of(place.opened.manifest, place.project_dir),
            [find_exposure(place.lineage, name) for name in gated],
        ),
        owners=exposure_owners(place.lineage),
        runbook=runbook_url,
        critical_after=critical_after,
        general=not without_general,
    )
    put(dict(_files(plan, output, tests, output_format)), check=check)


def _refuse_contradictions(
    output: Path, tests: Path | None, output_format: str, *, check: bool
) -> None:
    refuse_check_of_stdout(output, check=check)
    if tests and output == STDOUT:
        raise click.UsageError("--tests needs the file that it tests: --output FILE")
    if tests and output_format == "kubernetes":
        raise click.UsageError("promtool reads no PrometheusRule: use --tests without --format")
    if tests and tests == output:
        raise click.UsageError("--tests and --output are the same file")


def _files(
    plan: generate.Plan, output: Path, tests: Path | None, output_format: str
) -> Iterator[tuple[Path, str]]:
    """Yield each file and what is to be in it."""
    document = {"groups": generate.groups(plan)}
    if output_format == "kubernetes":
        document = generate.kubernetes(plan)
    yield output, to_yaml(document, _COMMENT)
    if tests:
        rules = os.path.relpath(output, tests.parent)
        yield tests, to_yaml(cases(plan, rules), _CASES_COMMENT)
