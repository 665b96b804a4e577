"""``obs freshness report``: measure, then tell people."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledgermind_obs.cli.mail_options import Mailing, mail_options
from ledgermind_obs.cli.measuring import measured_by
from ledgermind_obs.cli.options import SelectCommand, dbt_options, lock_timeout_option
from ledgermind_obs.cli.report_options import Making, report_options
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.engines.settings import Engine
from ledgermind_obs.errors import NothingSelectedError, ObsError

if TYPE_CHECKING:
    from ledgermind_obs.gate.evidence import Evidence
    from ledgermind_obs.render.digest import Digest
    from ledgermind_obs.render.report_mail import Mail

EXAMPLES = """
obs freshness report | mail -s "dbt freshness" team@example.com
# from cron, every morning: text and HTML, also if all is well
30 7 * * *  obs freshness report --mail team@example.com --prometheus http://prometheus:9090
# a page to forward
obs freshness report --output freshness.html
obs freshness report --format markdown >> "$GITHUB_STEP_SUMMARY"
"""


@click.command(cls=SelectCommand, examples=EXAMPLES)
@dbt_options
@report_options
@mail_options
@lock_timeout_option("1m")
def report(
    dbt: Dbt,
    engine: Engine,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    making: Making,
    mailing: Mailing | None,
    output: str,
    file: Path | None,
    lock_timeout: float,
) -> None:
    """Measure the sources, then write a report for people, or send it.

    Exit code 0 means that the report is written or sent, whatever it says. With --output or --mail
    nothing is printed.
    """
    try:
        digest = _digest(dbt, engine, making, select, exclude, lock_timeout, quiet=output == "json")
    except ObsError as error:
        if mailing:
            _tell_failure(dbt, mailing, error)
        raise
    unwritten = _write(file, digest, output) if file else None
    if mailing:  # a full disk keeps nobody from the mail
        from ledgermind_obs.render.report_mail import as_mail

        _send(mailing, as_mail(digest))
    if unwritten:
        raise unwritten
    _say(digest, output, file, mailing)


def _write(file: Path, digest: Digest, output: str) -> ObsError | None:
    """Write the report to a file; return why that failed, if it did."""
    from ledgermind_obs.sinks.report_file import write_report

    try:
        write_report(file, _rendered(digest, output))
    except ObsError as error:
        return error
    return None


def _say(digest: Digest, output: str, file: Path | None, mailing: Mailing | None) -> None:
    """Print the report unless it went elsewhere; then say where to, on a terminal only."""
    if not file and not mailing:
        click.echo(_rendered(digest, output))
    elif sys.stdout.isatty():
        places = [str(file)] if file else []
        places += mailing.recipients if mailing else []
        click.echo(f"{digest.sentence}: sent to {', '.join(places)}")


def _rendered(digest: Digest, output: str) -> str:
    if output == "json":
        from ledgermind_obs.render.documents import to_json
        from ledgermind_obs.render.report_json import digest_document

        return to_json(digest_document(digest))
    return _form(output)(digest)


def _form(output: str) -> Callable[[Digest], str]:
    if output == "html":
        from ledgermind_obs.render.report_html import as_html

        return as_html
    if output == "markdown":
        from ledgermind_obs.render.report_markdown import as_markdown

        return as_markdown
    from ledgermind_obs.render.report_text import as_text

    return as_text


def _digest(
    dbt: Dbt,
    engine: Engine,
    making: Making,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    lock_timeout: float,
    *,
    quiet: bool,
) -> Digest:
    """Return what the report says; raises an ObsError if the sources cannot be measured."""
    from ledgermind_obs.cli.report_parts import surroundings
    from ledgermind_obs.render.digest_of import digest_of

    evidence = _evidence(dbt, engine, making, select, exclude, lock_timeout, quiet=quiet)
    just_written = isinstance(engine, Dbt) and not making.artifact and not making.manifest.path
    around = surroundings(dbt, making, evidence, just_written=just_written)
    moment = evidence.gathered_at if making.artifact else evidence.report.started_at
    return digest_of(evidence, moment, around)


def _evidence(
    dbt: Dbt,
    engine: Engine,
    making: Making,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    lock_timeout: float,
    *,
    quiet: bool,
) -> Evidence:
    from ledgermind_obs.cli.instruments import instruments
    from ledgermind_obs.gate.evidence import Request, gather

    request = Request(
        project=dbt.project,
        exposure=making.exposure,
        select=select,
        exclude=exclude,
        artifact=making.artifact,
        artifact_max_age=making.artifact_max_age,
    )
    measure = measured_by(engine, quiet=quiet)
    found = gather(request, instruments(dbt, making.manifest, measure, lock_timeout))
    if not found.report.sources:
        where = f"upstream of {making.exposure}" if making.exposure else "in the selection"
        raise NothingSelectedError(
            f"nothing to report: no source {where} has freshness",
            "see what there is: obs lineage check",
        )
    return found


def _tell_failure(dbt: Dbt, mailing: Mailing, error: ObsError) -> None:
    """Send a mail on what went wrong; report one that cannot be sent, and let the error go on."""
    from ledgermind_obs.cli import explain
    from ledgermind_obs.render.report_mail import failure_mail

    project = dbt.project
    try:
        _send(mailing, failure_mail(project.name, project.target, str(error), error.next_step))
    except ObsError as unsent:
        explain(unsent)


def _send(mailing: Mailing, mail: Mail) -> None:
    from ledgermind_obs.sinks.letter import Letter
    from ledgermind_obs.sinks.mail import send

    send(mailing.server, Letter(mailing.sender, mailing.recipients, *mail))
