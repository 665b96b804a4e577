"""Random histories of a warehouse on a simulated clock, with the truth kept beside the record.

The warehouse knows at every moment what each table holds; the record is what ``obs`` would have.
Left out, because no record can tell: rows taken away are not put back before somebody has looked
(and nobody is asked meanwhile); a build that is not on record overlaps no recorded one of its
table, empties nothing, and does not read what a recorded ``--empty`` left behind; and nobody is
asked while dbt runs.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import NamedTuple

from ledgermind_obs.gate.as_of import AsOf, forgotten
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.sinks.history import Build, History, Observation, Outcome
from tests.unit.manifests import exposure, lineage, model, source

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
TOLERANCE = 5 * MINUTE
KINDS = ("table", "table", "incremental", "view", "view", "ephemeral", "snapshot")
PASSING = {"view", "ephemeral"}

Holding = dict[str, float]


class Claim(NamedTuple):
    """What was claimed of a source in a node at a moment, and what was true."""

    node: str
    source: str
    asked_at: float
    claimed: float | None
    truth: float


@dataclass
class Settings:
    """How one history goes: everything is drawn once per history."""

    measured_every: float
    built_every: float
    missed: float
    from_gateway: bool
    clock_gap: float
    other_host: float
    retention: float
    removals: bool
    days: float


@dataclass
class Planned:
    """One node's part in an invocation of dbt."""

    node: str
    begin: float
    end: float
    fails: bool
    commits: bool
    spoils: bool
    skipped: bool = False


@dataclass
class Invocation:
    """One run of dbt: what it builds, and whether anybody records it."""

    name: str
    recorded: bool
    offset: float
    plan: dict[str, Planned]
    parents: dict[str, set[str]] = field(default_factory=dict)


class World:
    """A warehouse, its loads, its builds, and the record of them."""

    def __init__(self, seed: int, settings: Settings | None = None) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a history is to be had again
        self.settings = settings or draw(self.random)
        self.lineage = self._draw_lineage()
        self.rows: dict[str, list[float]] = {uid: [] for uid in self.sources}
        self.frozen: set[str] = set()
        self.content: dict[str, Holding] = {}
        self.tainted: set[str] = set()
        self.observations: dict[str, list[Observation]] = {uid: [] for uid in self.sources}
        self.builds: dict[str, list[Build]] = {}
        self.running = 0
        self.taken: list[tuple[str, float, float, bool]] = []
        self.now = 0.0
        self.on_ask: Callable[[], None] = lambda: None
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    @property
    def sources(self) -> list[str]:
        return list(self.lineage.manifest.sources)

    def at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), action))

    def claims(self) -> Iterator[Claim]:
        """Live through the history, and ask now and then."""
        end, asked = self.settings.days * DAY, self._moments_to_ask()
        self._schedule(end)
        for moment in asked:
            self._live_until(moment)
            if not self.frozen and not self.running:
                yield from self._ask()

    def record(self) -> History:
        return History(self.observations, self.builds)

    def _moments_to_ask(self) -> list[float]:
        end = self.settings.days * DAY
        return sorted(self.random.uniform(0.2 * end, end) for _ in range(6))

    def _live_until(self, moment: float) -> None:
        while self._events and self._events[0][0] <= moment:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.now = moment

    def _ask(self) -> Iterator[Claim]:
        self.on_ask()
        as_of = AsOf(self.lineage, self.record())
        for node in self.tables:
            truth = self.content.get(node, {})
            for uid, claimed in as_of.of(node).items():
                yield Claim(node, uid, self.now, claimed, truth.get(uid, -inf))
        for uid, claimed in as_of.of(EXPOSURE).items():
            yield Claim(EXPOSURE, uid, self.now, claimed, self.holds(EXPOSURE).get(uid, -inf))

    # ---- what is there

    def _draw_lineage(self) -> Lineage:
        rng = self.random
        sources = [source(f"s{number}") for number in range(rng.randint(1, 3))]
        uids, nodes, self.kinds = [uid for uid, _ in sources], [*sources], dict[str, str]()
        for number in range(rng.randint(2, 7)):
            kind = rng.choice(KINDS)
            parents = rng.sample(uids, min(len(uids), rng.choice((1, 1, 2, 3))))
            type_ = "snapshot" if kind == "snapshot" else "model"
            named = model(f"n{number}", *parents, kind=type_, config={"materialized": kind})
            nodes.append(named)
            uids.append(named[0])
            self.kinds[named[0]] = kind
        tops = {uids[-1], rng.choice(list(self.kinds))}
        return lineage(*nodes, exposure("training", *sorted(tops)))

    @property
    def tables(self) -> list[str]:
        return [uid for uid, kind in self.kinds.items() if kind not in PASSING]

    def holds(self, uid: str) -> Holding:
        """Return what somebody who reads a node now finds: of each source the newest row."""
        if uid in self.rows:
            return {uid: max(self.rows[uid], default=-inf)}
        if uid in self.tables:
            return self.content.get(uid, dict.fromkeys(self._sources_of(uid), -inf))
        found = self._read_now(uid)
        return dict.fromkeys(found, -inf) if uid in self.tainted else found

    def _read_now(self, uid: str) -> Holding:
        found: Holding = {}
        for parent in self.lineage.parents(uid):
            for name, newest in self.holds(parent).items():
                found[name] = min(newest, found.get(name, inf))
        return found

    def _sources_of(self, uid: str) -> list[str]:
        return [name for name in self.lineage.ancestors([uid]) if name in self.rows]

    def _read_by(self, uid: str) -> set[str]:
        """Return the tables a node reads, itself or through views, and those views."""
        found: set[str] = set()
        for parent in self.lineage.parents(uid):
            if parent in self.tables:
                found.add(parent)
            elif parent not in self.rows:
                found |= {parent} | self._read_by(parent)
        return found

    # ---- what happens

    def _schedule(self, end: float) -> None:
        rng, settings = self.random, self.settings
        for uid in self.sources:
            self._repeat(end, rng.choice((0.1, 0.5, 2, 6, 24)) * HOUR, partial(self._load, uid))
            if settings.removals:
                self._repeat(end, 4 * DAY, partial(self._remove, uid))
        for number in range(int(end / settings.measured_every)):
            moment = number * settings.measured_every + rng.uniform(0, 30)
            self.at(moment, self._measure)
        self._repeat(end, settings.built_every, self._plan)
        if settings.retention:
            for number in range(1, int(settings.days)):
                self.at(number * DAY, self._forget)

    def _repeat(self, end: float, mean: float, action: Callable[[], None]) -> None:
        moment = self.random.expovariate(1 / mean) * 0.3
        while moment < end:
            self.at(moment, action)
            moment += self.random.expovariate(1 / mean)

    def _load(self, uid: str) -> None:
        if uid in self.frozen:
            return
        rng = self.random
        late = rng.uniform(0, 2 * DAY) if rng.random() < 0.3 else rng.uniform(0, 5 * MINUTE)
        self.rows[uid].append(self.now - late)

    def _remove(self, uid: str) -> None:
        rows = sorted(self.rows[uid])
        if rows:
            self.rows[uid] = rows[: self.random.randrange(len(rows))]
            self.frozen.add(uid)

    def _measure(self) -> None:
        rng, begin = self.random, self.now
        if rng.random() < self.settings.missed:
            return
        end = begin + rng.uniform(1, MINUTE)
        for uid in self.sources:
            if rng.random() > 0.03:  # a query fails now and then
                self.at(rng.uniform(begin, end), partial(self._look, uid, begin, end))

    def _look(self, uid: str, begin: float, end: float) -> None:
        newest = max(self.rows[uid], default=None)
        seen = Observation(begin, end, newest)
        if self.settings.from_gateway:
            told = self.now + self.settings.clock_gap
            seen = Observation(told - TOLERANCE, told + TOLERANCE, newest)
        self.at(end, lambda: self._observed(uid, seen))

    def _observed(self, uid: str, seen: Observation) -> None:
        self.observations[uid].append(seen)
        if seen.newest == max(self.rows[uid], default=None):
            self.frozen.discard(uid)

    # ---- what dbt does

    def _plan(self) -> None:
        rng, clock = self.random, self.now + rng_jitter(self.random)
        chosen = set(self.kinds) if rng.random() < 0.6 else self._some()
        recorded = rng.random() < 0.85
        spoils = recorded and rng.random() < 0.06
        offset = self.settings.clock_gap if rng.random() < self.settings.other_host else 0.0
        run = Invocation(f"run {clock}", recorded, offset, {})
        for node in self.kinds:
            if node in chosen:
                self._plan_node(run, node, clock, spoils=spoils)
        if run.plan:
            self.running += 1
            last = max(part.end for part in run.plan.values())
            self.at(last + 1, lambda: self._ended(run))

    def _some(self) -> set[str]:
        start = self.random.choice(list(self.kinds))
        below = {uid for uid in self.lineage.descendants([start]) if uid in self.kinds}
        return below if self.random.random() < 0.5 else {start}

    def _plan_node(self, run: Invocation, node: str, clock: float, *, spoils: bool) -> None:
        rng = self.random
        run.parents[node] = {p for p in self.lineage.parents(node) if p in run.plan}
        ready = max([clock, *(run.plan[p].end for p in run.parents[node])])
        begin = ready + rng.uniform(0, MINUTE)
        end = begin + rng.choice((rng.uniform(1, 30), rng.uniform(60, 2 * HOUR)))
        if any(
            uid == node and begin <= until and since <= end and not (was and run.recorded)
            for uid, since, until, was in self.taken
        ):
            return
        self.taken.append((node, begin, end, run.recorded))
        fails = rng.random() < 0.08
        # A hook that fails after the commit makes dbt call the model an error.
        commits = not fails or rng.random() < 0.2
        in_part = run.recorded and self.kinds[node] == "incremental" and rng.random() < 0.05
        part = Planned(node, begin, end, fails, commits, spoils or in_part)
        run.plan[node] = part
        self.at(rng.uniform(begin, end), lambda: self._read(run, part))

    def _read(self, run: Invocation, part: Planned) -> None:
        """Read what the parents hold; commit it a little later."""
        read = self._read_by(part.node)
        if any(run.plan[p].skipped or run.plan[p].fails for p in run.parents[part.node]):
            part.skipped = True
            return
        dirty = bool(read & self.tainted)
        if not read.intersection(self.tables) <= self.content.keys() or (
            dirty and not run.recorded
        ):
            part.fails, part.commits = True, False
            return
        if part.commits and self.kinds[part.node] != "ephemeral":
            found = self._read_now(part.node)
            commit = self.random.uniform(self.now, part.end)
            self.at(commit, lambda: self._commit(part, found, dirty=dirty))

    def _commit(self, part: Planned, found: Holding, *, dirty: bool) -> None:
        is_view = self.kinds[part.node] == "view"
        if not is_view:
            self.content[part.node] = dict.fromkeys(found, -inf) if part.spoils else found
        if part.spoils or (dirty and not is_view):
            self.tainted.add(part.node)
        else:
            self.tainted.discard(part.node)

    def _ended(self, run: Invocation) -> None:
        self.running -= 1
        if not run.recorded:
            return
        for node, part in run.plan.items():
            if not part.skipped:
                self.builds.setdefault(node, []).append(self._build(run, part))

    def _build(self, run: Invocation, part: Planned) -> Build:
        written = Outcome.FAILED if part.fails else Outcome.WRITTEN
        return Build(
            started_at=part.begin + run.offset,
            completed_at=part.end + run.offset,
            outcome=Outcome.SPOILT if part.spoils else written,
            run=run.name,
            skew=TOLERANCE if run.offset else 0.0,
        )

    def _forget(self) -> None:
        """Forget what is old, as the memory does."""
        kept = forgotten(self.lineage, self.record(), self.now - self.settings.retention)
        self.observations = {uid: list(seen) for uid, seen in kept.observations.items()}
        self.builds = {uid: list(builds) for uid, builds in kept.builds.items()}


def rng_jitter(rng: random.Random) -> float:
    return rng.uniform(0, 10 * MINUTE)


def draw(rng: random.Random) -> Settings:
    """Return the settings of one history."""
    return Settings(
        measured_every=rng.choice((5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR)),
        built_every=rng.choice((2 * HOUR, 12 * HOUR, DAY)),
        missed=0.1,
        from_gateway=rng.random() < 0.3,
        clock_gap=rng.uniform(-TOLERANCE, TOLERANCE),
        other_host=rng.choice((0.0, 0.0, 1.0)),
        retention=rng.choice((0.0, 0.0, 0.3 * DAY, DAY)),
        removals=rng.random() < 0.5,
        days=rng.uniform(2, 6),
    )


EXPOSURE = "exposure.shop.training"
