"""Who is notified about a source."""

from __future__ import annotations

from ledgermind_obs.dbt.meta_obs import Settings, owner_in_meta
from ledgermind_obs.lineage.graph import Lineage


def owner_of(lineage: Lineage, settings: Settings, uid: str) -> str:
    """Return who answers for a source or node, an empty text if nobody does.

    The owner that the source names itself, else the owners of the exposures that are downstream, by
    their names.
    """
    named = named_owner(lineage, settings, uid)
    if named:
        return named
    reached = [each for each in lineage.descendants([uid]) if each in lineage.exposures]
    exposures = sorted((lineage.exposures[each] for each in reached), key=lambda e: e.name)
    owners = [str(exposure.owner or "") for exposure in exposures]
    return ", ".join(dict.fromkeys(filter(None, owners)))


def named_owner(lineage: Lineage, settings: Settings, uid: str) -> str:
    """Return the owner that a source names in ``meta.obs`` or in ``meta``, else an empty text."""
    said, source = settings.sources.get(uid), lineage.manifest.sources.get(uid)
    return (said and said.owner) or (source and owner_in_meta(source)) or ""
