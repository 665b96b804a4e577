"""Measuring for a command: progress on a terminal, and what was seen is remembered."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.gate_options import Above
from ledgermind_obs.dbt.project import Dbt, Project
from ledgermind_obs.engines.measure import measure
from ledgermind_obs.engines.progress import OnProgress, ignore
from ledgermind_obs.engines.settings import Engine
from ledgermind_obs.errors import NothingSelectedError
from ledgermind_obs.freshness import FreshnessReport

if TYPE_CHECKING:
    from ledgermind_obs.sinks.history import Record

Measure = Callable[[Sequence[str], Sequence[str]], FreshnessReport]


def measured_by(engine: Engine, *, quiet: bool) -> Measure:
    """Return what measures a selection; on a terminal it shows how far it has come."""
    return lambda select, exclude: measure_selection(
        engine, select, exclude, quiet=quiet, tell_notes=False
    )


def measured(
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
        return measure_selection(
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


def measure_selection(
    engine: Engine,
    select: Sequence[str],
    exclude: Sequence[str],
    *,
    quiet: bool,
    tell_notes: bool,
    meanwhile: Callable[[], None] = lambda: None,
) -> FreshnessReport:
    """Return what a run finds of a selection; with ``tell_notes`` its notes go to stderr."""
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


def remembering(project: Project, run: Measure) -> Measure:
    """Return the measurement that is remembered; the project's lock is held around it."""

    def measured(chosen: Sequence[str], without: Sequence[str]) -> FreshnessReport:
        began = time.time()
        report = run(chosen, without)
        remember_looks(project, report, began)
        return report

    return measured


def remember_looks(
    project: Project, report: FreshnessReport, began: float
) -> tuple[Record, Record]:
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
