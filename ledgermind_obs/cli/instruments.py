"""With what evidence is gathered: the engine, the manifest, the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ledgermind_obs.cli.manifest_options import ManifestChoice, current_manifest
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.dbt.manifest import Exposure, LineageManifest, read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import newest_manifest, open_manifest
from ledgermind_obs.dbt.process import parse
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import FreshnessReport

if TYPE_CHECKING:
    from ledgermind_obs.gate.evidence import Instruments, Lock

Measure = Callable[[Sequence[str], Sequence[str]], FreshnessReport]


def instruments(
    dbt: Dbt,
    choice: ManifestChoice,
    measure: Measure,
    lock_timeout: float = 0.0,
    on_exposure: Callable[[Exposure], None] = lambda _: None,
) -> Instruments:
    """Return the instruments for a project and the manifest that was chosen for it."""
    from ledgermind_obs.gate.evidence import Instruments

    project = dbt.project

    def declared(lock: Lock) -> LineageManifest:
        with nullcontext() if choice.path or choice.no_parse else lock():
            opened = current_manifest(
                choice, project.directory, project.target_path, lambda: parse(dbt)
            )
        name = opened.manifest.metadata.project_name
        if name != project.name:
            raise ArtifactError(
                f"the manifest is of project {name or 'without a name'}, not of {project.name}",
                "name the right one with --manifest, or drop --manifest",
            )
        return opened.manifest

    def written() -> LineageManifest | None:
        newest = newest_manifest([project.target_path, project.private_target_path])
        if choice.path or newest is None:
            return None
        return open_manifest(newest, read_lineage_manifest).manifest

    return Instruments(
        measure=measure,
        declared=declared,
        written=written,
        lock=lambda: locked(project.private_target_path, lock_timeout),
        on_exposure=on_exposure,
    )
