"""``obs freshness``: measure, then push or decide."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.cli import warn
from ledgermind_obs.cli.archive_options import archive_options, keep_evidence, manifest_path
from ledgermind_obs.cli.forget import forget
from ledgermind_obs.cli.gate_options import Above, Gate, exposure_option, gate_options
from ledgermind_obs.cli.help import DESTINATION, GATE, OUTPUT, in_group
from ledgermind_obs.cli.options import (
    BUILDS_JOB,
    Duration,
    SelectCommand,
    dbt_options,
    lock_timeout_option,
    option,
    published_options,
    sink_options,
    verbose_option,
)
from ledgermind_obs.cli.refusal import Answer, GateCommand, remember
from ledgermind_obs.cli.streams import stdout_was_closed
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.dbt.project import Dbt, Project
from ledgermind_obs.durations import format_age
from ledgermind_obs.engines.measure import measure
from ledgermind_obs.engines.progress import OnProgress, ignore
from ledgermind_obs.engines.settings import Engine, Postgres, Recorded
from ledgermind_obs.errors import (
    ConfigurationError,
    DestinationError,
    LockedError,
    NothingSelectedError,
    ObsError,
)
from ledgermind_obs.freshness import STATES, UNMEASURED, FreshnessReport, State
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

if TYPE_CHECKING:  # a push decides nothing, and does not pay for a gate
    from ledgermind_obs.gate.evidence import Evidence, Request
    from ledgermind_obs.gate.judge import Verdict
    from ledgermind_obs.gate.policy import Policy

# A run that was told to end has so long to say so.
INTERRUPTION_SECONDS = 1.0

FORMATS = click.Choice(["table", "json"])

PUSH_EXAMPLES = """
# see the metrics, send nothing
obs freshness push --dry-run
# from cron, every 15 minutes
*/15 * * * *  obs freshness push --project-dir /app/warehouse --target prod
# one source; the others keep their series
obs freshness push --select source:app.orders
# publish a run of Airflow, Dagster or CI: sources.json, with manifest.json beside it
obs freshness push --artifact target/sources.json --target prod
"""
CHECK_EXAMPLES = """
# in front of a training job
obs freshness check --exposure ml_training_pipeline && train
# no source may be older than five days
obs freshness check --max-age 5d
# keep what was checked, and repeat the verdict a year later
obs freshness check --exposure ml_training_pipeline --evidence evidence.json
obs freshness check --replay evidence.json
# after dbt build of what is upstream: sources, tables and tests
obs freshness check --exposure ml_training_pipeline --run-results target/run_results.json
# without access to the warehouse: check what was last pushed
obs freshness check --exposure ml_training_pipeline --prometheus http://prometheus:9090
"""

Measure = Callable[[Sequence[str], Sequence[str]], FreshnessReport]

_FAIL_ON = {
    "warn": frozenset(State) - {State.PASS},
    "error": frozenset(State) - {State.PASS, State.WARN},
    "query-error": UNMEASURED,
}


class _Freshness(click.Group):
    """The group; a report is loaded only where one is made, so that a push does not pay for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), "report"])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "report":
            return super().get_command(ctx, cmd_name)
        from ledgermind_obs.cli.report import report

        return report


@click.group(cls=_Freshness)
def freshness() -> None:
    """Measure how fresh the sources are."""


freshness.add_command(forget)


_push_output_options = in_group(
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


@freshness.command(cls=SelectCommand, examples=PUSH_EXAMPLES)
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
@_push_output_options
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
            report = _measured(dbt, engine, above, select, exclude, quiet, preparing)
        records = None if isinstance(engine, Recorded) else _remember(dbt.project, report, began)
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


def _decision(report: FreshnessReport, fail_on: str) -> int:
    """Return the exit code that ``--fail-on`` asks for, and say by which sources it is not 0."""
    bad = report.in_state(_FAIL_ON[fail_on])
    if bad:
        names = ", ".join(f"{source.name} {source.state.label}" for source in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""  # noqa: PLR2004
        warn(f"--fail-on {fail_on}: {names}{more}")
    return 1 if bad else 0


def _remembering(project: Project, run: Measure) -> Measure:
    """Return the measurement that is remembered; the project's lock is held around it."""

    def measured(chosen: Sequence[str], without: Sequence[str]) -> FreshnessReport:
        began = time.time()
        report = run(chosen, without)
        _remember(project, report, began)
        return report

    return measured


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


def _remember(project: Project, report: FreshnessReport, began: float) -> tuple[Record, Record]:
    """Keep what was seen of each source: it tells later what a build could read.

    Returns what was on record before, and what is now.
    """
    from ledgermind_obs.sinks.history import looks_of, with_looks
    from ledgermind_obs.sinks.record import read_record, write_record

    directory, troubles = project.private_target_path, list[str]()
    record = read_record(directory, project.name, project.target, troubles.append)
    seen = with_looks(record, looks_of(report, began, time.time()))
    if seen != record:
        write_record(directory, seen, troubles.append)
    for trouble in troubles[:1]:  # what cannot be read cannot be written either
        warn(trouble)
    return record, seen


_policy_options = in_group(
    GATE,
    option(
        "--max-age",
        type=Duration(),
        help="Block older data, whatever dbt's limits say.  [default: what the exposure says in "
        "meta.obs]",
    ),
    option(
        "--fail-on",
        env="OBS_GATE_FAIL_ON",
        type=click.Choice(["warn", "error"]),
        help="Block from this state of dbt's on.  [default: what the exposure says in "
        "meta.obs, else error]",
    ),
    *(
        option(f"--allow-{state.replace('_', '-')}", is_flag=True, help=f"Allow {each.sources}.")
        for state, each in STATES.items()
        if each.sources
    ),
)
_check_output_options = in_group(
    OUTPUT,
    option(
        "--explain",
        is_flag=True,
        help="Name the look-ups that scan a whole table, and the index that would help.",
    ),
    option(
        "--format",
        "output",
        env="OBS_GATE_FORMAT",
        type=FORMATS,
        default="table",
        help="Output format.",
    ),
)


@freshness.command(cls=GateCommand, examples=CHECK_EXAMPLES)
@archive_options
@dbt_options
@gate_options
@_policy_options
@_check_output_options
@lock_timeout_option("1m")
def check(
    dbt: Dbt,
    engine: Engine,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    gate: Gate,
    max_age: float | None,
    fail_on: str | None,
    explain: bool,
    output: str,
    keep: Path | None,
    lock_timeout: float,
    **allow: bool,
) -> Answer:
    """Measure the sources, then decide whether ML training may run.

    Exit code 0 lets it run; every other one stops it. A source that cannot be measured stops it
    too. With --exposure the tables between the sources and the exposure count as well: they must be
    built and tested with success, from data no older than each source's own limit.
    """
    from ledgermind_obs.cli.instruments import instruments
    from ledgermind_obs.gate.evidence import gather
    from ledgermind_obs.gate.judge import judge

    engine = _explaining(engine) if explain else engine
    evidence = gather(
        _request(dbt, gate, select, exclude),
        instruments(
            dbt,
            gate.manifest,
            _measuring(dbt, engine, gate, quiet=output == "json"),
            lock_timeout,
            remember,
        ),
    )
    policy = _policy(gate, max_age, fail_on, allow)
    verdict = judge(evidence, policy, evidence.gathered_at)
    if keep:
        manifest = manifest_path(dbt.project, gate.manifest)
        keep_evidence(keep, evidence, policy, verdict, manifest)
    return Answer(verdict.lets_through, in_words(evidence, verdict, output))


def _measuring(dbt: Dbt, engine: Engine, gate: Gate, *, quiet: bool) -> Measure:
    """Return what measures for the gate, and keeps what it saw."""
    notes = gate.exposure is None
    return _remembering(
        dbt.project,
        lambda chosen, without: _measure(engine, chosen, without, quiet=quiet, tell_notes=notes),
    )


def _request(dbt: Dbt, gate: Gate, select: tuple[str, ...], exclude: tuple[str, ...]) -> Request:
    from ledgermind_obs.gate.evidence import Request

    return Request(
        project=dbt.project,
        exposure=gate.exposure,
        select=select,
        exclude=exclude,
        artifact=gate.artifact,
        artifact_max_age=gate.artifact_max_age,
        prometheus=gate.prometheus,
        prometheus_labels=gate.prometheus_labels,
        push_max_age=gate.push_max_age,
        tables=not gate.sources_only,
        run_results=gate.run_results,
        pushgateway=gate.pushgateway,
    )


def in_words(evidence: Evidence, verdict: Verdict, output: str) -> str:
    """Return a verdict as text, or as JSON if ``output`` is that."""
    from ledgermind_obs.render import verdict as verdicts

    if output == "json":
        from ledgermind_obs.render.documents import to_json

        return to_json(verdicts.document(evidence, verdict, evidence.gathered_at))
    colour = "green" if verdict.lets_through else "red"
    lines = [click.style(verdicts.sentence(evidence, verdict), bold=True, fg=colour)]
    lines += verdicts.body(evidence, verdict)
    if evidence.report.scans is not None:
        lines += ["", *verdicts.scans(evidence.report.scans)]
    return "\n".join(lines)


def _show_report(measured: FreshnessReport) -> None:
    from ledgermind_obs.cli.show import screen
    from ledgermind_obs.render.terminal import report_text

    click.echo(report_text(measured, screen()))


def _explaining(engine: Engine) -> Engine:
    if not isinstance(engine, Postgres):
        raise ConfigurationError("dbt cannot explain its look-ups", "add --engine postgres")
    return msgspec.structs.replace(engine, explain=True)


def _measured(
    dbt: Dbt,
    engine: Engine,
    above: Above | None,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    quiet: bool,
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessReport:
    """Return what a run finds of the selection, or of the sources upstream of an exposure."""

    def run(chosen: Sequence[str], without: Sequence[str]) -> FreshnessReport:
        tell_notes = above is None
        return _measure(
            engine, chosen, without, quiet=quiet, tell_notes=tell_notes, meanwhile=meanwhile
        )

    report = _upstream_report(dbt, above, run) if above else run(select, exclude)
    for criterion in report.unmatched:
        warn(f"{criterion!r} in the selection matches no source")
    return report


def _upstream_report(dbt: Dbt, above: Above, run: Measure) -> FreshnessReport:
    """Return the report of the sources upstream of an exposure, of which there is at least one."""
    from ledgermind_obs.cli.instruments import instruments
    from ledgermind_obs.gate.evidence import Request, measured_now

    request = Request(project=dbt.project, exposure=above.exposure)
    evidence = measured_now(request, instruments(dbt, above.manifest, run))
    if not evidence.report.sources:
        raise NothingSelectedError(
            f"nothing to measure: no source upstream of {above.exposure} has freshness",
            f"see what is upstream of it: obs lineage check {above.exposure}",
        )
    for spot, name in evidence.blind.items():
        warn(f"{name} {spot.reason}, and is not measured")
    return evidence.report


def measured_by(engine: Engine, *, quiet: bool) -> Measure:
    """Return what measures a selection; on a terminal it shows how far it has come."""
    return lambda select, exclude: _measure(engine, select, exclude, quiet=quiet, tell_notes=False)


def _measure(
    engine: Engine,
    select: Sequence[str],
    exclude: Sequence[str],
    *,
    quiet: bool,
    tell_notes: bool,
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessReport:
    with _progress(show=sys.stderr.isatty() and not quiet) as on_progress:
        report = measure(engine, select, exclude, on_progress, meanwhile)
    for note in report.notes if tell_notes else ():
        warn(note)
    return report


@contextmanager
def _progress(*, show: bool) -> Iterator[OnProgress]:
    if not show:
        yield ignore
        return
    from ledgermind_obs.cli.show import progress

    with progress("source freshness") as on_progress:
        yield on_progress


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


def _memory(dbt: Dbt, sink: Sink) -> Memory:
    from ledgermind_obs.sinks.memory import FileMemory

    return FileMemory(dbt.project.private_target_path, sink.destination, warn)


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


@contextmanager
def _interruption_is_told(sink: Sink, *, dry_run: bool) -> Iterator[None]:
    """Let the destination know of a run that was told to end; it has a second for that."""
    started_at, clock = datetime.now(UTC), time.monotonic()
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        if not dry_run:
            with suppress(Exception):
                hurried = sink.within(INTERRUPTION_SECONDS)
                deliver_failure(hurried, None, started_at, time.monotonic() - clock)
        raise


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


def _policy(
    gate: Gate, max_age: float | None, fail_on: str | None, allow: dict[str, bool]
) -> Policy:
    from ledgermind_obs.gate.policy import Policy

    allowed = {State(name.removeprefix("allow_")) for name, given in allow.items() if given}
    return Policy(
        fail_on_warn=fail_on == "warn" if fail_on else None,
        allowed=frozenset(allowed),
        max_age_seconds=max_age,
        tolerated=gate.tolerated,
        allow_unbuilt=gate.allow_unbuilt,
        allow_failed_test=gate.allow_failed_test,
        allow_unknown_age=gate.allow_unknown_age,
    )
