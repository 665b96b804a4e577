"""PostgreSQL asked directly: over a few connections, read-only, each look-up within its time.

One look-up that fails costs itself its answer and nothing else. A connection that is lost is made
once more; what is unanswered after that, or at the deadline, is said to be so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from datetime import datetime
from typing import Any

import msgspec
import psycopg2
from psycopg2.errors import QueryCanceled
from psycopg2.extensions import connection as Session  # noqa: N812 - it is a session to PostgreSQL

from ledgermind_obs.dbt.profiles import Profile
from ledgermind_obs.engines.postgres.lookups import (
    BATCH_SIZE,
    Answer,
    Lookup,
    batches,
    common_statement,
    sole_row,
)
from ledgermind_obs.engines.postgres.plans import Plan, Size
from ledgermind_obs.errors import DbtError

# How long a common statement may take, and wait for a lock, before its look-ups are asked alone.
TOGETHER_SECONDS = 1.0
# How long a look-up may wait for a table that somebody else has locked.
LOCK_SECONDS = 10.0
# Connections made without hesitation if there is work for them; how long until one more follows.
EAGER = 2
PATIENCE_SECONDS = 0.1
# A worker's connections: the first, and one more when that is lost.
LIVES = 2
# PostgreSQL counts a limit in milliseconds, in 31 bits.
LONGEST_SECONDS = (2**31 - 1) / 1000
# How long a look-up may take to be planned, and wait for a lock meanwhile (--explain).
PLAN_SECONDS, PLAN_LOCK_SECONDS = 10.0, 1.0

# Negative, or 0 before PostgreSQL 14, stands for a table that was never analyzed.
_SIZES = """
select n.nspname || '.' || c.relname,
    case when c.reltuples > 0 or c.relpages > 0 then c.reltuples::bigint end,
    pg_relation_size(c.oid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname || '.' || c.relname = any(%s) and c.relkind in ('r', 'm')
"""

NO_ANSWER = "no answer before the deadline (--timeout)"

# psycopg2 cannot read every time that PostgreSQL has, such as one in the year 10000.
_FAILURES = (psycopg2.Error, ValueError, OverflowError)


def connect(profile: Profile) -> Session:
    """Return an idle session, tried as often as dbt tries; raises psycopg2.Error."""
    for attempt in range(profile.retries):
        with suppress(psycopg2.OperationalError):
            return _session(profile)
        time.sleep(attempt**2)
    return _session(profile)


def _session(profile: Profile) -> Session:
    session: Session = psycopg2.connect(**profile.parameters)
    session.autocommit = True  # psycopg2 would begin by a message of its own
    if profile.role:
        _execute(session, f"begin; set local role {profile.role}; rollback")  # is it granted?
    return session


def _reach(profile: Profile) -> Session:
    try:
        return connect(profile)
    except psycopg2.Error as error:
        raise _unreachable(profile, _one_line(error)) from error


def _unreachable(profile: Profile, reason: str) -> DbtError:
    return DbtError(f"could not reach the database: {reason}", f"see {profile.place}")


def ask(
    profile: Profile,
    lookups: Sequence[Lookup],
    *,
    threads: int,
    query_seconds: float,
    deadline: float,
    batch_size: int = BATCH_SIZE,
    on_answer: Callable[[str], None] = lambda _: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, Answer]:
    """Return an answer for every look-up, by unique id; ``deadline`` is of the monotonic clock.

    ``on_answer`` is called with each id as it is answered, by one worker at a time; ``meanwhile``
    once, while the first questions are on their way.
    Raises DbtError where the database cannot be reached at all.
    """
    waiting = deque(batches(lookups, batch_size))
    work = _Work(profile, threads, query_seconds, deadline, waiting, on_answer)
    work.share(meanwhile)
    if work.fault:
        raise work.fault
    answers = dict(work.answers)
    if not work.reached:
        reason = _one_line(work.lost) if work.lost else NO_ANSWER
        raise _unreachable(profile, reason) from work.lost
    unanswered = Answer(error=work.reason)
    return {lookup.unique_id: answers.get(lookup.unique_id, unanswered) for lookup in lookups}


class _Work(msgspec.Struct):
    """The look-ups of one run: those to do, those answered, and how a connection was last lost.

    The first worker that gets in lets a second one try, so that a refusal is one only. More follow
    when it takes long: a connection costs a server as much as fifty quick look-ups.
    """

    profile: Profile
    threads: int
    query_seconds: float
    deadline: float
    waiting: deque[list[Lookup]]
    on_answer: Callable[[str], None]
    answers: dict[str, Answer] = msgspec.field(default_factory=dict)
    workers: list[threading.Thread] = msgspec.field(default_factory=list)
    taken: int = 0  # of the threads; one that failed to connect, or to stay so, keeps its place
    lock: threading.Lock = msgspec.field(default_factory=threading.Lock)
    reached: bool = False
    lost: Exception | None = None
    cut_off: bool = False  # by the deadline, with work left
    fault: Exception | None = None

    @property
    def reason(self) -> str:
        """Why something is not answered: a connection lost before the deadline did not matter."""
        return _one_line(self.lost) if self.lost and not self.cut_off else NO_ANSWER

    def share(self, meanwhile: Callable[[], None]) -> None:
        """Let workers do all there is to do until the deadline."""
        self.hire(1)
        meanwhile()
        for worker in self.workers:  # it grows until the last of them has ended
            self._await(worker)

    def _await(self, worker: threading.Thread) -> None:
        while worker.is_alive() and (left := self.deadline - time.monotonic()) > 0:
            worker.join(min(left, PATIENCE_SECONDS))
            if self.reached:
                self.hire(self.threads)
        self.cut_off = self.cut_off or worker.is_alive()

    def hire(self, most: int) -> None:
        """Start one more worker if there is work for it, and fewer than ``most`` are there.

        They are daemons: one that hangs in a dead network must not keep the process.
        """
        with self.lock:
            if self.waiting and self.taken < min(most, self.threads):
                self.taken += 1
                self.workers.append(threading.Thread(target=self.work, daemon=True))
                self.workers[-1].start()

    def work(self) -> None:
        """Do batches until there is none; keep a fault of ours, which a thread would only print."""
        try:
            self._work()
        except Exception as error:
            self.fault = error

    def _work(self) -> None:
        """Do batches until there is none; take up the one during which a connection was lost."""
        for _ in range(LIVES):
            session = self._session()
            if session is None:
                return
            try:
                self.work_off(session)
            except psycopg2.Error as error:
                self.lost = error
            else:
                self._leave()
                return
            finally:
                session.close()

    def _leave(self) -> None:
        with self.lock:
            self.taken -= 1

    def _session(self) -> Session | None:
        try:
            session = connect(self.profile)
        except psycopg2.Error as error:
            self.lost = error
            return None
        self.reached = True
        return session

    def work_off(self, session: Session) -> None:
        """Do batches over one session; raises psycopg2.Error where it is lost."""
        while batch := self._next():
            self.hire(EAGER)
            try:
                self._do(session, batch)
            except psycopg2.Error:
                self.waiting.appendleft(batch)
                raise

    def _next(self) -> list[Lookup]:
        if self._is_late() and self.waiting:
            self.cut_off = True
            return []
        with suppress(IndexError):
            return self.waiting.popleft()
        return []

    def _is_late(self) -> bool:
        return time.monotonic() >= self.deadline

    def _do(self, session: Session, batch: Sequence[Lookup]) -> None:
        """Answer all of the batch at once, or let each of it wait to be asked alone."""
        if len(batch) == 1:
            [lookup] = batch
            self._take(lookup, self._alone(session, lookup))
        elif not self._together(session, batch):
            self.waiting.extend([lookup] for lookup in batch)

    def _take(self, lookup: Lookup, answer: Answer) -> None:
        self.answers[lookup.unique_id] = answer
        with self.lock:
            self.on_answer(lookup.unique_id)

    def _together(self, session: Session, batch: Sequence[Lookup]) -> bool:
        """Ask for all at once; return whether that was answered, all of it."""
        seconds = min(TOGETHER_SECONDS, self.query_seconds)
        try:
            row = self._fetch(session, common_statement(batch), seconds, seconds)[0]
        except _FAILURES as error:
            _carry_on(session, error)
            return False
        now, *values = row
        for lookup, value in zip(batch, values, strict=True):
            self._take(lookup, Answer(value, now))
        return True

    def _alone(self, session: Session, lookup: Lookup) -> Answer:
        began = time.monotonic()
        try:
            rows = self._fetch(session, lookup.statement, self.query_seconds, LOCK_SECONDS)
            value, snapshotted_at = sole_row(rows)
        except _FAILURES as error:
            _carry_on(session, error)
            ended = isinstance(error, QueryCanceled) and self._is_late()
            words = NO_ANSWER if ended else str(error).strip()
            return Answer(error=words, seconds=time.monotonic() - began)
        return Answer(value, snapshotted_at, seconds=time.monotonic() - began)

    def _fetch(
        self, session: Session, statement: str, seconds: float, lock_seconds: float
    ) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own, within the time that is left of all."""
        seconds = min(seconds, self.deadline - time.monotonic())
        return fetch(session, statement, seconds, lock_seconds, self.profile.role)


class Explained(msgspec.Struct, frozen=True):
    """PostgreSQL's plan of a look-up, or why there is none."""

    plan: Plan | None = None
    error: str = ""


def plans(profile: Profile, lookups: Sequence[Lookup], deadline: float) -> dict[str, Plan]:
    """Return how PostgreSQL would look each one up if it avoided reading whole tables.

    Nothing is run; what cannot be planned is left out. ``deadline`` is of the monotonic clock.
    Raises DbtError if the database cannot be reached or does not explain all by then.
    """
    found = explained(profile, lookups, deadline)
    return {unique_id: each.plan for unique_id, each in found.items() if each.plan}


def explained(profile: Profile, lookups: Sequence[Lookup], deadline: float) -> dict[str, Explained]:
    """Return for each look-up its plan or, if it may not or cannot be run, the database's words.

    Nothing is run; see ``plans``. Raises DbtError as it does.
    """
    planning = _Planning(profile, lookups=lookups)
    _within(deadline, planning.run, planning)
    found = dict(planning.found)
    if len(found) < len(lookups):
        raise DbtError(
            f"PostgreSQL explained {len(found)} of {len(lookups)} look-ups before the deadline",
            "give a longer --timeout, or leave out --explain",
        )
    return found


def sizes(profile: Profile, names: Iterable[str], deadline: float) -> dict[str, Size]:
    """Return how large tables are, by ``schema.table``; one that is not told is left out.

    Raises DbtError if the database does not answer by the deadline.
    """
    sizing = _Sizing(profile, names=tuple(names))
    _within(deadline, sizing.run, sizing)
    return dict(sizing.found)


def clock(profile: Profile, deadline: float) -> datetime:
    """Return the database's time; raises DbtError if it does not tell by then."""
    asking = _Clock(profile)
    _within(deadline, asking.run, asking)
    if asking.now is None:
        raise _unreachable(profile, "timed out")
    return asking.now


def _within(deadline: float, work: Callable[[float], None], outcome: _Asking) -> None:
    """Let work go on until the deadline, and raise what it failed by.

    It is a daemon's: one that hangs in a dead network must not keep the process.
    """
    thread = threading.Thread(target=outcome.keep_failure, args=(work, deadline), daemon=True)
    thread.start()
    thread.join(max(0.0, min(deadline - time.monotonic(), threading.TIMEOUT_MAX)))
    if outcome.failure:
        raise outcome.failure


class _Asking(msgspec.Struct):
    """Something that is asked over one session; ``failure`` is what it failed by."""

    profile: Profile
    failure: Exception | None = None

    def keep_failure(self, work: Callable[[float], None], deadline: float) -> None:
        """Do the work; keep what goes wrong, which a thread would only print."""
        try:
            work(deadline)
        except psycopg2.Error as error:
            lost = f"lost the database: {_one_line(error)}"
            self.failure = DbtError(lost, f"see {self.profile.place}")
        except Exception as error:
            self.failure = error


class _Clock(_Asking):
    """The database's time."""

    now: datetime | None = None

    def run(self, deadline: float) -> None:
        """Ask for it."""
        with closing(_reach(self.profile)) as session:
            left = deadline - time.monotonic()
            [(self.now,)] = fetch(session, "select now()", left, left, self.profile.role)


class _Sizing(_Asking):
    """The sizes of tables."""

    names: tuple[str, ...] = ()
    found: dict[str, Size] = msgspec.field(default_factory=dict)

    def run(self, deadline: float) -> None:
        """Ask for them, all at once."""
        with closing(_reach(self.profile)) as session:
            left = deadline - time.monotonic()
            asked = (list(self.names),)
            rows = fetch(session, _SIZES, left, PLAN_LOCK_SECONDS, self.profile.role, asked)
            self.found = {name: Size(rows, size) for name, rows, size in rows}


class _Planning(_Asking):
    """The plans of one run, as they are made."""

    lookups: Sequence[Lookup] = ()
    found: dict[str, Explained] = msgspec.field(default_factory=dict)

    def run(self, deadline: float) -> None:
        """Make the plans, until the deadline."""
        with closing(_reach(self.profile)) as session:
            for lookup in self.lookups:
                left = deadline - time.monotonic()
                plan = _plan(session, lookup, min(PLAN_SECONDS, left), self.profile.role)
                if time.monotonic() >= deadline:
                    return
                self.found[lookup.unique_id] = plan


def _plan(session: Session, lookup: Lookup, seconds: float, role: str) -> Explained:
    statement = f"explain (verbose, format json) {lookup.statement}"
    try:
        _begin(session, seconds, PLAN_LOCK_SECONDS, role)
        _execute(session, "set local enable_seqscan = off")
        [(plans,)] = _rows(session, statement)
    except _FAILURES as error:
        _carry_on(session, error)
        return Explained(error=_one_line(error))
    plan: Plan = plans[0]["Plan"]
    return Explained(plan)


def fetch(
    session: Session,
    statement: str,
    seconds: float,
    lock_seconds: float,
    role: str = "",
    parameters: Sequence[object] | None = None,
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement in a transaction of its own; raises psycopg2.Error."""
    _begin(session, seconds, lock_seconds, role)
    return _rows(session, statement, parameters)


def _begin(session: Session, seconds: float, lock_seconds: float, role: str) -> None:
    """Begin a read-only transaction with its role and limits, all in one message.

    They end with it: behind a pooler, the session is somebody else's afterwards.
    """
    seconds = min(max(seconds, 0.001), LONGEST_SECONDS)  # to PostgreSQL, 0 is no limit at all
    begin = f"begin read only; set local statement_timeout = {seconds * 1000:.0f}"
    begin += f"; set local lock_timeout = {lock_seconds * 1000:.0f}"
    _execute(session, f"{begin}; set local role {role}" if role else begin)


def _rows(
    session: Session, statement: str, parameters: Sequence[object] | None = None
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, and end its transaction; raises psycopg2.Error."""
    with session.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
        cursor.execute("rollback")
    return rows


def _execute(session: Session, statement: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(statement)


def _carry_on(session: Session, error: Exception) -> None:
    """Make the session ready for the next look-up; raise the error where there is none any more."""
    if session.closed:
        raise error
    _execute(session, "rollback")


def _one_line(error: Exception) -> str:
    from ledgermind_obs.dbt.log import database_message

    return " ".join(database_message(str(error)).split())
