"""The exposures: there, with a lineage that is sound, and data that is fit for use."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext

from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.durations import format_age
from ledgermind_obs.freshness import FreshnessReport
from ledgermind_obs.gate.as_of import AsOf
from ledgermind_obs.gate.evidence import Evidence, Instruments, Request, measured_now
from ledgermind_obs.gate.judge import Verdict, judge
from ledgermind_obs.gate.policy import Policy
from ledgermind_obs.lineage.findings import Surroundings, check
from ledgermind_obs.lineage.graph import find_exposure
from ledgermind_obs.monitoring.findings import Severity
from ledgermind_obs.sinks.record import read_record

_NAMED = 3


def _names(patient: Patient) -> list[str]:
    """Return the exposures that were named, else all of the project; raises SkippedError."""
    names = list(patient.exposures) or list(patient.lineage.exposures)
    if not names:
        raise SkippedError("the project has no exposure, and none was named")
    return names


def _declared(patient: Patient) -> Seen:
    found = [find_exposure(patient.lineage, name) for name in _names(patient)]
    return Seen(", ".join(patient.lineage.label(uid) for uid in found))


def _lineage(patient: Patient) -> Seen:
    checked = check(patient.lineage, _names(patient), Surroundings())
    errors = [finding for finding in checked.findings if finding.severity is Severity.ERROR]
    if errors:
        first = errors[0]
        others = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        return failed(f"{first.code} {first.name} {first.message}{others}", first.next_step)
    nodes, warnings = checked.looked_at["nodes"], len(checked.findings)
    return Seen(
        f"nodes upstream: {len(nodes)}, errors: 0, warnings: {warnings} (obs lineage check)"
    )


def _builds(patient: Patient) -> Seen:
    project = patient.dbt().project
    record = read_record(project.private_target_path, project.name, project.target, lambda _: None)
    if not record.last:
        raise SkippedError("no build is on record on this host: obs builds push")
    as_of, moments = AsOf(patient.lineage, record.history), list[float]()
    for name in _names(patient):
        known = as_of.of(find_exposure(patient.lineage, name))
        unknown = [uid for uid, moment in known.items() if moment is None]
        if unknown:
            sources = patient.declared.manifest.sources
            label = ", ".join(sources[uid].label for uid in unknown[:_NAMED])
            return Seen(f"builds are on record; the age of {label} in {name} is not known")
        moments += [moment for moment in known.values() if moment is not None]
    oldest = format_age(time.time() - min(moments)) if moments else "of no age"
    return Seen(
        f"nodes with a build on record: {len(record.last)}; the oldest data is {oldest} old"
    )


def _gate(patient: Patient) -> Seen:
    told = []
    for name in patient.exposures or (None,):
        evidence = _evidence(patient, name)
        verdict = judge(evidence, Policy(), evidence.gathered_at)
        subject = f"in front of {name}" if name else "for the whole project"
        if not verdict.lets_through:
            words = f"obs freshness check stops the job {subject}: {_reasons(evidence, verdict)}"
            return failed(words, _command(name))
        told.append(subject)
    return Seen(f"obs freshness check lets the job run {' and '.join(told)}")


def _command(name: str | None) -> str:
    exposure = f" --exposure {name}" if name else ""
    return f"see each source, and what to do: obs freshness check{exposure}"


def _reasons(evidence: Evidence, verdict: Verdict) -> str:
    reasons = [f"{j.source.name} {j.state.label}" for j in verdict.blockers]
    reasons += [f"{evidence.blind[spot]} {spot.reason}" for spot in verdict.blind]
    reasons += [f"{uid} is not known" for uid in verdict.absent]
    reasons += [_label(evidence, table.uid) for table in verdict.tables if table.told]
    more = f" and {len(reasons) - _NAMED} more" if len(reasons) > _NAMED else ""
    return ", ".join(reasons[:_NAMED]) + more or "nothing was measured"


def _label(evidence: Evidence, uid: str) -> str:
    label = evidence.upstream.lineage.label(uid) if evidence.upstream else uid
    return f"{label} is not built or tested well, or its data is too old"


def _evidence(patient: Patient, exposure: str | None) -> Evidence:
    """Return what the gate would decide by, from the measurement that was made."""

    def measured(_: Sequence[str], __: Sequence[str]) -> FreshnessReport:
        return patient.report

    instruments = Instruments(
        measure=measured,
        declared=lambda _: patient.declared.manifest,
        written=lambda: None,
        settings=lambda _: patient.settings,
        lock=nullcontext,
    )
    return measured_now(Request(project=patient.dbt().project, exposure=exposure), instruments)


CHECKS = (
    Check(
        name="exposure-declared",
        area=Area.EXPOSURE,
        sentence="each exposure is in the project",
        look=_declared,
        needs=("dbt-parses",),
        hint="declare it in the project's YAML, then run dbt parse",
    ),
    Check(
        name="exposure-lineage",
        area=Area.EXPOSURE,
        sentence="the lineage of each exposure is sound",
        look=_lineage,
        needs=("exposure-declared",),
        after=("dbt-freshness",),
        hint="see all findings: obs lineage check",
    ),
    Check(
        name="exposure-builds",
        area=Area.EXPOSURE,
        sentence="it is known of when the data is that each exposure reads",
        look=_builds,
        needs=("exposure-declared",),
        hint="after each dbt build: obs builds push",
    ),
    Check(
        name="gate",
        area=Area.EXPOSURE,
        sentence="the gate lets the job run",
        look=_gate,
        needs=("dbt-measures",),
        after=("dbt-freshness", "exposure-declared", "exposure-lineage"),
        hint="see each source: obs freshness check",
        seconds=None,
    ),
)
