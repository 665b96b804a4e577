"""What a plan of PostgreSQL says about a look-up, and the index that would make it quick."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.freshness import Scan

# A node of ``explain (verbose, format json)``, with its own below "Plans".
Plan = Mapping[str, Any]

_NAME = re.compile(r'[A-Za-z_][\w$]*|"[^"]+"', re.ASCII)
_APPENDS = frozenset({"Append", "Merge Append"})

# So much is read in a millisecond or so: an index would not be quicker, and costs each insert.
SMALL_BYTES = 1 << 20
SMALL = "no index needed: it is small"


class Size(NamedTuple):
    """How large a table is; ``rows`` is None if it was never analyzed."""

    rows: int | None
    bytes: int


def scan(source: Source, plan: Plan, seconds: float) -> Scan | None:
    """Return what is scanned although the planner avoids it, or None; the look-up took ``seconds``.

    The plan is one with ``enable_seqscan`` off: a table it still scans has no index that helps.
    """
    nodes = [node for node in _walk(plan) if node.get("Node Type") == "Seq Scan"]
    if not nodes:
        return None
    return Scan(
        name=source.label,
        relations=tuple(f"{node.get('Schema')}.{node.get('Relation Name')}" for node in nodes),
        rows=sum(int(node.get("Plan Rows", 0)) for node in nodes),
        seconds=seconds,
        advice=_advice(source, plan, nodes),
    )


def sized(found: Scan, sizes: Mapping[str, Size]) -> Scan:
    """Return the scan with the size of its tables; for small ones, an index is no advice.

    The planner's own number of rows is a guess for a table that was never analyzed.
    """
    known = [sizes.get(name) for name in found.relations]
    rows = [size.rows if size else None for size in known]
    counted = sum(size.bytes for size in known if size) if all(known) else None
    is_small = counted is not None and counted <= SMALL_BYTES
    return msgspec.structs.replace(
        found,
        rows=None if None in rows else sum(filter(None, rows)),
        bytes=counted,
        advice=SMALL if is_small else found.advice,
    )


def _walk(plan: Plan) -> Iterator[Plan]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _walk(child)


def _advice(source: Source, plan: Plan, nodes: list[Plan]) -> str:
    """Return the statement that makes the index, or what to do where one alone does not."""
    field = source.loaded_at_field
    if field is None:
        return "see the plan of its loaded_at_query"
    column = field if _NAME.fullmatch(field) else f"({field})"
    if all(node.get("Relation Name") == source.identifier for node in nodes):
        return f"create index concurrently on {source.relation_name} ({column})"
    if any(node.get("Node Type") in _APPENDS for node in _walk(plan)):
        return f"create index on {source.relation_name} ({column})"
    return f"it is a view: index what {field} is made of"
