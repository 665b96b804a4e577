"""How old the data in a table is: the newest moment of each source that its content can hold.

The claim is never later than the truth. A row can carry an old stamp and be committed later, so
only what was seen of a source before a build began says what the build could read. What was seen
afterwards can only lower it: rows that are gone now may have been gone then.

Three things stay unknowable: rows taken away and put back between two observations, a build that
nobody recorded and that overlapped a recorded one, and one that nobody recorded and that emptied
its table. Any other build that is not on record makes the claim older, not later.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

import msgspec

from ledgermind_obs.dbt.manifest import Node
from ledgermind_obs.errors import ArtifactError
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.sinks.history import Build, History, Observation, Outcome

# A model that fails at each run for weeks is no reason to remember each of them.
_MOST_FAILED = 10

_KEPT = frozenset({"model", "snapshot"})
_PASSED_THROUGH = frozenset({"view", "ephemeral"})


# Which build of which table reads a node; None is whoever reads it now.
_Reader = tuple[str, int] | None
_Key = tuple[str, _Reader]


class _Contents(NamedTuple):
    """The sources in something: what is certain of each, and those of which nothing is known.

    A table that is empty or spoilt holds everything as of minus infinity.
    """

    known: dict[str, float]
    unseen: frozenset[str]


class AsOf:
    """The moments that the content of the nodes of one lineage is of."""

    def __init__(self, lineage: Lineage, history: History) -> None:
        """Take the lineage and what is on record."""
        self._lineage = lineage
        self._looks = {uid: _Looks(seen) for uid, seen in history.observations.items()}
        self._builds = {
            uid: sorted(builds, key=lambda build: build.completed_at)
            for uid, builds in history.builds.items()
        }
        self._contents: dict[_Key, _Contents] = {}
        self._read: dict[_Key, list[int]] = {}

    def of(self, uid: str) -> dict[str, float | None]:
        """Return what a node holds now: of each source upstream its Unix time, None if unknown.

        Raises ArtifactError if the lineage has a cycle.
        """
        return _claims(self._evaluate((uid, None)))

    def certain(self, uid: str, build: Build) -> dict[str, float | None]:
        """Return what is certain of the sources in a recorded build, None if nothing is.

        A source of which nobody knows is left out. Raises as ``of`` does.
        """
        reader = (uid, self._builds[uid].index(build))
        content = self._evaluate((uid, reader))
        return {s: moment for s, moment in _claims(content).items() if s not in content.unseen}

    def _evaluate(self, wanted: _Key) -> _Contents:
        done, opened, stack = self._contents, dict[_Key, list[_Key]](), [wanted]
        while stack:
            key = stack[-1]
            if key in done:
                stack.pop()
            elif key not in opened:
                opened[key] = self._parts(*key)
                stack.extend(part for part in opened[key] if part not in done)
            elif any(part not in done for part in opened[key]):
                raise ArtifactError(f"the lineage of {key[0]} has a cycle", "run dbt parse")
            else:
                done[key] = self._content(*key, [done[part] for part in opened.pop(key)])
        return done[wanted]

    def _parts(self, uid: str, reader: _Reader) -> list[_Key]:
        """Return what a node's content comes from: builds of a table, else its parents."""
        is_build = reader is not None and reader[0] == uid
        if not is_build and keeps_content(self._lineage, uid):
            builds = self._builds_read(uid, reader)
            if builds:
                return [(uid, (uid, index)) for index in builds]
        return [(p, reader) for p in self._lineage.parents(uid) if p in self._lineage.nodes]

    def _content(self, uid: str, reader: _Reader, parts: list[_Contents]) -> _Contents:
        if uid in self._lineage.manifest.sources:
            return self._source(uid, reader)
        content = _merged(parts)
        if reader is not None and reader[0] == uid:
            return self._written(uid, reader[1], content)
        builds = self._builds_read(uid, reader)
        if not keeps_content(self._lineage, uid):
            return _spoilt(content) if self._is_spoilt(uid, builds) else content
        return content if builds else _Contents({}, content.unseen.union(content.known))

    def _is_spoilt(self, uid: str, builds: Iterable[int]) -> bool:
        """Whether a view may be one that ``--empty`` or ``--sample`` left behind."""
        return any(self._builds[uid][index].outcome is Outcome.SPOILT for index in builds)

    def _source(self, uid: str, reader: _Reader) -> _Contents:
        moment = inf if reader is None else self._build(reader).begin
        looks = self._looks.get(uid)
        newest = looks.before(moment) if looks else None
        return (
            _Contents({}, frozenset({uid})) if newest is None else _Contents({uid: newest}, _NONE)
        )

    def _written(self, uid: str, index: int, content: _Contents) -> _Contents:
        """Return what a build wrote, given what it could read.

        What was once certain of it is never exceeded: what lowered it may be forgotten by now.
        """
        build = self._builds[uid][index]
        if build.outcome is Outcome.SPOILT:
            return _spoilt(content)
        remembered = {
            source: known
            for source in content.unseen
            if (known := self._certain(uid, index, source)) is not None
        }
        limits = {
            source: -inf if known is None else known
            for source, known in build.certain.items()
            if source in content.known
        }
        seen = _Contents(content.known, content.unseen - remembered.keys())
        return _merged([seen, _Contents(remembered, _NONE), _Contents(limits, _NONE)])

    def _certain(self, uid: str, index: int, source: str) -> float | None:
        """Return what was certain of a source in this build or, failing that, in one before."""
        for build in reversed(self._builds[uid][: index + 1]):
            if source in build.certain:
                found = build.certain[source]
                looks = self._looks.get(source)
                later = looks.lowest_after(build.begin) if looks else inf
                return -inf if found is None else min(found, later)
        return None

    def _builds_read(self, uid: str, reader: _Reader) -> list[int]:
        """Return the builds of a table of which one wrote what the reader finds in it.

        That is the last that was complete when the reader began, and each that may have written
        after that one began. None if it is not known that any was complete.
        """
        if uid not in self._builds:
            return []
        key = (uid, reader)
        if key not in self._read:
            self._read[key] = self._find_builds_read(uid, reader)
        return self._read[key]

    def _find_builds_read(self, uid: str, reader: _Reader) -> list[int]:
        builds = self._builds[uid]
        at = None if reader is None else self._build(reader)
        complete = [
            index
            for index, build in enumerate(builds)
            if build.outcome is not Outcome.FAILED and (at is None or build.before(at))
        ]
        if not complete:
            return []
        last = complete[-1]
        return [
            index
            for index, build in enumerate(builds)
            if index == last
            or not (build.before(builds[last]) or (at is not None and at.before(build)))
        ]

    def _build(self, reader: tuple[str, int]) -> Build:
        return self._builds[reader[0]][reader[1]]


def forgotten(lineage: Lineage, history: History, before: float) -> History:
    """Return the history without what is of no use, or seen before a moment in Unix seconds.

    The last observation of each source stays, and the builds that a node's content can be of; those
    of tables hold what was certain of them. Raises ArtifactError if the lineage has a cycle.
    """
    as_of = AsOf(lineage, history)
    return History(
        {uid: _recent_looks(seen, before) for uid, seen in history.observations.items()},
        {
            uid: _folded([_settled(lineage, as_of, uid, build) for build in _last_builds(builds)])
            for uid, builds in history.builds.items()
        },
    )


def _recent_looks(observations: Sequence[Observation], before: float) -> list[Observation]:
    ordered = sorted(observations, key=lambda look: look.until)
    return [look for look in ordered[:-1] if look.until >= before] + ordered[-1:]


def _last_builds(builds: Sequence[Build]) -> list[Build]:
    """Return the last build that wrote a node, and each that may have written it since."""
    ordered = sorted(builds, key=lambda build: build.completed_at)
    written = [build for build in ordered if build.outcome is not Outcome.FAILED]
    for index, build in enumerate(ordered):
        if build in written[-1:] or (written and not build.before(written[-1])):
            return ordered[index:]
    return ordered


def _folded(builds: list[Build]) -> list[Build]:
    """Return the builds, of many that failed the earliest as one: it may have written as each."""
    failed = [build for build in builds if build.outcome is Outcome.FAILED][:-_MOST_FAILED]
    if len(failed) < 2:  # noqa: PLR2004 - one needs no folding
        return builds
    one = Build(
        started_at=min(build.started_at for build in failed),
        completed_at=max(build.completed_at for build in failed),
        outcome=Outcome.FAILED,
        run=f"{failed[0].run} and later ones",
        skew=max(build.skew for build in failed),
        certain=_least_certain(failed),
    )
    return [one, *(build for build in builds if build not in failed)]


def _least_certain(builds: Sequence[Build]) -> dict[str, float | None]:
    least: dict[str, float | None] = {}
    for build in builds:
        for source, moment in build.certain.items():
            known = least.get(source, moment)
            least[source] = None if moment is None or known is None else min(moment, known)
    return least


def _settled(lineage: Lineage, as_of: AsOf, uid: str, build: Build) -> Build:
    certain = as_of.certain(uid, build) if keeps_content(lineage, uid) else {}
    return msgspec.structs.replace(build, certain=certain)


class _Looks:
    """A source's observations in the order of their end."""

    def __init__(self, observations: Iterable[Observation]) -> None:
        self._all = sorted(observations, key=lambda look: look.until)
        self._ends = [look.until for look in self._all]
        self._lowest = [inf]  # of each observation and all after it; at the end of none
        for look in reversed(self._all):
            newest = -inf if look.newest is None else look.newest
            self._lowest.append(min(newest, self._lowest[-1]))
        self._lowest.reverse()

    def before(self, moment: float) -> float | None:
        """Return what was certainly there at a moment; None if nobody had looked by then.

        The last look by then counts, with those that may have been after it.
        """
        last = bisect_right(self._ends, moment) - 1
        if last < 0:
            return None
        return self._lowest[min(last, bisect_right(self._ends, self._all[last].since))]

    def lowest_after(self, moment: float) -> float:
        """Return the oldest that was seen after a moment, infinity if nobody looked."""
        return self._lowest[bisect_right(self._ends, moment)]


_NONE: frozenset[str] = frozenset()


def keeps_content(lineage: Lineage, uid: str) -> bool:
    """Return whether a node holds rows of its own; of an unknown materialization it is assumed."""
    node = lineage.nodes.get(uid)
    if not isinstance(node, Node) or node.resource_type not in _KEPT:
        return False
    return node.config is None or node.config.materialized not in _PASSED_THROUGH


def _spoilt(content: _Contents) -> _Contents:
    return _Contents(dict.fromkeys(content.unseen.union(content.known), -inf), _NONE)


def _merged(parts: Sequence[_Contents]) -> _Contents:
    """Return the oldest of each source; what is unseen on one way is unseen."""
    if len(parts) == 1:
        return parts[0]
    known: dict[str, float] = {}
    for part in parts:
        for source, moment in part.known.items():
            if moment < known.get(source, inf):
                known[source] = moment
    return _Contents(known, _NONE.union(*(part.unseen for part in parts)))


def _claims(content: _Contents) -> dict[str, float | None]:
    certain = {s: None if moment == -inf else moment for s, moment in content.known.items()}
    return {**certain, **dict.fromkeys(content.unseen)}
