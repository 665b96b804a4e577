"""Whether the tables upstream of an exposure may be read: built, tested, and of data not too old.

Pure: what is known of them, what the sources' limits are, and what is allowed give a judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from ledgermind_obs.freshness import SourceFreshness, State
from ledgermind_obs.gate.built import AsOfSources, Builds, Built
from ledgermind_obs.gate.policy import Permission, Policy, allowed
from ledgermind_obs.lineage.graph import parents_first
from ledgermind_obs.lineage.subgraph import BUILT, Contents
from ledgermind_obs.lineage.upstream import Upstream


class Build(StrEnum):
    """How a node's last build stands."""

    DONE = BUILT
    PARTIAL = "built in part"
    FAILED = "build failed"
    SKIPPED = "build skipped"
    UNKNOWN = "no build known"


_BY_STATUS = {
    "success": Build.DONE,
    "partial": Build.PARTIAL,
    "error": Build.FAILED,
    "skipped": Build.SKIPPED,
}

NEXT_STEPS = {
    Build.PARTIAL: "build it whole: dbt build --select {name}, then obs builds push",
    Build.FAILED: "see dbt's log, mend it, then dbt build --select {name}+ and obs builds push",
    Build.SKIPPED: "mend what failed upstream of it, then dbt build and obs builds push",
    Build.UNKNOWN: "dbt build --select {name}, then obs builds push; "
    "or name what dbt wrote: --run-results",
}
TOO_OLD = "build it from data of now: dbt build --select +{name}, then obs builds push"
UNKNOWN_AGE = "measure before you build: obs freshness push, dbt build, obs builds push"
FAILED_TEST = "see what the test found: dbt test --select {name}"


def contents_of(builds: Builds) -> dict[str, Contents]:
    """Return what each table holds, as a graph shows it."""
    return {
        uid: Contents(_build(built).value, built.built_at, _oldest(built.as_of))
        for uid, built in builds.nodes.items()
        if built.keeps_content
    }


def _oldest(as_of: AsOfSources) -> float | None:
    """Return the oldest moment; None if any is unknown, or there is none."""
    known = [moment for moment in as_of.values() if moment is not None]
    return min(known, default=None) if len(known) == len(as_of) else None


class Age(msgspec.Struct, frozen=True, kw_only=True):
    """How old the data of one source is in a node, and by which limit that is judged.

    ``state`` is None if nothing is known. ``told`` says whether that is news: False if the source
    itself, or a table upstream, is no better, or if a build that failed explains it.
    """

    source: str
    as_of: float | None
    age_seconds: float | None
    state: State | None
    blocks: bool
    limit: str = ""
    limit_seconds: float | None = None
    told: bool = True
    permission: Permission | None = None


class TableJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """One node at the moment of the decision: its build, its tests, the data in it.

    ``ages`` has the data that blocks or was let through by name; if there is none, the oldest.
    """

    uid: str
    build: Build
    built: Built
    blocks_by_build: bool = False
    blocks_by_tests: bool = False
    ages: tuple[Age, ...] = ()
    permissions: tuple[Permission, ...] = ()

    @property
    def blocks(self) -> bool:
        """Whether the exposure may not read it."""
        by_age = any(age.blocks for age in self.ages)
        return self.blocks_by_build or self.blocks_by_tests or by_age

    @property
    def told(self) -> bool:
        """Whether it blocks for a reason of its own, and not only by what is upstream of it."""
        own_age = any(age.blocks and age.told for age in self.ages)
        return self.blocks_by_build or self.blocks_by_tests or own_age

    @property
    def worst(self) -> Age | None:
        """The age that blocks, else the greatest of those that are known."""
        blocking = [age for age in self.ages if age.blocks]
        known = [age for age in blocking or self.ages if age.age_seconds is not None]
        oldest = max(known, key=lambda age: age.age_seconds or 0.0, default=None)
        return oldest or next(iter(blocking), None)


def judge_tables(
    builds: Builds,
    upstream: Upstream,
    sources: Mapping[str, SourceFreshness],
    policy: Policy,
    now: datetime,
) -> tuple[TableJudgement, ...]:
    """Return the judgement of every node of which something should be, or is, known.

    Those upstream come first, and last what the exposure itself reads. Raises ArtifactError if the
    lineage has a cycle.
    """
    ages = _Ages(upstream, sources, policy, now)
    exposure = Built(keeps_content=False, as_of=builds.as_of)
    known = {**builds.nodes, upstream.uid: exposure}
    found = []
    for uid in parents_first(upstream.lineage, upstream.walk):
        if uid not in known:
            ages.of(uid, {}, unbuilt=False)
            continue
        table = _of_build(uid, known[uid], upstream, policy)
        judged = ages.of(uid, known[uid].as_of, unbuilt=table.blocks)
        found.append(msgspec.structs.replace(table, ages=judged))
    return tuple(found)


def _of_build(uid: str, built: Built, upstream: Upstream, policy: Policy) -> TableJudgement:
    """Return the judgement of a node's build and tests, without that of the data in it."""
    names = [uid, upstream.lineage.label(uid)]
    build = _build(built)
    unbuilt = allowed("--allow-unbuilt", policy.allow_unbuilt, names)
    tests = [
        allowed("--allow-failed-test", policy.allow_failed_test, [*names, test])
        for test in built.failed_tests
    ]
    used = [*tests, unbuilt if build is not Build.DONE else None]
    return TableJudgement(
        uid=uid,
        build=build,
        built=built,
        blocks_by_build=build is not Build.DONE and unbuilt is None,
        blocks_by_tests=not all(tests),
        permissions=tuple(dict.fromkeys(filter(None, used))),
    )


def _build(built: Built) -> Build:
    """Return how the last build stands; a view, or a source, need not have been built."""
    if built.keeps_content or built.status:
        return _BY_STATUS.get(built.status, Build.UNKNOWN)
    return Build.DONE


class _Ages:
    """Judges the data in each node, those upstream first."""

    def __init__(
        self,
        upstream: Upstream,
        sources: Mapping[str, SourceFreshness],
        policy: Policy,
        now: datetime,
    ) -> None:
        self._upstream, self._sources, self._policy = upstream, sources, policy
        self._now = now.timestamp()
        self._safe = {uid: self._now - policy.safe_age(each) for uid, each in sources.items()}
        self._bad: dict[str, frozenset[str]] = {}
        self._unbuilt: set[str] = set()

    def of(self, uid: str, as_of: AsOfSources, *, unbuilt: bool) -> tuple[Age, ...]:
        """Return the ages in a node that block, or were let through; if none did the oldest.

        ``unbuilt`` says whether its build blocks already.
        """
        source = self._sources.get(uid)
        if source is not None:
            verdict = self._policy.on_data(source, self._age(_newest(source)))
            self._bad[uid] = frozenset({uid}) if verdict.blocks else _NONE
            return ()
        parents = self._upstream.lineage.parents(uid)
        if unbuilt or not self._unbuilt.isdisjoint(parents):
            self._unbuilt.add(uid)
        inherited = _NONE.union(*(self._bad.get(parent, _NONE) for parent in parents))
        found = tuple(
            self._judged(uid, self._sources[name], as_of[name], told=name not in inherited)
            for name in self._remarkable(as_of)
        )
        self._bad[uid] = inherited.union(age.source for age in found if age.blocks)
        return found

    def _remarkable(self, as_of: AsOfSources) -> list[str]:
        """Return the measured sources whose data may block, or the one whose data is oldest."""
        safe = self._safe
        known = {name: moment for name, moment in as_of.items() if name in safe}
        found = [name for name, at in known.items() if at is None or at < safe[name]]
        if found or not known:
            return found
        return [min(known, key=lambda name: known[name] or 0.0)]

    def _age(self, moment: float | None) -> float | None:
        return None if moment is None else max(0.0, self._now - moment)

    def _judged(
        self, uid: str, source: SourceFreshness, moment: float | None, *, told: bool
    ) -> Age:
        age = self._age(moment)
        verdict = self._policy.on_data(source, age)
        permission = None
        if verdict.state is None and verdict.blocks:
            names = [uid, self._upstream.lineage.label(uid), source.unique_id, source.name]
            permission = allowed("--allow-unknown-age", self._policy.allow_unknown_age, names)
        return Age(
            source=source.unique_id,
            as_of=moment,
            age_seconds=age,
            state=verdict.state,
            blocks=verdict.blocks and permission is None,
            limit=verdict.limit,
            limit_seconds=verdict.limit_seconds,
            told=told and not (verdict.state is None and uid in self._unbuilt),
            permission=permission,
        )


_NONE: frozenset[str] = frozenset()


def _newest(source: SourceFreshness) -> float | None:
    return source.loaded_at.timestamp() if source.loaded_at else None
