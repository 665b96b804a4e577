"""What an alert on a source must know of the lineage: its owner, its exposures, and their gates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from ledgermind_obs.dbt.manifest import Exposure, Source
from ledgermind_obs.dbt.meta_obs import ExposureSettings, Settings, owner_in_meta
from ledgermind_obs.lineage.graph import Lineage, sources_of
from ledgermind_obs.monitoring.generate import Watched, alert_names


def watched_sources(
    lineage: Lineage, settings: Settings, gated: Collection[str] = ()
) -> tuple[Watched, ...]:
    """Return the sources that have freshness, in the order of their alerts' names.

    ``gated`` are the ids of exposures that have a gate, beside those whose ``meta.obs`` says so.
    """
    reached = _exposures_of(lineage)
    gates = {
        uid: settings.exposures.get(uid, ExposureSettings())
        for uid in lineage.exposures
        if uid in gated or uid in settings.exposures
    }
    sources = {uid: lineage.manifest.sources[uid] for uid in lineage.manifest.with_freshness()}
    names = alert_names(sources)
    found = (
        _watched(source, names[uid], limit, reached.get(uid, []), gates, settings, lineage)
        for uid, source in sources.items()
        if (limit := _limit(source)) is not None
    )
    return tuple(sorted(found, key=lambda watched: watched.alert))


def _limit(source: Source) -> float | None:
    """Return dbt's first limit: ``warn_after``, or the only one there is."""
    freshness = source.freshness
    if freshness is None:
        return None
    warn = freshness.warn_after_seconds
    return freshness.error_after_seconds if warn is None else warn


def _watched(
    source: Source,
    alert: str,
    limit: float,
    reached: Sequence[str],
    gates: Mapping[str, ExposureSettings],
    settings: Settings,
    lineage: Lineage,
) -> Watched:
    limits = [_gate_after(source, gates[uid]) for uid in reached if uid in gates]
    exposures = sorted({lineage.label(uid) for uid in reached})
    own = settings.sources.get(source.unique_id)
    owner = (own and own.owner) or owner_in_meta(source) or _owners(lineage, reached)
    shut = min((each for each in limits if each is not None), default=None)
    return Watched(source, alert, limit, shut, owner, tuple(exposures))


def _gate_after(source: Source, gate: ExposureSettings) -> float | None:
    """Return the age in seconds from which on a gate refuses the source, None for never."""
    if gate.max_age_seconds is not None:
        return gate.max_age_seconds
    if source.freshness is None:
        return None
    error = source.freshness.error_after_seconds
    return _limit(source) if gate.fail_on == "warn" else error


def _exposures_of(lineage: Lineage) -> dict[str, list[str]]:
    """Return the exposures downstream of each source."""
    reached: dict[str, list[str]] = {}
    for uid in lineage.exposures:
        for source in sources_of(lineage, lineage.ancestors([uid])):
            reached.setdefault(source, []).append(uid)
    return reached


def _owners(lineage: Lineage, exposures: Iterable[str]) -> str:
    names = {owner_of(lineage.exposures[uid]) for uid in exposures}
    return ", ".join(sorted(filter(None, names)))


def owner_of(exposure: Exposure) -> str:
    """Return the name of an exposure's owner, or the address; empty if it has neither."""
    if exposure.owner is None:
        return ""
    named = (exposure.owner.name or "").strip()
    return named or str(msgspec.structs.replace(exposure.owner, name=None))


def exposure_owners(lineage: Lineage) -> dict[str, str]:
    """Return the owner of each exposure that has one, by the exposure's name."""
    found = {node.name: owner_of(node) for node in lineage.exposures.values()}
    return {name: owner for name, owner in sorted(found.items()) if owner}
