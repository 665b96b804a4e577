"""What a report tells beyond what was measured: lineage, builds, history. Each may be missing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.report_options import Making
from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import manifest_of, written_manifest
from ledgermind_obs.dbt.meta_obs import Settings, settings_of
from ledgermind_obs.dbt.project import Dbt, Project
from ledgermind_obs.errors import ArtifactError, ObsError
from ledgermind_obs.gate.built import of_record
from ledgermind_obs.gate.evidence import Evidence
from ledgermind_obs.gate.runs import RUN_RESULTS, open_run, with_runs
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.monitoring.timeliness import History
from ledgermind_obs.render.digest import NodeFacts
from ledgermind_obs.render.digest_of import RUNBOOK, Surroundings, node_facts
from ledgermind_obs.sinks.history import Record, looks_by_check, with_looks
from ledgermind_obs.sinks.record import read_record


def surroundings(
    dbt: Dbt, making: Making, evidence: Evidence, *, just_written: bool
) -> Surroundings:
    """Return what a report is given beyond the evidence; what cannot be had is a note in it.

    ``just_written`` says whether dbt has written the manifest for this report. Raises
    ConfigurationError for a setting in the project that is not known.
    """
    project, notes = dbt.project, list(_notes(evidence))
    record = read_record(project.private_target_path, project.name, project.target, notes.append)
    lineage = _lineage(dbt, making, notes, just_written=just_written)
    return Surroundings(
        lineage=lineage,
        settings=settings_of(lineage.manifest, project.directory) if lineage else Settings(),
        known_rows=_known_rows(record),
        nodes=_nodes(project, record, evidence, lineage, notes) if lineage else {},
        history=_history(dbt, making, notes),
        runbook=making.runbook or RUNBOOK,
        notes=tuple(notes),
    )


def _notes(evidence: Evidence) -> tuple[str, ...]:
    unmatched = (f"{each!r} in the selection matches no source" for each in evidence.unmatched)
    return (*evidence.report.notes, *evidence.notes, *unmatched)


def _lineage(dbt: Dbt, making: Making, notes: list[str], *, just_written: bool) -> Lineage | None:
    try:
        if just_written:
            return Lineage(written_manifest(dbt, read_lineage_manifest).manifest)
        return Lineage(manifest_of(dbt, making.manifest, read_lineage_manifest).manifest)
    except ObsError as error:
        notes.append(f"owners and exposures are not known: {error}")
        return None


def _known_rows(record: Record) -> dict[str, datetime]:
    """Return the newest row of each source that a push has seen."""
    newest = {uid: looks[-1].newest for uid, looks in record.observations.items() if looks}
    return {uid: datetime.fromtimestamp(at, UTC) for uid, at in newest.items() if at is not None}


def _nodes(
    project: Project, record: Record, evidence: Evidence, lineage: Lineage, notes: list[str]
) -> Mapping[str, NodeFacts]:
    """Return what is known of the nodes upstream of exposures; nothing if no build is known."""
    own = project.target_path / RUN_RESULTS
    found: dict[str, NodeFacts] = {}
    try:
        if own.is_file():
            record = with_runs(record, [open_run(own, lineage, project.target)])
    except ObsError as error:
        notes.append(f"the project's own last run is not used: {error}")
    if not record.last:
        return found
    record = with_looks(record, looks_by_check(evidence.report))
    try:
        for uid in lineage.exposures:
            found |= node_facts(of_record(Upstream(lineage, uid), record), uid)
    except ArtifactError as error:
        notes.append(f"how old the data in the tables is, is not known: {error}")
    return found


def _history(dbt: Dbt, making: Making, notes: list[str]) -> History | None:
    if making.prometheus is None:
        return None
    from ledgermind_obs.monitoring.history import read_history

    labels = {"project": dbt.project.name, "target": dbt.project.target, **making.labels}
    try:
        return read_history(making.prometheus, labels, time.time(), making.since)
    except ObsError as error:
        warn(f"the report has no history: {error}")
        notes.append(f"there is no history: {error}")
        return None
