"""What a run learnt of its sources, whichever engine made it, and the report of them.

An engine makes one entry per source by ``timed``, ``empty`` or ``failed``, ``missing`` is for what
nobody answered for, and ``report_of`` makes the report.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from ledgermind_obs.dbt.manifest import Freshness, Manifest, Source
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ArtifactError, NothingSelectedError
from ledgermind_obs.freshness import (
    FUTURE_TOLERANCE,
    FreshnessReport,
    SourceFreshness,
    SourceKey,
    State,
    is_ahead,
)

_LIST = "see what there is: dbt ls --resource-type source"
# dbt 1.10 was the first to take a source's freshness from its config as well.
_WITHOUT_CONFIG = ("1.5.", "1.6.", "1.7.", "1.8.", "1.9.")
_CLOCKS = "check the clocks of the database and of this host, and the database's time zone"


class Span(NamedTuple):
    """From when to when a run can have looked at a source."""

    earliest: datetime
    latest: datetime

    def objection(self, checked_at: datetime) -> str:
        """Return why a look at that time is not believed, or an empty string."""
        early, late = self.earliest - checked_at, checked_at - self.latest
        if late > FUTURE_TOLERANCE:
            return f"its answer is dated {_told(late)} after the run: {_CLOCKS}"
        if early > FUTURE_TOLERANCE:
            return f"its answer is dated {_told(early)} before the run: {_CLOCKS}"
        return ""


def _told(time: timedelta) -> str:
    return format_age(time.total_seconds())


class Run(NamedTuple):
    """Which run a report is of: of what, by what, and when."""

    target: str
    whole: bool
    engine: str
    engine_version: str
    started_at: datetime
    duration_seconds: float

    @property
    def span(self) -> Span:
        """From when to when it can have looked at a source."""
        return Span(self.started_at, self.started_at + timedelta(seconds=self.duration_seconds))


def report_of(
    run: Run, manifest: Manifest, entries: Iterable[SourceFreshness], unmatched: Sequence[str]
) -> FreshnessReport:
    """Return the report of a run: one entry per source that should have been measured.

    ``unmatched`` is what of the selection matches nothing. Raises NothingSelectedError if there is
    no entry, ArtifactError if two entries would be one series.
    """
    sources = one_of_each(sorted(entries, key=lambda entry: entry.unique_id))
    if not sources:
        raise _nothing_to_measure(manifest, unmatched)
    _check_alone(sources, manifest)
    return FreshnessReport(
        started_at=run.started_at,
        duration_seconds=run.duration_seconds,
        engine=run.engine,
        engine_version=run.engine_version,
        project=manifest.metadata.project_name or "",
        target=run.target,
        whole=run.whole,
        sources=sources,
        unmatched=tuple(unmatched),
        unwatched=manifest.unwatched(),
    )


def _check_alone(entries: Iterable[SourceFreshness], manifest: Manifest) -> None:
    """Raise ArtifactError if the project has another source of an entry's series."""
    entered = {entry.key: entry.unique_id for entry in entries}
    for source in manifest.sources.values():
        key = SourceKey(source.package_name, source.source_name, source.name)
        unique_id = entered.get(key, source.unique_id)
        if unique_id != source.unique_id:
            raise _one_series(unique_id, source.unique_id)


def _one_series(one: str, other: str) -> ArtifactError:
    return ArtifactError(
        f"{one} and {other} have one package, source and table name: their series would be one",
        "rename one of them, and run dbt again",
    )


def one_of_each(entries: Iterable[SourceFreshness]) -> tuple[SourceFreshness, ...]:
    """Return the entries; raises ArtifactError if two of them would be one series."""
    found: dict[SourceKey, SourceFreshness] = {}
    for entry in entries:
        other = found.setdefault(entry.key, entry)
        if other is not entry:
            raise _one_series(other.unique_id, entry.unique_id)
    return tuple(found.values())


def _nothing_to_measure(manifest: Manifest, unmatched: Sequence[str]) -> NothingSelectedError:
    if unmatched:
        return NothingSelectedError(
            f"nothing to measure: no source matches {', '.join(unmatched)}",
            _meant(manifest, unmatched[0]),
        )
    if manifest.with_freshness():
        return NothingSelectedError(
            "nothing to measure: the selection holds no source with freshness",
            "see what has it: dbt ls --resource-type source --output json",
        )
    return NothingSelectedError(
        "nothing to measure: no source of this project has freshness",
        "give a source a loaded_at_field, and freshness: {warn_after: {count: 1, period: day}}"
        + (", beside its name" if _reads_no_config(manifest) else ", under its config:"),
    )


def timed(
    source: Source,
    verdict: State,
    loaded_at: datetime,
    checked_at: datetime,
    criteria: Freshness | None = None,
) -> SourceFreshness:
    """Return the entry of a source with rows: dbt's verdict, or what dbt does not notice."""
    state = State.FUTURE if is_ahead(loaded_at, checked_at) else verdict
    return entry_for(source, state, criteria=criteria, loaded_at=loaded_at, checked_at=checked_at)


def empty(
    source: Source, checked_at: datetime, criteria: Freshness | None = None
) -> SourceFreshness:
    """Return the entry of a source without a row."""
    return entry_for(source, State.EMPTY, criteria=criteria, checked_at=checked_at)


def _reads_no_config(manifest: Manifest) -> bool:
    """Return whether the dbt that wrote the manifest ignores a source's freshness in config."""
    return manifest.metadata.dbt_version.startswith(_WITHOUT_CONFIG)


def _meant(manifest: Manifest, criterion: str) -> str:
    """Return the selector that was probably meant, or where to see what there is."""
    from difflib import get_close_matches

    measured = (manifest.sources[uid] for uid in manifest.with_freshness())
    names = {name for s in measured for name in (s.label, f"{s.package_name}.{s.label}")}
    wanted = criterion.rpartition(":")[2]
    # A name with a dot in it is one that dbt's selectors cannot name.
    found = get_close_matches(wanted, sorted(names - {wanted}), n=1)
    return f"did you mean source:{found[0]}?" if found else _LIST


def failed(source: Source, message: str) -> SourceFreshness:
    """Return the entry of a source whose query failed."""
    return entry_for(source, State.QUERY_ERROR, message=message)


def missing(source: Source, message: str) -> SourceFreshness:
    """Return the entry of a source of which nothing is known."""
    return entry_for(source, State.MISSING, message=message)


def entry_for(
    source: Source,
    state: State,
    *,
    criteria: Freshness | None = None,
    loaded_at: datetime | None = None,
    checked_at: datetime | None = None,
    message: str = "",
) -> SourceFreshness:
    """Return a source's entry; its limits are the manifest's unless ``criteria`` has others."""
    limits = criteria or source.freshness or Freshness()
    return SourceFreshness(
        package=source.package_name,
        source=source.source_name,
        table=source.name,
        unique_id=source.unique_id,
        database=source.database or "",
        schema=source.schema or "",
        identifier=source.identifier or source.name,
        state=state,
        loaded_at=loaded_at,
        checked_at=checked_at,
        warn_after_seconds=limits.warn_after_seconds,
        error_after_seconds=limits.error_after_seconds,
        message=message,
    )
