"""dbt's lineage: what is upstream of a node, and what is downstream of it.

Every walk is iterative and visits each edge once, so that neither a long chain nor a cycle in a
broken manifest can stop it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from ledgermind_obs.dbt.manifest import Exposure, LineageManifest, Node, Source, tags_of
from ledgermind_obs.errors import ArtifactError, ConfigurationError, nearest

# Each reached node, nearest first, with the node it was reached from; None for a start.
Walk = dict[str, str | None]


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
        """Return what the starts depend on, the starts first."""
        return _walk(starts, self.parents)

    def descendants(self, starts: Iterable[str]) -> Walk:
        """Return what depends on the starts, the starts first."""
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


def parents_first(lineage: Lineage, walk: Iterable[str]) -> list[str]:
    """Return the reached nodes, each after its parents; raises ArtifactError if there is a cycle.

    Parents that were not reached do not count.
    """
    inside, opened = dict.fromkeys(walk), set[str]()
    order: dict[str, None] = {}
    for start in inside:
        stack = [start]
        while stack:
            uid = stack[-1]
            waiting = [p for p in lineage.parents(uid) if p in inside and p not in order]
            if uid in order or not waiting:
                order[stack.pop()] = None
            elif uid in opened:
                raise ArtifactError(f"the lineage of {uid} has a cycle", "run dbt parse")
            else:
                opened.add(uid)
                stack += waiting
    return list(order)


def sources_of(lineage: Lineage, walk: Walk) -> list[str]:
    """Return the sources among the reached nodes."""
    return [uid for uid in walk if uid in lineage.manifest.sources]


def find_exposure(lineage: Lineage, name: str) -> str:
    """Return the id of the exposure with this name or id; raises ConfigurationError."""
    found = _named(lineage.exposures, name)
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigurationError(f"exposure {name} is one of {', '.join(found)}", "give its id")
    if _named(lineage.disabled, name, "exposure."):
        raise ConfigurationError(f"exposure {name} is disabled", "enable it in its config")
    names = [node.name for node in lineage.exposures.values()]
    step = nearest(name, names) if names else "declare it in the project's YAML"
    raise ConfigurationError(f"there is no exposure {name} in the manifest", step)


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
    meant = nearest(name, (node.label for node in lineage.nodes.values()))
    raise ConfigurationError(
        f"there is no node {name} in the manifest",
        f"{meant}\nsearch by a part of the name: obs lineage search --name TEXT",
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
