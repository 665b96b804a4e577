"""``obs builds``: what dbt last built."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.groups import Group
from ledgermind_obs.cli.help import OUTPUT, PROJECT, Command, HelpfulCommand, in_group
from ledgermind_obs.cli.manifest_options import manifest_options
from ledgermind_obs.cli.options import (
    FORMATS,
    builds_sink_options,
    lock_timeout_option,
    option,
    project_only_options,
    verbose_option,
)
from ledgermind_obs.cli.past_options import Past, past_options
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import ManifestChoice, check_project, manifest_of
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.gate.as_of import forgotten
from ledgermind_obs.gate.builds import (
    ExposuresAsOf,
    build_series,
    built_at,
    exposures_as_of,
    kept_series,
    reported_nodes,
)
from ledgermind_obs.gate.runs import RUN_RESULTS, built_nothing, open_run, with_runs
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.metrics import BUILD_METRICS
from ledgermind_obs.render.builds import BuiltNode, DataAge, as_document, as_lines, built_nodes
from ledgermind_obs.sinks.deliver import Sink
from ledgermind_obs.sinks.exposition import exposition
from ledgermind_obs.sinks.history import Record
from ledgermind_obs.sinks.record import read_record, write_record

REMEMBERED_SECONDS = 14 * 86400.0

PUSH_EXAMPLES = """
# after each dbt build, before the gate
dbt build --target prod && obs builds push --target prod
# see the metrics, send nothing
obs builds push --dry-run
# several runs of one job
obs builds push --run-results target/stage.json --run-results target/marts.json
"""


@click.group(cls=Group)
def builds() -> None:
    """Push what dbt last built, and how old its data is."""


_output_options = in_group(
    OUTPUT,
    option("--dry-run", is_flag=True, help="Print the metrics and send nothing."),
    option(
        "--format",
        "output",
        env="OBS_BUILDS_FORMAT",
        type=FORMATS,
        help="Output format.  [default: table on a terminal, else nothing]",
    ),
)


def _run_results_option(command: Command) -> Command:
    @in_group(
        PROJECT,
        option(
            "--run-results",
            type=click.Path(path_type=Path, dir_okay=False),
            multiple=True,
            help="What dbt wrote; may be repeated.  [default: the project's run_results.json]",
        ),
    )
    @functools.wraps(command)
    def wrapper(run_results: tuple[Path, ...], **others: Any) -> Any:
        return command(paths=run_results, **others)

    return wrapper


@builds.command(cls=HelpfulCommand, examples=PUSH_EXAMPLES)
@project_only_options
@_run_results_option
@manifest_options
@builds_sink_options
@past_options
@_output_options
@verbose_option
@lock_timeout_option("1m")
def push(
    dbt: Dbt,
    paths: tuple[Path, ...],
    choice: ManifestChoice,
    sink: Sink,
    past: Past,
    dry_run: bool,
    output: str | None,
    verbose: bool,
    lock_timeout: float,
) -> None:
    """Push when each model was last built, and with what result.

    Models upstream of an exposure count, no others. Run it after every dbt build: dbt's next
    command replaces run_results.json. Models that the run did not touch keep their last known
    build. The age of the data that an exposure reads is pushed too, if obs freshness push saw its
    sources before the build.
    """
    project = dbt.project
    with locked(project.private_target_path, lock_timeout):
        lineage = _lineage(dbt, choice)
        record = read_record(project.private_target_path, project.name, project.target, warn)
        named = paths or (project.target_path / RUN_RESULTS,)
        runs = [open_run(path, lineage, project.target) for path in named]
        for told in filter(None, map(built_nothing, runs)):
            warn(f"{told}: push right after dbt build")
        record = with_runs(record, runs)
        record = _kept(lineage, past.learnt(lineage, record, runs, None if dry_run else sink))
        as_of = exposures_as_of(lineage, record)
        series = list(build_series(lineage, record, as_of))
        if dry_run:
            click.echo(exposition(series), nl=False)
            return
        series += kept_series(lineage, record, sink.known(BUILD_METRICS) or ())
        if not series:
            raise ConfigurationError(
                "nothing to push: no model upstream of an exposure was ever built on record",
                "run dbt build, then obs builds push, before any other dbt command",
            )
        sink.put(series)
        write_record(project.private_target_path, record, warn)
    _tell_unknown(lineage, as_of)
    if verbose and output is None and not sys.stdout.isatty():
        warn(f"pushed {len(series)} series to {sink}")
    _show(lineage, record, as_of, str(sink), output)


def _tell_unknown(lineage: Lineage, as_of: ExposuresAsOf) -> None:
    """Say of which measured sources it is not known how old their data in an exposure is."""
    measurable = lineage.manifest.measurable
    unknown = [
        f"{lineage.label(uid)} reads {lineage.label(source)}"
        for uid, moments in as_of.items()
        for source, moment in moments.items()
        if moment is None and measurable(source)
    ]
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""  # noqa: PLR2004
        warn(f"of unknown age: {', '.join(unknown[:3])}{more}; measure before you build")


def _lineage(dbt: Dbt, choice: ManifestChoice) -> Lineage:
    opened = manifest_of(dbt, choice, read_lineage_manifest)
    check_project(opened.manifest.metadata, dbt)
    for note in opened.notes:
        warn(note)
    return Lineage(opened.manifest)


def _kept(lineage: Lineage, record: Record) -> Record:
    """Return the record without what is of no use any more."""
    reported = set(reported_nodes(lineage))
    record = Record(
        record.project,
        record.target,
        {uid: seen for uid, seen in record.observations.items() if uid in lineage.nodes},
        {uid: runs for uid, runs in record.builds.items() if uid in reported},
        {uid: run for uid, run in record.last.items() if uid in reported},
        {uid: run for uid, run in record.tests.items() if uid in lineage.nodes},
    )
    kept = forgotten(lineage, record.history, time.time() - REMEMBERED_SECONDS)
    return msgspec.structs.replace(
        record,
        observations={uid: list(seen) for uid, seen in kept.observations.items()},
        builds={uid: list(runs) for uid, runs in kept.builds.items()},
    )


def _show(
    lineage: Lineage, record: Record, as_of: ExposuresAsOf, destination: str, output: str | None
) -> None:
    if output is None and not sys.stdout.isatty():
        return
    nodes, ages = _built(lineage, record), _ages(lineage, as_of)
    if output == "json":
        from ledgermind_obs.render.documents import to_json

        click.echo(to_json(as_document(nodes, ages, destination)))
        return
    from ledgermind_obs.cli.show import screen
    from ledgermind_obs.render.terminal import rows_text

    click.echo(rows_text(as_lines(nodes, ages, time.time()), screen()))
    click.echo(f"\npushed to {destination}")


def _built(lineage: Lineage, record: Record) -> list[BuiltNode]:
    built = {uid: (run.status, built_at(record, uid)) for uid, run in record.last.items()}
    return built_nodes(lineage, built)


def _ages(lineage: Lineage, as_of: ExposuresAsOf) -> list[DataAge]:
    return [
        DataAge(lineage.label(uid), lineage.label(source), moment)
        for uid, moments in as_of.items()
        for source, moment in moments.items()
    ]
