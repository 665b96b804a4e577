"""What a verdict was made of, as a file: the same verdict can be had from it again, offline."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from ledgermind_obs import __version__
from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.dbt.manifest import Exposure, LineageManifest, Node
from ledgermind_obs.dbt.meta_obs import Settings
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import FreshnessReport
from ledgermind_obs.gate.built import Builds
from ledgermind_obs.gate.evidence import Evidence, Kind
from ledgermind_obs.gate.policy import Policy
from ledgermind_obs.lineage.blind_spots import BlindSpot
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream

FORMAT = "obs-evidence/1"


class NamedSpot(msgspec.Struct, frozen=True):
    """A blind spot and the name of its node."""

    spot: BlindSpot
    name: str


class Archive(msgspec.Struct, frozen=True, kw_only=True):
    """Evidence, policy and verdict of one decision.

    ``manifest`` has the part of dbt's manifest that is upstream of the exposure, and
    ``manifest_sha256`` is the hash of the whole file. ``verdict`` is what ``--format json`` prints.
    """

    format: str
    obs_version: str
    manifest_sha256: str
    kind: Kind
    report: FreshnessReport
    expected: tuple[str, ...]
    gathered_at: datetime
    blind: tuple[NamedSpot, ...]
    unmatched: tuple[str, ...]
    exposure: str | None
    manifest: LineageManifest | None
    builds: Builds | None
    settings: Settings
    origin: str
    notes: tuple[str, ...]
    policy: Policy
    verdict: Mapping[str, Any]

    @property
    def evidence(self) -> Evidence:
        """The evidence, as it was judged."""
        upstream = None
        if self.manifest is not None and self.exposure is not None:
            upstream = Upstream(Lineage(self.manifest), self.exposure)
        return Evidence(
            kind=self.kind,
            report=self.report,
            expected=frozenset(self.expected),
            gathered_at=self.gathered_at,
            blind={named.spot: named.name for named in self.blind},
            unmatched=self.unmatched,
            upstream=upstream,
            builds=self.builds,
            settings=self.settings,
            origin=self.origin,
            notes=self.notes,
        )


def archived(
    evidence: Evidence, policy: Policy, verdict: Mapping[str, Any], manifest_sha256: str
) -> Archive:
    """Return everything that a decision was made of."""
    upstream = evidence.upstream
    return Archive(
        format=FORMAT,
        obs_version=__version__,
        manifest_sha256=manifest_sha256,
        kind=evidence.kind,
        report=evidence.report,
        expected=tuple(sorted(evidence.expected)),
        gathered_at=evidence.gathered_at,
        blind=tuple(NamedSpot(spot, name) for spot, name in evidence.blind.items()),
        unmatched=evidence.unmatched,
        exposure=upstream.uid if upstream else None,
        manifest=_part(upstream) if upstream else None,
        builds=evidence.builds,
        settings=evidence.settings,
        origin=evidence.origin,
        notes=evidence.notes,
        policy=policy,
        verdict=verdict,
    )


def read_archive(content: bytes, name: str) -> Archive:
    """Return what is in a file; raises ArtifactError if it was not written by ``--evidence``."""
    try:
        found = decode(content, Archive)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(
            f"{name} is not what obs freshness check --evidence writes", "name such a file"
        ) from error
    if found.format != FORMAT:
        raise ArtifactError(f"{name} is of format {found.format}, not of {FORMAT}")
    return found


def _part(upstream: Upstream) -> LineageManifest:
    """Return the part of the manifest that is upstream of an exposure."""
    lineage = upstream.lineage
    whole, inside = lineage.manifest, upstream.walk
    nodes = {
        uid: node
        for uid, node in lineage.nodes.items()
        if uid in inside and isinstance(node, Node) and not isinstance(node, Exposure)
    }
    return LineageManifest(
        metadata=whole.metadata,
        sources={uid: source for uid, source in whole.sources.items() if uid in inside},
        nodes=nodes,
        exposures={upstream.uid: upstream.exposure},
        disabled={uid: None for uid in lineage.disabled if uid in inside},
        parent_map={uid: lineage.parents(uid) for uid in inside},
    )
