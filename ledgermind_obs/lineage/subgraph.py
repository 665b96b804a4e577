"""The graph upstream of an exposure as data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from ledgermind_obs.freshness import STATES, State
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream

UNKNOWN = "unknown"
BUILT = "built"
# What is unknown is worse than a warning, and better than what is known to be wrong.
_BEST_FIRST: list[str] = [*STATES]
_BEST_FIRST.insert(State.WARN.rank + 1, UNKNOWN)
WORST_FIRST = tuple(reversed(_BEST_FIRST))


class Contents(msgspec.Struct, frozen=True):
    """How a table's last build stands, in words, and what it holds; times are Unix seconds.

    ``as_of`` is the oldest of what it holds of its sources; None if that of any is unknown.
    """

    build: str
    built_at: float | None
    as_of: float | None


class GraphNode(msgspec.Struct, frozen=True):
    """One node: ``kind`` is its materialization or type; ``state`` the worst at or above it.

    ``contents`` is None for what holds no data of its own, and if nobody asked.
    """

    unique_id: str
    name: str
    kind: str
    state: str = ""
    age_seconds: float | None = None
    contents: Contents | None = None


class Graph(msgspec.Struct, frozen=True):
    """The nodes, the exposure first, and the parents of each."""

    nodes: Mapping[str, GraphNode]
    parents: Mapping[str, Sequence[str]]

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield every edge, from a parent to what is built from it."""
        return ((parent, uid) for uid, parents in self.parents.items() for parent in parents)


def graph_of(
    upstream: Upstream,
    *,
    depth: int | None = None,
    only_sources: bool = False,
    freshness: Mapping[str, tuple[str, float | None]] | None = None,
    contents: Mapping[str, Contents] | None = None,
) -> Graph:
    """Return the graph above an exposure, to so many steps from it.

    With ``only_sources`` every source hangs at the exposure itself; ``freshness`` gives each
    source's state and age in seconds, ``contents`` what each table holds.
    """
    lineage = upstream.lineage
    kept = _kept(upstream, depth, only_sources=only_sources)
    states = _states(upstream, freshness, contents or {}) if freshness is not None else {}
    ages = {uid: age for uid, (_, age) in (freshness or {}).items()}
    nodes = {
        uid: GraphNode(
            uid,
            lineage.label(uid),
            lineage.kind(uid),
            states.get(uid, ""),
            ages.get(uid),
            (contents or {}).get(uid),
        )
        for uid in kept
    }
    if only_sources:
        return Graph(nodes, {upstream.uid: [uid for uid in kept if uid != upstream.uid]})
    inside = {uid: [p for p in lineage.parents(uid) if p in nodes] for uid in nodes}
    return Graph(nodes, inside)


def _kept(upstream: Upstream, depth: int | None, *, only_sources: bool) -> list[str]:
    if only_sources:
        sources = upstream.lineage.manifest.sources
        return [uid for uid in upstream.walk if uid == upstream.uid or uid in sources]
    if depth is None:
        return list(upstream.walk)
    distances = {upstream.uid: 0}
    for uid, below in upstream.walk.items():
        if below is not None:
            distances[uid] = distances[below] + 1
    return [uid for uid, distance in distances.items() if distance <= depth]


def _states(
    upstream: Upstream,
    freshness: Mapping[str, tuple[str, float | None]],
    contents: Mapping[str, Contents],
) -> dict[str, str]:
    """Return the worst state at or above each node; what cannot be seen counts as unknown.

    A state that is in no table, as of a table that was not built, keeps its name, and ranks with
    the unknown.
    """
    lineage = upstream.lineage
    starts = {spot.node: UNKNOWN for spot in upstream.blind_spots if spot.node != upstream.uid}
    unbuilt = {uid: contents[uid].build for uid in upstream.walk if uid in contents}
    # What is furthest from the exposure explains what is skipped below it.
    starts |= {uid: build for uid, build in reversed(unbuilt.items()) if build != BUILT}
    starts |= {uid: freshness.get(uid, (UNKNOWN, None))[0] for uid in upstream.measured}
    below = _below(lineage, upstream.walk)
    ranks = {str(state): rank for rank, state in enumerate(WORST_FIRST)}
    found: dict[str, str] = {}
    for start, state in sorted(starts.items(), key=lambda s: ranks.get(s[1], ranks[UNKNOWN])):
        pending = [start]
        while pending:
            uid = pending.pop()
            if uid not in found:
                found[uid] = str(state)
                pending.extend(below.get(uid, ()))
    return found


def _below(lineage: Lineage, walk: Iterable[str]) -> dict[str, list[str]]:
    below: dict[str, list[str]] = {}
    for uid in walk:
        for parent in lineage.parents(uid):
            below.setdefault(parent, []).append(uid)
    return below
