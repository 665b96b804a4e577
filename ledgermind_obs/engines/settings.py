"""How a project is measured: by dbt itself, by asking PostgreSQL, or by what a run has left."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ledgermind_obs.dbt.manifest_file import ManifestChoice
from ledgermind_obs.dbt.project import Dbt, Project


class Postgres(msgspec.Struct, frozen=True):
    """A project whose database is asked without dbt, by a manifest; times are in seconds.

    ``dbt`` parses the project if no manifest is proven.
    """

    dbt: Dbt
    manifest: ManifestChoice = ManifestChoice()
    query_timeout: float = 60.0
    explain: bool = False

    @property
    def project(self) -> Project:
        """The project that is measured."""
        return self.dbt.project


class Recorded(msgspec.Struct, frozen=True):
    """A run of dbt that somebody else started: its ``artifact``, at most ``max_age`` seconds old.

    The manifest supplies what the file leaves out.
    """

    dbt: Dbt
    artifact: Path
    manifest: ManifestChoice = ManifestChoice()
    max_age: float = 3600.0

    @property
    def project(self) -> Project:
        """The project that was measured."""
        return self.dbt.project


Engine = Dbt | Postgres | Recorded
