"""What is wrong with the lineage upstream of an exposure: one code per kind of finding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import msgspec

from ledgermind_obs.dbt.manifest import Node, Source
from ledgermind_obs.dbt.meta_obs import Settings
from ledgermind_obs.errors import nearest
from ledgermind_obs.lineage.blind_spots import UNMEASURED, Blindness, advice, blind_spots
from ledgermind_obs.lineage.graph import Lineage, Walk, path
from ledgermind_obs.metrics import source_labels
from ledgermind_obs.monitoring.findings import Checked, Code, Finding, Severity, worst_first
from ledgermind_obs.monitoring.promql import Selector

_E, _W = Severity.ERROR, Severity.WARNING

ABSENT = Code("L101", _E, "exposure is not in the project")
DISABLED_EXPOSURE = Code("L102", _E, "exposure is disabled")
NO_OWNER = Code("L103", _W, "exposure has no owner")
NO_PARENTS = Code("L104", _E, "exposure has no parents")
NO_SOURCE = Code("L105", _E, "no source is upstream of the exposure")
MISSING = Code("L106", _E, "parent is missing")
DISABLED = Code("L107", _E, "parent is disabled")
SEED = Code("L201", _W, "ancestry ends at a seed")
OTHER_PROJECT = Code("L202", _E, "ancestry ends at another project")
NO_FRESHNESS = Code("L203", _E, "source has no freshness")
UNSEEN = Code("L204", _E, "ancestry ends where dbt cannot see")
UNMEASURABLE = Code("L205", _E, "source cannot be measured")
WARN_ABOVE_ERROR = Code("L206", _W, "warn_after is not below error_after")
UNTESTED = Code("L207", _W, "model has no test")
FROZEN_LIMIT = Code("L208", _W, "limit depends on the time of parsing")
NO_ALERT = Code("L301", _W, "source is in no alert rule")
NO_PANEL = Code("L302", _W, "source is on no dashboard")
NOT_MEASURED = Code("L303", _E, "source is not in the last run")
WRONG_PROJECT = Code("L401", _E, "manifest is of another project")
STALE_MANIFEST = Code("L402", _E, "manifest differs from the project")

CODES = (
    *(ABSENT, DISABLED_EXPOSURE, NO_OWNER, NO_PARENTS, NO_SOURCE, MISSING, DISABLED),
    *(SEED, OTHER_PROJECT, NO_FRESHNESS, UNSEEN, UNMEASURABLE, WARN_ABOVE_ERROR, UNTESTED),
    FROZEN_LIMIT,
    *(NO_ALERT, NO_PANEL, NOT_MEASURED),
    *(WRONG_PROJECT, STALE_MANIFEST),
)

_BLIND = {
    Blindness.NO_PARENTS: NO_PARENTS,
    Blindness.NO_SOURCE: NO_SOURCE,
    Blindness.MISSING: MISSING,
    Blindness.DISABLED: DISABLED,
    Blindness.SEED: SEED,
    Blindness.OTHER_PROJECT: OTHER_PROJECT,
    Blindness.UNSEEN: UNSEEN,
    Blindness.NO_FRESHNESS: NO_FRESHNESS,
    Blindness.UNMEASURABLE: UNMEASURABLE,
}


class Surroundings(msgspec.Struct, frozen=True):
    """What a check knows beside the manifest; None means that there is nothing to compare with."""

    project: str | None = None
    manifest_name: str = "manifest.json"
    changed_files: Sequence[str] = ()
    clock: Sequence[tuple[str, int]] = ()
    rules: Sequence[Selector] | None = None
    dashboards: Sequence[Selector] | None = None
    measured: frozenset[str] | None = None
    settings: Settings = Settings()
    now: datetime | None = None


def check(lineage: Lineage, names: Sequence[str], around: Surroundings) -> Checked:
    """Return what is wrong with the exposures of these names or ids, and upstream of them."""
    known = {name: _exposure_ids(lineage, name) for name in names}
    starts = [uid for uids in known.values() for uid in uids]
    walk = lineage.ancestors(starts)
    findings = [
        *_of_manifest(lineage, around),
        *_of_clock(around),
        *(f for name, uids in known.items() if not uids for f in _absent(lineage, name)),
        *_of_exposures(lineage, starts),
        *_of_blind_spots(lineage, walk, around),
        *_of_sources(lineage, walk, around),
        *_of_models(lineage, walk),
    ]
    upstream = [uid for uid in walk if uid not in lineage.exposures]
    sources = [uid for uid in upstream if uid in lineage.manifest.sources]
    return Checked(
        command="lineage check",
        codes=CODES,
        looked_at={"exposures": starts, "nodes": upstream, "sources": sources},
        findings=worst_first(findings),
    )


def _exposure_ids(lineage: Lineage, name: str) -> list[str]:
    if name in lineage.exposures:
        return [name]
    return [uid for uid, exposure in lineage.exposures.items() if exposure.name == name]


def _absent(lineage: Lineage, name: str) -> Iterator[Finding]:
    """Yield a finding for each disabled exposure of that name or id, or one if there is none."""
    ids = sorted(uid for uid in lineage.disabled if uid.startswith("exposure."))
    disabled = [uid for uid in ids if name in {uid, uid.split(".")[-1]}]
    for uid in disabled:
        yield DISABLED_EXPOSURE.at(name, "is disabled", "enable it in its config", node=uid)
    if not disabled:
        names = sorted(exposure.name for exposure in lineage.exposures.values())
        next_step = f"declare it, or correct its name: {nearest(name, names)}"
        yield ABSENT.at(name, "is not an exposure of the project", next_step, node=name)


def _of_manifest(lineage: Lineage, around: Surroundings) -> Iterator[Finding]:
    name = lineage.manifest.metadata.project_name or ""
    if around.project is not None and name != around.project:
        message = f"is of project {name or 'without a name'}, not of {around.project}"
        yield _of_file(WRONG_PROJECT, around, message, "run dbt parse in this project")
    if around.changed_files:
        count = len(around.changed_files)
        others = f" and {count - 1} more" if count > 1 else ""
        message = f"was made before {around.changed_files[0]}{others} changed"
        next_step = "run dbt parse, or drop --manifest and --no-parse"
        yield _of_file(STALE_MANIFEST, around, message, next_step)


def _of_clock(around: Surroundings) -> Iterator[Finding]:
    """Yield the places at which a source is what it is by the time at which dbt parsed it."""
    for file, line in around.clock:
        yield FROZEN_LIMIT.at(
            f"{file}:{line}",
            "depends on the time of parsing, and dbt keeps the first value",
            "write a plain value or a var(); obs makes dbt parse it at every run",
            node=f"{file}:{line}",
            file=file,
            line=line,
        )


def _of_file(code: Code, around: Surroundings, message: str, next_step: str) -> Finding:
    return code.at(around.manifest_name, message, next_step, node=around.manifest_name)


def _of_exposures(lineage: Lineage, starts: Iterable[str]) -> Iterator[Finding]:
    for uid in starts:
        exposure = lineage.exposures[uid]
        if not str(exposure.owner or ""):
            yield _at(
                NO_OWNER, lineage, {uid: None}, uid, "has no owner", "name who answers for it"
            )


def _of_blind_spots(lineage: Lineage, walk: Walk, around: Surroundings) -> Iterator[Finding]:
    for spot in blind_spots(lineage, walk):
        said = around.settings.sources.get(spot.node)
        known = said.no_freshness if said and spot.kind in UNMEASURED else None
        if known and around.now and known.holds(around.now):
            continue
        ended = f"; meta.obs.no_freshness counted until {known.until}" if known else ""
        next_step = advice(spot.kind)
        yield _at(_BLIND[spot.kind], lineage, walk, spot.node, spot.reason + ended, next_step)


def _of_sources(lineage: Lineage, walk: Walk, around: Surroundings) -> Iterator[Finding]:
    for uid in walk:
        source = lineage.manifest.sources.get(uid)
        if source is None:
            continue
        for code, message, next_step in _faults(source, around):
            yield _at(code, lineage, walk, uid, message, next_step)


def _faults(source: Source, around: Surroundings) -> Iterator[tuple[Code, str, str]]:
    limits = source.freshness
    if limits and _warns_too_late(source):
        yield WARN_ABOVE_ERROR, "warns no earlier than it fails", "make warn_after the shorter one"
    if around.rules is not None and not is_covered(source, around.rules):
        yield NO_ALERT, "is in no alert rule", "add it to prometheus/rules/dbt_freshness.yml"
    if around.dashboards is not None and not is_covered(source, around.dashboards):
        yield NO_PANEL, "is on no dashboard", "make one that has it: obs dashboard generate"
    if limits and around.measured is not None and source.unique_id not in around.measured:
        next_step = "run obs freshness check: it says why dbt leaves it out"
        yield NOT_MEASURED, "has freshness and is not in the last run", next_step


def is_covered(source: Source, found: Iterable[Selector]) -> bool:
    """Return whether any selector selects the source's series."""
    labels = source_labels(source)
    return any(selector.selects(labels) for selector in found)


def _warns_too_late(source: Source) -> bool:
    limits = source.freshness
    warn = limits.warn_after_seconds if limits else None
    error = limits.error_after_seconds if limits else None
    return warn is not None and error is not None and warn >= error


def _of_models(lineage: Lineage, walk: Walk) -> Iterator[Finding]:
    tested = _tested(lineage)
    for uid in walk:
        node = lineage.nodes.get(uid)
        if isinstance(node, Node) and node.resource_type == "model" and uid not in tested:
            next_step = "give it a data test or a unit test"
            yield _at(UNTESTED, lineage, walk, uid, "has no test", next_step)


def _tested(lineage: Lineage) -> set[str]:
    """Return the ids of every node that a data test or a unit test is about."""
    tested: set[str] = set()
    data_tests = (n for n in (lineage.manifest.nodes or {}).values() if n.resource_type == "test")
    for test in (*data_tests, *(lineage.manifest.unit_tests or {}).values()):
        tested.update((test.depends_on and test.depends_on.nodes) or ())
        if test.attached_node:
            tested.add(test.attached_node)
    return tested


def _at(
    code: Code, lineage: Lineage, walk: Walk, uid: str, message: str, next_step: str
) -> Finding:
    node = lineage.nodes.get(uid)
    return code.at(
        lineage.label(uid),
        message,
        next_step,
        node=uid,
        file=(node.original_file_path or "") if node else "",
        path=tuple(lineage.label(step) for step in path(walk, uid)),
    )
