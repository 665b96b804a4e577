"""Who is told about a source."""

from __future__ import annotations

from ledgermind_obs.dbt.meta_obs import Settings, owner_in_meta
from ledgermind_obs.lineage.graph import Lineage


def owner_of(lineage: Lineage, settings: Settings, uid: str) -> str:
    """Return who answers for a source or node, an empty text if nobody does.

    ``meta.obs.owner`` of a source, else its ``meta.owner``, else the owners of the exposures that
    are downstream, by their names.
    """
    said = settings.sources.get(uid)
    source = lineage.manifest.sources.get(uid)
    named = (said and said.owner) or (source and owner_in_meta(source))
    if named:
        return named
    reached = [
        lineage.exposures[each] for each in lineage.descendants([uid]) if each in lineage.exposures
    ]
    owners = [str(exposure.owner or "") for exposure in sorted(reached, key=lambda e: e.name)]
    return ", ".join(dict.fromkeys(filter(None, owners)))
