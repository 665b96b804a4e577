"""Where dbt's knowledge of the data upstream of an exposure ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

import msgspec

from ledgermind_obs.dbt.manifest import Exposure, Node, Source
from ledgermind_obs.lineage.graph import Lineage, Walk

_SEMANTIC = frozenset({"metric", "semantic_model", "saved_query"})


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


# That no run can measure a source, its owner may know, and say so in meta.obs.
UNMEASURED = frozenset({Blindness.NO_FRESHNESS, Blindness.UNMEASURABLE})


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
    Blindness.NO_FRESHNESS: "give it freshness and a loaded_at_field, "
    "or a reason in meta.obs.no_freshness",
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
    if not measurable(lineage, uid):
        yield unwatched_spot(uid, has_freshness=bool(source.freshness))


def unwatched_spot(uid: str, *, has_freshness: bool) -> BlindSpot:
    """Return the blind spot at a source that no run can measure."""
    if not has_freshness:
        return BlindSpot(uid, Blindness.NO_FRESHNESS, "has no freshness")
    reason = "has freshness, and neither a column nor a query that tells when it was loaded"
    return BlindSpot(uid, Blindness.UNMEASURABLE, reason)


def measurable(lineage: Lineage, uid: str) -> bool:
    """Return whether dbt has limits for a source and a way to find its newest row."""
    return lineage.manifest.measurable(uid)


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
