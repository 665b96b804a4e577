"""How a project is measured: by dbt itself, or by asking PostgreSQL what dbt would ask."""

from __future__ import annotations

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


Engine = Dbt | Postgres
