"""What was built, and how old the data is that each exposure reads, as text and as a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ledgermind_obs.durations import format_age
from ledgermind_obs.lineage.graph import Lineage


class BuiltNode(NamedTuple):
    """A node's last build; ``built_at`` is the Unix time at which it was last written whole."""

    unique_id: str
    name: str
    status: str
    built_at: float | None


class DataAge(NamedTuple):
    """The newest data of a source that an exposure can read, in Unix seconds, None if unknown."""

    exposure: str
    source: str
    as_of: float | None


def as_document(nodes: list[BuiltNode], ages: list[DataAge], destination: str) -> dict[str, object]:
    """Return what ``obs builds push --format json`` prints."""
    return {
        "delivery": {"destination": destination},
        "models": [node._asdict() for node in nodes],
        "exposures": [age._asdict() for age in ages],
    }


def as_lines(nodes: list[BuiltNode], ages: list[DataAge], now: float) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table: each node's status and age, then each exposure's data."""
    for node in nodes:
        built = "no whole build on record"
        if node.built_at is not None:
            built = f"built {format_age(now - node.built_at)} ago"
        yield node.name, node.status, built
    for age in ages:
        held = "of unknown age: measure before you build"
        if age.as_of is not None:
            held = f"as of {format_age(now - age.as_of)} ago"
        yield age.exposure, f"reads {age.source}", held


def built_nodes(lineage: Lineage, built: dict[str, tuple[str, float | None]]) -> list[BuiltNode]:
    """Return the nodes with their names, in the order of the names."""
    nodes = [BuiltNode(uid, lineage.label(uid), *found) for uid, found in built.items()]
    return sorted(nodes, key=lambda node: node.name)
