"""With what evidence is gathered: the engine, the manifest, the lock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ledgermind_obs.cli import warn
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.dbt.manifest import Exposure, LineageManifest, read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import (
    ManifestChoice,
    check_project,
    manifest_of,
    written_manifest,
)
from ledgermind_obs.dbt.meta_obs import settings_of
from ledgermind_obs.dbt.project import Dbt
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
        opened = manifest_of(dbt, choice, read_lineage_manifest, lock)
        check_project(opened.manifest.metadata, dbt)
        for note in opened.notes:
            warn(note)
        return opened.manifest

    def written() -> LineageManifest | None:
        return None if choice.path else written_manifest(dbt, read_lineage_manifest).manifest

    return Instruments(
        measure=measure,
        declared=declared,
        written=written,
        settings=lambda manifest: settings_of(manifest, project.directory),
        lock=lambda: locked(project.private_target_path, lock_timeout),
        on_exposure=on_exposure,
    )
