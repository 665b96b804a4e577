"""dbt: found, supported, and able to say what there is to measure."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping

from ledgermind_obs.dbt.executable import installation, search_executable
from ledgermind_obs.dbt.lock import holder
from ledgermind_obs.dbt.profiles import ADAPTER, adapter_of
from ledgermind_obs.dbt.project import PROJECT_FILE, load_yaml
from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed, warning
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.engines.postgres import refusals
from ledgermind_obs.engines.settings import Postgres
from ledgermind_obs.errors import LockedError
from ledgermind_obs.freshness import STATES, UNMEASURED
from ledgermind_obs.lineage.owners import owner_of

POLL_SECONDS = 0.1
LOCK_SECONDS = 5.0

_OLDEST_TESTED = (1, 8)
_NAMED = 3
# What comes with dbt-core and is no adapter.
_PARTS_OF_DBT = ("dbt_adapters", "dbt_common", "dbt_extractor", "dbt_protos", "dbt_semantic")
_REQUIRE_ALL = "require_all_warnings_handled_by_warn_error"


def _project(patient: Patient) -> Seen:
    project = patient.dbt().project
    patient.engine()
    if adapter_of(project) == ADAPTER:
        patient.profile  # noqa: B018 - whether it can be rendered, and is complete
    named = f"{project.name}, profile {project.profile}, target {project.target}"
    return Seen(f"project {named}, in {project.directory}")


def _found(patient: Patient) -> Seen:
    given = patient.dbt().executable
    found = search_executable(given)
    if found:
        return Seen(_installed(found))
    words = f"there is no executable {given or 'dbt'} on PATH"
    step = "install dbt-core and an adapter, or name it with --dbt"
    if isinstance(patient.engine(), Postgres):
        return warning(
            f"{words}; --engine postgres works as long as nothing has to be parsed", step
        )
    return failed(words, step)


def _installed(executable: str) -> str:
    """Return dbt's path, its version and its adapters', as far as they are seen."""
    path, *packages = installation(executable).split(" ")
    told = [name.replace("_", "-", 1) for name in packages if not name.startswith(_PARTS_OF_DBT)]
    return " ".join([path, *told])


def _parses(patient: Patient) -> Seen:
    declared = patient.declared
    told = f"{_count(len(declared.manifest.sources), 'source')}, by {declared.path}"
    if declared.notes:
        return warning(
            "; ".join(declared.notes), "run dbt parse, or drop --manifest and --no-parse"
        )
    return Seen(told)


def _version(patient: Patient) -> Seen:
    metadata = patient.declared.manifest.metadata
    told = f"dbt {metadata.dbt_version or 'of unknown version'}"
    told += f", adapter {metadata.adapter_type or 'unknown'}"
    number = re.match(r"(\d+)\.(\d+)", metadata.dbt_version)
    if number and (int(number[1]), int(number[2])) < _OLDEST_TESTED:
        return warning(told, "obs is tested with dbt 1.8 and newer: upgrade dbt")
    return Seen(told)


def _settings(patient: Patient) -> Seen:
    found = patient.settings
    said = len(found.sources) + len(found.exposures)
    return Seen(f"{_count(said, 'source or exposure', 'sources and exposures')} with meta.obs")


def _limits(patient: Patient) -> Seen:
    places = patient.declared.clock
    if not places:
        return Seen("no limit depends on the time of parsing")
    if isinstance(patient.engine(), Postgres):
        refusals.check_clock(places)
    named = _first(f"{file} line {line}" for file, line in places)
    words = f"{named}: obs lets dbt parse anew for each measurement, other runs of dbt do not"
    return warning(words, "write the limit without the time, or run dbt with --no-partial-parse")


def _warnings(patient: Patient) -> Seen:
    flags = load_yaml(patient.dbt().project.directory / PROJECT_FILE).get("flags")
    flags = flags if isinstance(flags, Mapping) else {}
    escalates = flags.get("warn_error") or flags.get("warn_error_options")
    if flags.get(_REQUIRE_ALL) and (escalates or os.environ.get("DBT_WARN_ERROR")):
        return Seen(
            f"warn_error and {_REQUIRE_ALL} are on: dbt fails over a source that is in warn; obs "
            "calls it warn all the same"
        )
    return Seen("no flag makes an error of a source that is in warn")


def _hooks(patient: Patient) -> Seen:
    project, manifest = patient.dbt().project, patient.lookups
    if isinstance(patient.engine(), Postgres):
        refusals.check_hooks(manifest, project.runs_hooks)
        return Seen("no hook runs before a measurement")
    packages = refusals.hooks_that_run(manifest, project.runs_hooks)
    if packages:
        return warning(
            f"on-run-start of {_first(packages)} runs before each measurement",
            "set source_freshness_run_project_hooks: false in the flags of dbt_project.yml",
        )
    return Seen("no hook runs before a measurement")


def _engine(patient: Patient) -> Seen:
    if not isinstance(patient.engine(), Postgres):
        raise SkippedError("--engine is dbt, which measures as it does")
    from ledgermind_obs.engines.postgres.engine import checked_profile

    checked_profile(patient.dbt().project, patient.lookups, patient.sources, selected=False)
    return Seen(f"{_count(len(patient.sources), 'source')} can be measured without dbt")


def _freshness(patient: Patient) -> Seen:
    manifest = patient.declared.manifest
    blind = [source for source in manifest.unwatched() if source.unique_id in patient.in_question]
    known = [source for source in blind if patient.is_excused(source.unique_id)]
    left = [source for source in blind if source not in known]
    if left:
        return failed(
            f"{_first(source.name for source in left)} cannot be measured: no freshness, or no "
            "loaded_at_field",
            "give it both in its YAML, or say why not in meta.obs.no_freshness",
        )
    if not patient.sources:
        return failed("no source has freshness", "give the sources freshness in their YAML")
    excused = f"; {_first(s.name for s in known)} known not to be measured" if known else ""
    return Seen(f"{_count(len(patient.sources), 'source')} with freshness{excused}")


def _owners(patient: Patient) -> Seen:
    lineage, settings = patient.lineage, patient.settings
    without = [s.label for s in patient.sources if not owner_of(lineage, settings, s.unique_id)]
    if not lineage.exposures and not settings.sources:
        raise SkippedError("no exposure and no meta.obs names an owner in this project")
    if without:
        words = f"{_first(without)}: no owner is named"
        return warning(
            words, "name an owner in meta.obs of the source, or of an exposure downstream"
        )
    return Seen(f"each of {_count(len(patient.sources), 'source')} has an owner")


def _lock(patient: Patient) -> Seen:
    directory = patient.dbt().project.private_target_path
    until, held = time.monotonic() + LOCK_SECONDS, holder(directory)
    while held is not None and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        held = holder(directory)
    if held is None:
        return Seen("no other run holds the lock")
    raise LockedError(
        f"another obs run (process {held or 'unknown'}) holds the lock of {directory}, and a push "
        "does not wait for it",
        f"see what it does: ps -fp {held}" if held else "see which obs runs: pgrep -af obs",
    )


def _measures(patient: Patient) -> Seen:
    report = patient.report
    unmeasured = report.in_state(UNMEASURED)
    if unmeasured:
        first = unmeasured[0]
        others = f" (and {len(unmeasured) - 1} more)" if len(unmeasured) > 1 else ""
        words = f"{first.name}: {first.message or first.state.label}{others}"
        return failed(words, STATES[first.state].next_step)
    seconds = f"{report.duration_seconds:.1f} s"
    return Seen(f"{_count(len(report.sources), 'source')} measured by {report.engine} in {seconds}")


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _first(names: Iterable[str]) -> str:
    """Return the first names, and how many there are more."""
    found = list(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


CHECKS = (
    Check(
        name="dbt-project",
        area=Area.DBT,
        sentence="the project, its profile and its target can be read",
        look=_project,
        hint="name the project with --project-dir, its profiles with --profiles-dir",
    ),
    Check(
        name="dbt-found",
        area=Area.DBT,
        sentence="there is a dbt to run",
        look=_found,
        needs=("dbt-project",),
        hint="install dbt-core and an adapter, or name it with --dbt",
    ),
    Check(
        name="dbt-parses",
        area=Area.DBT,
        sentence="the manifest is up to date, or dbt can write it",
        look=_parses,
        needs=("dbt-project", "dbt-found"),
        hint="run dbt parse and read what it says",
        seconds=None,
    ),
    Check(
        name="dbt-version",
        area=Area.DBT,
        sentence="this version of dbt is one that obs is tested with",
        look=_version,
        needs=("dbt-parses",),
        hint="upgrade dbt",
    ),
    Check(
        name="dbt-settings",
        area=Area.DBT,
        sentence="each setting in meta.obs is understood",
        look=_settings,
        needs=("dbt-parses",),
        hint="correct it, then run dbt parse",
    ),
    Check(
        name="dbt-limits",
        area=Area.DBT,
        sentence="no limit of a source is frozen at the time of parsing",
        look=_limits,
        needs=("dbt-parses",),
        hint="write the limit without the time",
    ),
    Check(
        name="dbt-warnings",
        area=Area.DBT,
        sentence="a source in the state warn is not taken for a failed one",
        look=_warnings,
        needs=("dbt-project",),
        hint="see the flags in dbt_project.yml",
    ),
    Check(
        name="dbt-hooks",
        area=Area.DBT,
        sentence="no hook runs before a measurement",
        look=_hooks,
        needs=("dbt-parses",),
        hint="set source_freshness_run_project_hooks: false in the flags of dbt_project.yml",
    ),
    Check(
        name="dbt-engine",
        area=Area.DBT,
        sentence="the engine postgres can measure this project as dbt does",
        look=_engine,
        needs=("dbt-parses", "dbt-limits", "dbt-hooks"),
        after=("warehouse-connects",),
        hint="use --engine dbt",
    ),
    Check(
        name="dbt-freshness",
        area=Area.DBT,
        sentence="each source can be measured, or is known not to be",
        look=_freshness,
        needs=("dbt-settings",),
        hint="give the sources freshness in their YAML",
    ),
    Check(
        name="dbt-owners",
        area=Area.DBT,
        sentence="each source has an owner",
        look=_owners,
        needs=("dbt-settings",),
        hint="name an owner in meta.obs of the source",
    ),
    Check(
        name="dbt-lock",
        area=Area.DBT,
        sentence="no other run holds the project's lock",
        look=_lock,
        needs=("dbt-project",),
        hint="see what holds it",
    ),
    Check(
        name="dbt-measures",
        area=Area.DBT,
        sentence="a measurement gives an answer for each source",
        look=_measures,
        needs=("dbt-parses",),
        after=("dbt-engine", "warehouse-connects", "warehouse-readable"),
        hint="run obs freshness push --dry-run and read what it says",
        seconds=None,
    ),
)
