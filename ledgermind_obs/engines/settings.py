"""How a project is measured: by dbt itself, or by asking PostgreSQL what dbt would ask."""

from __future__ import annotations

import msgspec

from ledgermind_obs.dbt.project import Dbt, Project


class Postgres(msgspec.Struct, frozen=True):
    """A project whose database is asked without dbt; times are in seconds."""

    project: Project
    threads: int | None = None
    timeout: float = 600.0
    query_timeout: float = 60.0
    allow_stale_manifest: bool = False
    explain: bool = False


Engine = Dbt | Postgres
