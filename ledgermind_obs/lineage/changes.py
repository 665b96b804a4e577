"""What changed between two manifests.

Two manifests are compared by what dbt wrote of each node. If that does not decide whether those
who read a node notice, the effect is unknown, never safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

import msgspec

from ledgermind_obs.dbt.decoding import decode
from ledgermind_obs.dbt.manifest import Config, DependsOn, Metadata, Node, check_schema
from ledgermind_obs.errors import ArtifactError

# Settings that change nothing of the data, and the one that is compared by itself.
_WITHOUT_EFFECT = frozenset({"docs", "enabled", "group", "materialized", "meta", "tags"})


class Effect(StrEnum):
    """What a change does to those who read the node."""

    BREAKING = "breaking"
    UNKNOWN = "unknown"
    SAFE = "safe"


class Change(msgspec.Struct, frozen=True):
    """One difference between two manifests: ``kind`` names it, ``detail`` says what it is."""

    node: str
    kind: str
    detail: str
    effect: Effect


class Column(msgspec.Struct, frozen=True, gc=False):
    """A declared column."""

    data_type: str | None = None


class Checksum(msgspec.Struct, frozen=True, gc=False):
    """The hash of a node's file."""

    name: str | None = None
    checksum: str | None = None


class Contract(msgspec.Struct, frozen=True, gc=False):
    """Whether dbt enforces the declared columns."""

    enforced: bool | None = None
    checksum: str | None = None


class MacroUse(DependsOn, frozen=True, gc=False):
    """What a node depends on, its macros too."""

    macros: list[str] | None = None


class Declared(Node, frozen=True, gc=False):
    """A node with all that is compared of it."""

    depends_on: MacroUse | None = None
    columns: dict[str, Column] | None = None
    checksum: Checksum | None = None
    contract: Contract | None = None
    relation_name: str | None = None
    unrendered_config: dict[str, Any] | None = None

    @property
    def is_compared(self) -> bool:
        """Whether others may read it; tests and analyses are not read by anything."""
        return self.resource_type in {"model", "seed", "snapshot"}


class DeclaredSource(msgspec.Struct, frozen=True, gc=False):
    """A source with all that is compared of it."""

    columns: dict[str, Column] | None = None
    relation_name: str | None = None
    config: Config | None = None


class Macro(msgspec.Struct, frozen=True, gc=False):
    """A macro's text, and what it calls."""

    macro_sql: str = ""
    depends_on: MacroUse | None = None


class State(msgspec.Struct, frozen=True):
    """The part of a manifest that two runs of dbt are compared by."""

    metadata: Metadata
    sources: dict[str, DeclaredSource]
    nodes: dict[str, Declared] | None = None
    macros: dict[str, Macro] | None = None
    disabled: dict[str, msgspec.Raw] | None = None

    def compared(self) -> dict[str, Declared]:
        """Return the nodes that others may read."""
        return {uid: node for uid, node in (self.nodes or {}).items() if node.is_compared}


def read_state(content: bytes, name: str = "manifest.json") -> State:
    """Return what of a manifest is compared; ``name`` is what errors call it.

    Raises ArtifactError where it is cut short, not JSON, of another shape or an unknown schema.
    """
    try:
        state = decode(content, State)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{name} cannot be read: {error}") from error
    check_schema(state.metadata, name)
    return state


def changes_between(before: State, after: State) -> list[Change]:
    """Return every difference that those who read a node might notice."""
    old, new = before.compared(), after.compared()
    renamed = _renamed(old, new)
    macros = _changed_macros(before, after)
    return [
        *_gone(old, new, renamed, after),
        *(_added(uid) for uid in new if uid not in old and uid not in renamed.values()),
        *(change for uid in old if uid in new for change in _node(uid, old, new, macros)),
        *_sources(before, after),
    ]


def _renamed(old: Mapping[str, Declared], new: Mapping[str, Declared]) -> dict[str, str]:
    """Return the nodes that went and came back with the same file under another name."""
    arrived: dict[str, list[str]] = {}
    for uid in new:
        if uid not in old and (checksum := _checksum(new[uid])):
            arrived.setdefault(checksum, []).append(uid)
    candidates = {uid: arrived.get(_checksum(old[uid]), []) for uid in old if uid not in new}
    return {uid: found[0] for uid, found in candidates.items() if len(found) == 1}


def _checksum(node: Declared) -> str:
    return (node.checksum and node.checksum.checksum) or ""


def _gone(
    old: Mapping[str, Declared], new: Mapping[str, Declared], renamed: Mapping[str, str], now: State
) -> Iterator[Change]:
    for uid in old:
        if uid in new:
            continue
        if uid in (now.disabled or {}):
            yield Change(uid, "disabled", "is disabled now", Effect.BREAKING)
        elif uid in renamed:
            detail = f"is {renamed[uid]} now"
            yield Change(uid, "renamed", detail, Effect.BREAKING)
        else:
            yield Change(uid, "removed", "is not in the project any more", Effect.BREAKING)


def _added(uid: str) -> Change:
    return Change(uid, "added", "is new", Effect.SAFE)


def _changed_macros(before: State, after: State) -> set[str]:
    """Return the macros that changed, and those that call one that did."""
    old, new = before.macros or {}, after.macros or {}
    callers: dict[str, list[str]] = {}
    for uid, macro in new.items():
        for called in _macros_of(macro):
            callers.setdefault(called, []).append(uid)
    pending = [uid for uid in old.keys() | new.keys() if old.get(uid) != new.get(uid)]
    changed: set[str] = set()
    while pending:
        uid = pending.pop()
        if uid not in changed:
            changed.add(uid)
            pending.extend(callers.get(uid, ()))
    return changed


def _macros_of(node: Declared | Macro) -> list[str]:
    return (node.depends_on.macros if node.depends_on else None) or []


def _node(
    uid: str, old: Mapping[str, Declared], new: Mapping[str, Declared], macros: set[str]
) -> Iterator[Change]:
    for compare in _COMPARISONS:
        yield from compare(uid, old[uid], new[uid])
    if changed := sorted(macros.intersection(_macros_of(new[uid]))):
        detail = f"uses {', '.join(changed)}, which changed"
        yield Change(uid, "macro changed", detail, Effect.UNKNOWN)


def _sql(uid: str, old: Declared, new: Declared) -> Iterator[Change]:
    if not _checksum(old) or not _checksum(new):
        detail = "one of the manifests does not hold its checksum"
        yield Change(uid, "SQL not comparable", detail, Effect.UNKNOWN)
    elif _checksum(old) != _checksum(new):
        what = "rows" if new.resource_type == "seed" else "SQL"
        yield Change(uid, f"{what} changed", "what it returns may differ", Effect.UNKNOWN)


def _materialization(uid: str, old: Declared, new: Declared) -> Iterator[Change]:
    was, now = (node.config and node.config.materialized for node in (old, new))
    if was != now:
        effect = Effect.BREAKING if "ephemeral" in {was, now} else Effect.UNKNOWN
        yield Change(uid, "materialization changed", f"was {was}, is {now}", effect)


def _settings(uid: str, old: Declared, new: Declared) -> Iterator[Change]:
    was, now = ((node.unrendered_config or {}) for node in (old, new))
    names = (was.keys() | now.keys()) - _WITHOUT_EFFECT
    if changed := sorted(name for name in names if was.get(name) != now.get(name)):
        yield Change(uid, "config changed", ", ".join(changed), Effect.UNKNOWN)


def _relation(uid: str, old: Declared, new: Declared) -> Iterator[Change]:
    if old.relation_name and new.relation_name and old.relation_name != new.relation_name:
        detail = f"was {old.relation_name}, is {new.relation_name}"
        yield Change(uid, "relation moved", detail, Effect.BREAKING)


def _contract(uid: str, old: Declared, new: Declared) -> Iterator[Change]:
    was, now = (bool(node.contract and node.contract.enforced) for node in (old, new))
    if was and not now:
        detail = "its columns are not enforced any more"
        yield Change(uid, "contract dropped", detail, Effect.UNKNOWN)


def _columns(uid: str, old: Declared, new: Declared) -> Iterator[Change]:
    yield from _column_changes(uid, old.columns, new.columns)


_COMPARISONS: tuple[Callable[[str, Declared, Declared], Iterator[Change]], ...] = (
    _sql,
    _materialization,
    _settings,
    _relation,
    _contract,
    _columns,
)


def _column_changes(
    uid: str, old: Mapping[str, Column] | None, new: Mapping[str, Column] | None
) -> Iterator[Change]:
    """Yield what changed of the declared columns; a declaration that goes may only be a text."""
    was, now = old or {}, new or {}
    for name in sorted(was.keys() - now.keys()):
        detail = f"{name} is not declared any more"
        yield Change(uid, "column removed", detail, Effect.BREAKING)
    for name in sorted(was.keys() & now.keys()):
        before, after = was[name].data_type, now[name].data_type
        if _type(before) != _type(after):
            effect = Effect.BREAKING if before and after else Effect.UNKNOWN
            detail = f"{name} was {before or 'untyped'}, is {after or 'untyped'}"
            yield Change(uid, "column retyped", detail, effect)


def _type(text: str | None) -> str:
    return " ".join((text or "").lower().split())


def _sources(before: State, after: State) -> Iterator[Change]:
    for uid, old in before.sources.items():
        new = after.sources.get(uid)
        if new is None:
            is_disabled = uid in (after.disabled or {})
            kind, detail = (
                ("disabled", "is disabled now")
                if is_disabled
                else ("removed", "is not in the project any more")
            )
            yield Change(uid, kind, detail, Effect.BREAKING)
            continue
        if old.relation_name and new.relation_name and old.relation_name != new.relation_name:
            detail = f"was {old.relation_name}, is {new.relation_name}"
            yield Change(uid, "relation moved", detail, Effect.BREAKING)
        yield from _column_changes(uid, old.columns, new.columns)
    yield from (_added(uid) for uid in after.sources if uid not in before.sources)
