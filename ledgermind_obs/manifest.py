"""dbt's ``manifest.json``: the sources a project declares, and which of them have freshness.

Every field that some dbt version leaves out or sets to null is optional, and unknown fields are
ignored: the schema stayed at v12 from dbt 1.8 on while its contents changed between releases.
"""

from __future__ import annotations

import msgspec

from ledgermind_obs.errors import ArtifactError

_PERIOD_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


class Threshold(msgspec.Struct, frozen=True):
    """dbt's ``warn_after`` or ``error_after``; both fields null means there is none."""

    count: int | None = None
    period: str | None = None

    @property
    def seconds(self) -> float | None:
        """The limit in seconds, or None where there is none."""
        if self.count is None or self.period is None:
            return None
        factor = _PERIOD_SECONDS.get(self.period.lower())
        return None if factor is None else float(self.count * factor)

    def __bool__(self) -> bool:
        """Whether a limit is set, in dbt's sense."""
        return self.count is not None and self.period is not None


class Freshness(msgspec.Struct, frozen=True):
    """A source's freshness as dbt resolved it from table, source and project."""

    warn_after: Threshold | None = None
    error_after: Threshold | None = None
    filter: str | None = None

    @property
    def warn_after_seconds(self) -> float | None:
        """Age in seconds beyond which dbt warns, or None."""
        return self.warn_after.seconds if self.warn_after else None

    @property
    def error_after_seconds(self) -> float | None:
        """Age in seconds beyond which dbt reports an error, or None."""
        return self.error_after.seconds if self.error_after else None

    def __bool__(self) -> bool:
        """Whether dbt would measure a source with it: at least one limit is set."""
        return bool(self.warn_after) or bool(self.error_after)


class Source(msgspec.Struct, frozen=True):
    """A source table as the manifest declares it."""

    unique_id: str
    name: str
    source_name: str = ""
    package_name: str = ""
    database: str | None = None
    schema: str | None = None
    identifier: str | None = None
    freshness: Freshness | None = None


class Metadata(msgspec.Struct, frozen=True):
    """Which run of which dbt wrote an artifact."""

    dbt_schema_version: str = ""
    dbt_version: str = ""
    generated_at: str = ""
    invocation_id: str | None = None
    project_name: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """The part of ``manifest.json`` that freshness needs."""

    metadata: Metadata
    sources: dict[str, Source]

    def with_freshness(self) -> list[str]:
        """Return the unique ids of the sources that a whole freshness run measures."""
        return [key for key, source in self.sources.items() if source.freshness]


def read_manifest(content: bytes, name: str = "manifest.json") -> Manifest:
    """Return the manifest in ``content``; ``name`` is what errors call it.

    Raises ArtifactError where it is cut short, not JSON, or of another shape.
    """
    try:
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{name} cannot be read: {error}") from error
