"""``obs freshness push``: measure, and deliver what was found."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from ledgermind_obs import metrics
from ledgermind_obs.cli import warn
from ledgermind_obs.cli.gate_options import Above, exposure_option
from ledgermind_obs.cli.help import DESTINATION, OUTPUT, in_group
from ledgermind_obs.cli.measuring import measured, remember_looks
from ledgermind_obs.cli.options import (
    BUILDS_JOB,
    FORMATS,
    SelectCommand,
    dbt_options,
    lock_timeout_option,
    option,
    published_options,
    sink_options,
    verbose_option,
)
from ledgermind_obs.cli.streams import stdout_was_closed
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.durations import format_age
from ledgermind_obs.engines.settings import Engine, Recorded
from ledgermind_obs.errors import ConfigurationError, DestinationError, LockedError, ObsError
from ledgermind_obs.freshness import UNMEASURED, FreshnessReport, State
from ledgermind_obs.sinks.deliver import (
    Delivery,
    Memory,
    Sink,
    check_not_older,
    deliver,
    deliver_failure,
)
from ledgermind_obs.sinks.exposition import exposition
from ledgermind_obs.sinks.glance import Glance

if TYPE_CHECKING:
    from ledgermind_obs.sinks.history import Record

# A run that was told to end has so long to say so: half of what Docker waits before it kills.
# https://docs.docker.com/reference/cli/docker/container/stop/
INTERRUPTION_SECONDS = 5.0

EXAMPLES = """
# see the metrics, send nothing
obs freshness push --dry-run
# from cron, every 15 minutes
*/15 * * * *  obs freshness push --project-dir /app/warehouse --target prod
# one source; the others keep their series
obs freshness push --select source:app.orders
# publish a run of Airflow, Dagster or CI: sources.json, with manifest.json beside it
obs freshness push --artifact target/sources.json --target prod
"""

_FAIL_ON = {
    "warn": frozenset(State) - {State.PASS},
    "error": frozenset(State) - {State.PASS, State.WARN},
    "query-error": UNMEASURED,
}

_output_options = in_group(
    OUTPUT,
    option("--dry-run", is_flag=True, help="Print the metrics and send nothing."),
    option(
        "--fail-on",
        env="OBS_PUSH_FAIL_ON",
        type=click.Choice(list(_FAIL_ON)),
        help="Exit 1 if any source is in this state or worse.  [default: never]",
    ),
    option(
        "--format",
        "output",
        env="OBS_PUSH_FORMAT",
        type=FORMATS,
        help="Output format.  [default: table on a terminal, else nothing]",
    ),
)


@click.command(cls=SelectCommand, examples=EXAMPLES)
@dbt_options
@published_options
@sink_options
@in_group(
    DESTINATION,
    option(
        "--builds-job",
        default=BUILDS_JOB,
        help="The job of obs builds push, where what exposures read is kept current.",
    ),
)
@exposure_option
@_output_options
@verbose_option
@lock_timeout_option("0s")
def push(
    dbt: Dbt,
    engine: Engine,
    sink: Sink,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    above: Above | None,
    builds_job: str,
    dry_run: bool,
    fail_on: str | None,
    output: str | None,
    verbose: bool,
    lock_timeout: float,
) -> None:
    """Measure the sources, then push their freshness to the Pushgateway.

    A source that could not be measured keeps its last known time. Exit code 0 means that the
    metrics are delivered, whatever they say: stale data is what alerts are for.
    """
    # A file that cannot be used is no run that failed.
    silent = dry_run or isinstance(engine, Recorded)
    with (
        _failure_is_told(dbt, sink, dry_run=silent),
        locked(dbt.project.private_target_path, lock_timeout),
    ):
        # Only dbt takes long enough for a look that costs nothing.
        glance, looks = Glance(sink), isinstance(engine, Dbt) and not dry_run
        with _interruption_is_told(sink, dry_run=dry_run):
            began = time.time()
            preparing, quiet = _preparing(glance, looks=looks), output == "json"
            report = measured(dbt, engine, above, select, exclude, quiet, preparing)
        records = (
            None if isinstance(engine, Recorded) else remember_looks(dbt.project, report, began)
        )
        if not (records or dry_run):
            check_not_older(report, sink)
        delivery = None if dry_run else deliver(report, sink, _memory(dbt, sink), glance.held)
        if delivery and records and records[1].builds:
            _keep_builds_current(engine, sink, builds_job, *records)
    if delivery is None:
        click.echo(exposition(metrics.report_series(report)), nl=False)
    else:
        _show_delivery(report, delivery, sink, output, verbose=verbose)
    if fail_on:
        sys.exit(_decision(report, fail_on))


def _preparing(glance: Glance, *, looks: bool) -> Callable[[], None]:
    """Return what is done while the engine works."""

    def prepare() -> None:
        with _giving_way():
            import ledgermind_obs.sinks.memory  # noqa: F401 - it takes as long as a small push

            glance.sink.prepare()
        if looks:
            glance.begin()

    return prepare


@contextmanager
def _giving_way() -> Iterator[None]:
    """Let other threads have their turn ten times as often: an engine's answers are waiting."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 10)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _keep_builds_current(
    engine: Engine, sink: Sink, job: str, before: Record, after: Record
) -> None:
    """Push of when the data is that exposures read, if what was seen of the sources changes it."""
    from ledgermind_obs.dbt.manifest import read_lineage_manifest
    from ledgermind_obs.dbt.manifest_file import open_manifest, written_manifest
    from ledgermind_obs.gate.builds import as_of_series, exposures_as_of
    from ledgermind_obs.lineage.graph import Lineage
    from ledgermind_obs.sinks.pushgateway import Pushgateway

    if not isinstance(sink, Pushgateway):
        return  # a textfile of builds is written by obs builds push alone
    dbt = engine if isinstance(engine, Dbt) else engine.dbt
    named = None if isinstance(engine, Dbt) else engine.manifest.path
    opened = (
        open_manifest(named, read_lineage_manifest)
        if named
        else written_manifest(dbt, read_lineage_manifest)
    )
    lineage = Lineage(opened.manifest)
    known = exposures_as_of(lineage, after)
    series = list(as_of_series(lineage, known))
    if series and known != exposures_as_of(lineage, before):
        sink.of_job(job).post(series)


def _memory(dbt: Dbt, sink: Sink) -> Memory:
    from ledgermind_obs.sinks.memory import FileMemory

    return FileMemory(dbt.project.private_target_path, sink.destination, warn)


@contextmanager
def _interruption_is_told(sink: Sink, *, dry_run: bool) -> Iterator[None]:
    """Let the destination know of a run that was told to end, for which it has little time."""
    started_at, clock = datetime.now(UTC), time.monotonic()
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        if not dry_run:
            with suppress(Exception):
                hurried = sink.within(INTERRUPTION_SECONDS)
                deliver_failure(hurried, None, started_at, time.monotonic() - clock)
        raise


@contextmanager
def _failure_is_told(dbt: Dbt, sink: Sink, *, dry_run: bool) -> Iterator[None]:
    """Let the destination know of a run without a report, before the error goes its way.

    Another run that holds the lock speaks for itself, and a destination that refuses has refused.
    """
    started_at, clock = datetime.now(UTC), time.monotonic()
    try:
        yield
    except (LockedError, DestinationError):
        raise
    except Exception as error:
        if isinstance(error, ConfigurationError) and not dry_run and _is_new(sink):
            raise
        if not dry_run:
            told = _after_failure(dbt, sink, started_at, time.monotonic() - clock)
            if isinstance(error, ObsError):
                error.next_step = f"{told}\n{error.next_step}" if error.next_step else told
            else:
                warn(told)
        raise


def _is_new(sink: Sink) -> bool:
    """Return whether the destination has nothing of this project and target yet.

    A typo in the first run must not leave a group behind, whose alerts nobody could ever answer.
    """
    try:
        return sink.known([metrics.RUN_SUCCESS]) == []
    except ObsError:  # to tell the failure will say what is wrong there
        return False


def _after_failure(dbt: Dbt, sink: Sink, started_at: datetime, duration: float) -> str:
    try:
        notice = deliver_failure(sink, _memory(dbt, sink), started_at, duration)
    except ObsError as undelivered:
        return f"the last known values are kept, and nothing could be sent: {undelivered}"
    except Exception as unexpected:
        warn(f"the failure cannot be told: {type(unexpected).__name__}")
    else:
        _tell(sink, notice)
        return "the last known values are kept; alerts see a failed run"
    return "the last known values are kept, and nothing could be sent"


def _tell(sink: Sink, notice: str) -> None:
    if notice:
        warn(f"{sink.destination.place} {notice}")


def _show_delivery(
    report: FreshnessReport,
    delivery: Delivery,
    sink: Sink,
    output: str | None,
    *,
    verbose: bool,
) -> None:
    if stdout_was_closed():
        output = None
    if output == "json":
        from ledgermind_obs.render.documents import pushed_document, to_json

        click.echo(to_json(pushed_document(report, delivery, str(sink))))
    elif output == "table" or sys.stdout.isatty():
        _show_report(report)
        click.echo(_pushed(delivery, sink))
    elif verbose:
        from ledgermind_obs.render.report import summary

        warn(f"{summary(report)}; {_pushed(delivery, sink)}")
    _tell(sink, delivery.notice)
    _tell_unmeasured(report, delivery, in_table=output != "json" and sys.stdout.isatty())


def _show_report(measured: FreshnessReport) -> None:
    from ledgermind_obs.cli.show import screen
    from ledgermind_obs.render.terminal import report_text

    click.echo(report_text(measured, screen()))


def _pushed(delivery: Delivery, sink: Sink) -> str:
    return f"pushed {delivery.series} series to {sink}"


def _tell_unmeasured(report: FreshnessReport, delivery: Delivery, *, in_table: bool) -> None:
    now = time.time()
    for source in report.unmeasured:
        known = delivery.kept.get(source.key)
        kept = "it was never measured before"
        if known is not None:
            kept = f"its last known time is kept, {format_age(now - known)} old"
        if in_table:
            click.echo(f"{source.name}: {kept}")
        else:
            warn(f"{source.name} could not be measured: {source.message} ({kept})")


def _decision(report: FreshnessReport, fail_on: str) -> int:
    """Return the exit code that ``--fail-on`` asks for, and say by which sources it is not 0."""
    bad = report.in_state(_FAIL_ON[fail_on])
    if bad:
        names = ", ".join(f"{source.name} {source.state.label}" for source in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""  # noqa: PLR2004
        warn(f"--fail-on {fail_on}: {names}{more}")
    return 1 if bad else 0
