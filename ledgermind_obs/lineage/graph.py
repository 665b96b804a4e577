"""dbt's lineage: what a node stands on, what stands on it, and where that cannot be seen.

Every walk is iterative and visits each edge once, so that neither a long chain nor a cycle in a
broken manifest can stop it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import cached_property

import msgspec

from ledgermind_obs.dbt.manifest import Exposure, LineageManifest, Node, Source, tags_of
from ledgermind_obs.errors import ConfigurationError

# Each reached node, nearest first, with the node it was reached from; None for a start.
Walk = dict[str, str | None]

# Adapters that can ask the warehouse itself when a table was last changed.
_KNOWS_WHEN_LOADED = frozenset({"bigquery", "databricks", "redshift", "snowflake"})
_SEMANTIC = frozenset({"metric", "semantic_model", "saved_query"})


class Lineage:
    """The graph of one manifest."""

    def __init__(self, manifest: LineageManifest) -> None:
        """Take the graph from a manifest."""
        self.manifest = manifest
        self.nodes: Mapping[str, Node | Source] = manifest.graph()
        self.exposures: Mapping[str, Exposure] = manifest.exposures or {}
        self.disabled: Mapping[str, object] = manifest.disabled or {}
        self._parent_map = manifest.parent_map or {}

    def parents(self, uid: str) -> list[str]:
        """Return the ids a node is built from, also those that point nowhere.

        ``depends_on`` and ``parent_map`` say the same in a sound manifest; where they differ, both
        count, so that no parent is overlooked.
        """
        node = self.nodes.get(uid)
        declared = (node.depends_on and node.depends_on.nodes) if isinstance(node, Node) else None
        mapped = self._parent_map.get(uid)
        if not declared or not mapped or declared == mapped:
            return declared or mapped or []
        return [*declared, *(parent for parent in mapped if parent not in declared)]

    def children(self, uid: str) -> list[str]:
        """Return the ids that are built from a node."""
        return self._children.get(uid, [])

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        children: dict[str, list[str]] = {}
        for uid in self.nodes:
            for parent in self.parents(uid):
                children.setdefault(parent, []).append(uid)
        return children

    def ancestors(self, starts: Iterable[str]) -> Walk:
        """Return what the starts stand on, the starts first."""
        return _walk(starts, self.parents)

    def descendants(self, starts: Iterable[str]) -> Walk:
        """Return what stands on the starts, the starts first."""
        return _walk(starts, self.children)

    def label(self, uid: str) -> str:
        """Return a node's name as people write it; of an unknown node what its id says."""
        node = self.nodes.get(uid)
        return node.label if node else uid.split(".", 2)[-1]

    def kind(self, uid: str) -> str:
        """Return ``source``, ``exposure``, the materialization of a model, or the node's type."""
        node = self.nodes.get(uid)
        if node is None:
            return "disabled" if uid in self.disabled else "missing"
        materialized = node.config.materialized if node.config else None
        is_built = node.resource_type == "model" and materialized
        return materialized if is_built and materialized else node.resource_type


def _walk(starts: Iterable[str], neighbours: Callable[[str], Iterable[str]]) -> Walk:
    reached: Walk = dict.fromkeys(starts)
    queue = deque(reached)
    while queue:
        uid = queue.popleft()
        for neighbour in neighbours(uid):
            if neighbour not in reached:
                reached[neighbour] = uid
                queue.append(neighbour)
    return reached


def path(walk: Walk, uid: str) -> list[str]:
    """Return the shortest way from a reached node back to the start it was reached from."""
    way = [uid]
    while (step := walk[way[-1]]) is not None:
        way.append(step)
    return way


def sources_of(lineage: Lineage, walk: Walk) -> list[str]:
    """Return the sources among the reached nodes."""
    return [uid for uid in walk if uid in lineage.manifest.sources]


class Blindness(StrEnum):
    """Why nothing can be known of the data at a node."""

    NO_PARENTS = "no parents"
    NO_SOURCE = "no source"
    MISSING = "missing"
    DISABLED = "disabled"
    SEED = "seed"
    OTHER_PROJECT = "other project"
    UNSEEN = "unseen"
    NO_FRESHNESS = "no freshness"
    UNMEASURABLE = "unmeasurable"


class BlindSpot(msgspec.Struct, frozen=True):
    """A node at or above an exposure where dbt's knowledge of the data ends."""

    node: str
    kind: Blindness
    reason: str


def advice(kind: Blindness) -> str:
    """Return what to do about a blind spot of this kind."""
    return _ADVICE[kind]


_ADVICE = {
    Blindness.NO_PARENTS: (
        "write its depends_on as ref('…') or source('…', '…'): dbt ignores a bare name"
    ),
    Blindness.NO_SOURCE: "declare the tables its models read as sources, read by source('…', '…')",
    Blindness.MISSING: "repair the ref() or source() that names it, then run dbt parse",
    Blindness.DISABLED: "enable it, or take it out of what depends on it",
    Blindness.SEED: "see who changed the seed's file last",
    Blindness.OTHER_PROJECT: "run the gate in that project too",
    Blindness.UNSEEN: "let it read its tables by source('…', '…') or ref('…')",
    Blindness.NO_FRESHNESS: "give it freshness and a loaded_at_field",
    Blindness.UNMEASURABLE: "give it a loaded_at_field or a loaded_at_query",
}


def blind_spots(lineage: Lineage, walk: Walk) -> list[BlindSpot]:
    """Return where, among the reached nodes, nothing can be known of the data."""
    spots: list[BlindSpot] = []
    for uid in walk:
        spots.extend(_at_node(lineage, uid))
    return spots


def _at_node(lineage: Lineage, uid: str) -> Iterator[BlindSpot]:
    node = lineage.nodes.get(uid)
    if node is None:
        yield _absent(lineage, uid)
    elif isinstance(node, Source):
        yield from _at_source(lineage, uid, node)
    elif isinstance(node, Exposure):
        yield from _at_exposure(lineage, uid, node)
    else:
        yield from _at_built(lineage, uid, node)


def _at_source(lineage: Lineage, uid: str, source: Source) -> Iterator[BlindSpot]:
    if not source.freshness:
        yield BlindSpot(uid, Blindness.NO_FRESHNESS, "has no freshness")
    elif not measurable(lineage, uid):
        reason = "has freshness, and neither a column nor a query that tells when it was loaded"
        yield BlindSpot(uid, Blindness.UNMEASURABLE, reason)


def measurable(lineage: Lineage, uid: str) -> bool:
    """Return whether dbt has limits for a source and a way to find its newest row."""
    source = lineage.manifest.sources[uid]
    adapter_knows = lineage.manifest.metadata.adapter_type in _KNOWS_WHEN_LOADED
    return bool(source.freshness) and (source.says_when_loaded or adapter_knows)


def _absent(lineage: Lineage, uid: str) -> BlindSpot:
    if uid in lineage.disabled:
        return BlindSpot(uid, Blindness.DISABLED, "is disabled")
    package = uid.split(".")[1] if uid.count(".") > 1 else ""
    if package and package != lineage.manifest.metadata.project_name:
        reason = f"belongs to project {package}, which this manifest does not hold"
        return BlindSpot(uid, Blindness.OTHER_PROJECT, reason)
    return BlindSpot(uid, Blindness.MISSING, "is not in the project")


def _at_exposure(lineage: Lineage, uid: str, exposure: Exposure) -> Iterator[BlindSpot]:
    parents = lineage.parents(uid)
    for written in unresolved(lineage, exposure, parents):
        yield BlindSpot(uid, Blindness.MISSING, f"names {written}, which dbt did not find")
    if not parents:
        yield BlindSpot(uid, Blindness.NO_PARENTS, "has no parents")
    elif not _reaches_source(lineage, uid):
        yield BlindSpot(uid, Blindness.NO_SOURCE, "has no source above it")


def _at_built(lineage: Lineage, uid: str, node: Node) -> Iterator[BlindSpot]:
    if node.resource_type == "seed":
        yield BlindSpot(uid, Blindness.SEED, "is a seed, a file whose age dbt does not know")
    elif node.resource_type in _SEMANTIC:
        kind = node.resource_type.replace("_", " ")
        reason = f"is a {kind}, and dbt's edges through those are incomplete"
        yield BlindSpot(uid, Blindness.UNSEEN, reason)
    elif not lineage.parents(uid):
        yield _end(lineage, uid, node)


def _end(lineage: Lineage, uid: str, node: Node) -> BlindSpot:
    project = lineage.manifest.metadata.project_name
    if node.package_name and node.package_name != project:
        reason = f"is of project {node.package_name}, and what it reads is not in this manifest"
        return BlindSpot(uid, Blindness.OTHER_PROJECT, reason)
    return BlindSpot(uid, Blindness.UNSEEN, "has no parents, so what it reads is not declared")


def _reaches_source(lineage: Lineage, uid: str) -> bool:
    seen, stack = {uid}, [uid]
    while stack:
        for parent in lineage.parents(stack.pop()):
            if parent in lineage.manifest.sources:
                return True
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return False


def unresolved(lineage: Lineage, exposure: Exposure, parents: Iterable[str]) -> list[str]:
    """Return the ``ref()`` and ``source()`` of an exposure for which it has no parent."""
    found = {_written_name(lineage, parent) for parent in parents}
    refs = [(f"ref('{ref.name}')", ref.name) for ref in exposure.refs or []]
    tables = [
        ("source('{}')".format("', '".join(pair)), ".".join(pair))
        for pair in exposure.sources or []
    ]
    return [written for written, name in [*refs, *tables] if name not in found]


def _written_name(lineage: Lineage, uid: str) -> str:
    """Return what ``ref()`` or ``source()`` must say to mean the node."""
    node = lineage.nodes.get(uid)
    if isinstance(node, Source):
        return node.label
    return node.name if node else uid.split(".", 2)[-1]


def find_exposure(lineage: Lineage, name: str) -> str:
    """Return the id of the exposure with this name or id; raises ConfigurationError."""
    found = _named(lineage.exposures, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"exposure {name} is one of {', '.join(found)}", "give its id")
    if _named(lineage.disabled, name, "exposure."):
        raise ConfigurationError(f"exposure {name} is disabled", "enable it in its config")
    names = ", ".join(node.name for node in lineage.exposures.values()) or "none"
    raise ConfigurationError(
        f"there is no exposure {name} in the manifest; it has {names}",
        "name one of them, or declare it and run dbt parse",
    )


def find_node(lineage: Lineage, name: str) -> str:
    """Return the id of the node that ``name`` means: its id, its name, or ``source.table``.

    Raises ConfigurationError where there is none, or more than one.
    """
    if name in lineage.nodes:
        return name
    found = [
        uid
        for uid, node in lineage.nodes.items()
        if name in {node.label, f"{node.package_name}.{node.label}"}
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"{name} is one of {', '.join(found)}", "give its id")
    raise ConfigurationError(
        f"there is no node {name} in the manifest", "see what there is: obs lineage search"
    )


def _named(nodes: Iterable[str], name: str, prefix: str = "") -> list[str]:
    return [uid for uid in nodes if uid.startswith(prefix) and name in {uid, uid.split(".")[-1]}]


def search(lineage: Lineage, tags: Iterable[str] = (), names: Iterable[str] = ()) -> list[str]:
    """Return the nodes that carry every tag and whose name contains every text."""
    wanted, texts = set(tags), [text.lower() for text in names]
    return [
        uid
        for uid, node in lineage.nodes.items()
        if wanted <= set(tags_of(node)) and all(text in node.label.lower() for text in texts)
    ]
