"""dbt's ``manifest.json``: a project's sources, and the nodes and edges of its lineage.

Every field that some dbt version leaves out or sets to null is optional, and unknown fields are
ignored: the schema stayed at v12 from dbt 1.8 on while its contents changed between releases.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.freshness import SourceKey, Unwatched

# v9 is dbt 1.5, v12 is dbt 1.8 to 2.0, v20 is an early dbt v2 that wrote v12's fields.
SUPPORTED_SCHEMAS = frozenset({9, 10, 11, 12, 20})

MOST_MANIFEST_BYTES = 1 << 30

_SCHEMA = re.compile(r"/dbt/manifest/v(\d+)")
# Adapters that can ask the warehouse itself when a table was last changed.
_KNOWS_WHEN_LOADED = frozenset({"bigquery", "databricks", "redshift", "snowflake"})
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


class Meta(msgspec.Struct, frozen=True):
    """The part of dbt's ``meta`` that is read; ``dbt.meta_obs`` says what ``obs`` means."""

    obs: Any = None
    owner: Any = None


class Config(msgspec.Struct, frozen=True):
    """The part of a node's ``config`` that lineage needs."""

    materialized: str | None = None
    meta: Meta | None = None
    tags: str | list[str] | None = None
    loaded_at_field: str | None = None
    loaded_at_query: str | None = None


class Source(msgspec.Struct, frozen=True):
    """A source table as the manifest declares it."""

    unique_id: str
    name: str
    source_name: str = ""
    package_name: str = ""
    database: str | None = None
    schema: str | None = None
    identifier: str | None = None
    relation_name: str | None = None
    unrendered_database: str | None = None
    unrendered_schema: str | None = None
    freshness: Freshness | None = None
    loaded_at_field: str | None = None
    loaded_at_query: str | None = None
    original_file_path: str | None = None
    config: Config | None = None
    tags: str | list[str] | None = None
    meta: Meta | None = None
    source_meta: Meta | None = None

    resource_type = "source"

    @property
    def key(self) -> SourceKey:
        """Package, source and table, as a selection names them."""
        return SourceKey(self.package_name, self.source_name, self.name)

    @property
    def label(self) -> str:
        """``source.table``, as people and dbt's selectors write it."""
        return f"{self.source_name}.{self.name}"

    @property
    def says_when_loaded(self) -> bool:
        """Whether a column or a query is declared that tells the newest row's time."""
        places = (self, self.config) if self.config else (self,)
        return any(place.loaded_at_field or place.loaded_at_query for place in places)


class Metadata(msgspec.Struct, frozen=True):
    """Which run of which dbt wrote an artifact."""

    dbt_schema_version: str = ""
    dbt_version: str = ""
    generated_at: str = ""
    invocation_id: str | None = None
    project_name: str | None = None
    adapter_type: str | None = None


class Manifest(msgspec.Struct, frozen=True):
    """The part of ``manifest.json`` that freshness needs."""

    metadata: Metadata
    sources: dict[str, Source]

    def with_freshness(self) -> list[str]:
        """Return the unique ids of the sources that a whole freshness run measures."""
        return [key for key, source in self.sources.items() if source.freshness]

    def measurable(self, uid: str) -> bool:
        """Return whether dbt has limits for a source and a way to find its newest row."""
        source = self.sources[uid]
        adapter_knows = self.metadata.adapter_type in _KNOWS_WHEN_LOADED
        return bool(source.freshness) and (source.says_when_loaded or adapter_knows)

    def unwatched(self) -> tuple[Unwatched, ...]:
        """Return the sources that no run can measure."""
        return tuple(
            Unwatched(
                package=source.package_name,
                source=source.source_name,
                table=source.name,
                unique_id=uid,
                has_freshness=bool(source.freshness),
            )
            for uid, source in self.sources.items()
            if not self.measurable(uid)
        )


class Macro(msgspec.Struct, frozen=True, gc=False):
    """A macro, and the package it is of: dbt's own, the project's, or an installed one."""

    name: str = ""
    package_name: str = ""
    original_file_path: str = ""


class Selector(msgspec.Struct, frozen=True, gc=False):
    """A selector of ``selectors.yml``; the default one narrows every run that has no selection."""

    default: bool | str | None = None


class Hook(msgspec.Struct, frozen=True, gc=False):
    """A node as far as it tells whether it is a hook, and whose."""

    package_name: str | None = None
    tags: str | list[str] | None = None


class LookupManifest(Manifest, frozen=True):
    """The part of ``manifest.json`` that it takes to look at the sources without dbt."""

    macros: dict[str, Macro] | None = None
    nodes: dict[str, Hook] | None = None
    selectors: dict[str, Selector] | None = None


class DependsOn(msgspec.Struct, frozen=True, gc=False):
    """The unique ids a node is built from."""

    nodes: list[str] | None = None


class Node(msgspec.Struct, frozen=True):
    """Anything in the graph that is not a source: model, seed, test, metric, function."""

    name: str = ""
    resource_type: str = ""
    package_name: str | None = None
    relation_name: str | None = None
    original_file_path: str | None = None
    config: Config | None = None
    depends_on: DependsOn | None = None
    attached_node: str | None = None
    version: str | int | float | None = None
    tags: str | list[str] | None = None

    @property
    def label(self) -> str:
        """The name, with its version where the model has several."""
        return self.name if self.version is None else f"{self.name}.v{self.version}"


class Owner(msgspec.Struct, frozen=True, gc=False):
    """Who answers for an exposure."""

    name: str | None = None
    email: str | list[str] | None = None

    def __str__(self) -> str:
        """Return ``name <email>``, or the one that is known."""
        emails = ", ".join(_listed(self.email))
        return f"{self.name} <{emails}>" if self.name and emails else self.name or emails


class Ref(msgspec.Struct, frozen=True, gc=False):
    """A ``ref()`` as it was written."""

    name: str = ""
    package: str | None = None
    version: str | int | float | None = None


class Exposure(Node, frozen=True):
    """A use of the data outside dbt, such as an ML training job."""

    type: str | None = None
    owner: Owner | None = None
    url: str | None = None
    maturity: str | None = None
    refs: list[Ref] | None = None
    sources: list[list[str]] | None = None
    meta: Meta | None = None


class LineageManifest(Manifest, frozen=True):
    """The part of ``manifest.json`` that lineage needs."""

    nodes: dict[str, Node] | None = None
    exposures: dict[str, Exposure] | None = None
    metrics: dict[str, Node] | None = None
    semantic_models: dict[str, Node] | None = None
    saved_queries: dict[str, Node] | None = None
    unit_tests: dict[str, Node] | None = None
    functions: dict[str, Node] | None = None
    disabled: dict[str, Any] | None = None
    parent_map: dict[str, list[str] | None] | None = None

    def graph(self) -> dict[str, Node | Source]:
        """Return every enabled node, source and exposure by its unique id."""
        parts: tuple[Mapping[str, Node | Source] | None, ...] = (
            self.nodes,
            self.sources,
            self.exposures,
            self.metrics,
            self.semantic_models,
            self.saved_queries,
            self.unit_tests,
            self.functions,
        )
        return dict(chain.from_iterable(part.items() for part in parts if part))


_M = TypeVar("_M", bound=Manifest)


def read_manifest(content: bytes, name: str = "manifest.json") -> Manifest:
    """Return the sources of the manifest in ``content``; ``name`` is what errors call it.

    Raises ArtifactError where it is cut short, not JSON, of another shape or an unknown schema.
    """
    manifest = _decode(content, name, Manifest)
    check_schema(manifest.metadata, name)
    return manifest


def read_lookup_manifest(content: bytes, name: str = "manifest.json") -> LookupManifest:
    """Return the sources and macros of the manifest in ``content``.

    Raises ArtifactError where it is cut short, not JSON, of another shape or an unknown schema.
    """
    manifest = _decode(content, name, LookupManifest)
    check_schema(manifest.metadata, name)
    return manifest


def read_lineage_manifest(content: bytes, name: str = "manifest.json") -> LineageManifest:
    """Return the graph of the manifest in ``content``; ``name`` is what errors call it.

    Raises ArtifactError where it is cut short, not JSON, of another shape or an unknown schema.
    """
    manifest = _decode(content, name, LineageManifest)
    check_schema(manifest.metadata, name)
    return manifest


def check_schema(metadata: Metadata, name: str) -> None:
    """Raise ArtifactError unless the manifest's schema is one that is understood."""
    found = _SCHEMA.search(metadata.dbt_schema_version)
    if found is None:
        told = metadata.dbt_schema_version or "no schema at all"
        raise ArtifactError(f"{name} is not a manifest of dbt: it names {told}")
    if int(found[1]) not in SUPPORTED_SCHEMAS:
        raise ArtifactError(
            f"{name} has schema v{found[1]}; v9 to v12 and v20 are understood",
            "write it with dbt 1.5 or newer: dbt parse",
        )


def tags_of(node: Node | Source) -> Iterator[str]:
    """Yield the node's tags, from its top level and from its config."""
    yield from _listed(node.tags)
    if node.config:
        yield from (tag for tag in _listed(node.config.tags) if tag not in _listed(node.tags))


def _listed(value: str | list[str] | None) -> list[str]:
    """Return dbt's one-or-many as a list."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


def _decode(content: bytes, name: str, kind: type[_M]) -> _M:
    try:
        with _collector_paused():
            return decode(content, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{name} cannot be read: {error}") from error


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking for cycles, which JSON has none of, as it grows."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
