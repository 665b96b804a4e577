"""What an exposure depends on, and how to select exactly that in dbt."""

from __future__ import annotations

import re
from functools import cached_property

import msgspec

from ledgermind_obs.dbt.manifest import Exposure
from ledgermind_obs.lineage.blind_spots import BlindSpot, blind_spots, measurable
from ledgermind_obs.lineage.graph import Lineage, Walk, find_exposure, path, sources_of

# What stands for itself in dbt's selection syntax.
_SELECTABLE = re.compile(r"[\w-]+")


class Upstream(msgspec.Struct, frozen=True, dict=True):
    """The part of the graph above one exposure."""

    lineage: Lineage
    uid: str

    @property
    def exposure(self) -> Exposure:
        """The exposure itself."""
        return self.lineage.exposures[self.uid]

    @cached_property
    def walk(self) -> Walk:
        """Every node above the exposure, the exposure first."""
        return self.lineage.ancestors([self.uid])

    @property
    def measured(self) -> list[str]:
        """The sources above the exposure whose freshness dbt can measure."""
        sources = sources_of(self.lineage, self.walk)
        return [uid for uid in sources if measurable(self.lineage, uid)]

    @cached_property
    def blind_spots(self) -> list[BlindSpot]:
        """Where nothing can be known of the data that the exposure depends on."""
        return blind_spots(self.lineage, self.walk)

    @property
    def selectors(self) -> list[str]:
        """The measured sources in dbt's selection syntax, each exactly once; none selects all.

        A name that the syntax cannot hold, such as one with a dot or a blank, is measured with all.
        """
        sources = [self.lineage.manifest.sources[uid] for uid in self.measured]
        keys = [(s.package_name, s.source_name, s.name) for s in sources]
        if not all(_SELECTABLE.fullmatch(name) for key in keys for name in key):
            return []
        return [f"source:{'.'.join(key)}" for key in keys]

    def path(self, uid: str) -> list[str]:
        """Return the names from a node down to the exposure, by the shortest way."""
        return [self.lineage.label(step) for step in path(self.walk, uid)]


def upstream_of(lineage: Lineage, name: str) -> Upstream:
    """Return what is above the exposure of this name or id; raises ConfigurationError."""
    return Upstream(lineage, find_exposure(lineage, name))
