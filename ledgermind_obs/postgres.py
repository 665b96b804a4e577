"""PostgreSQL asked directly: over a few connections, read-only, each look-up within its time.

One look-up that fails costs itself its answer and nothing else. A connection that is lost is made
once more; what is unanswered after that, or at the deadline, is said to be so.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Session  # noqa: N812 - it is a session to PostgreSQL

from ledgermind_obs.errors import DbtError
from ledgermind_obs.explain import Plan
from ledgermind_obs.lookups import BATCH_SIZE, Answer, Lookup, batches, common_statement, sole_row
from ledgermind_obs.profiles import Profile

# How long a common statement may take, and wait for a lock, before its look-ups are asked alone.
TOGETHER_SECONDS = 2.0
# How long a look-up may wait for a table that somebody else has locked.
LOCK_SECONDS = 10.0
# A worker's connections: the first, and one more when that is lost.
LIVES = 2

# psycopg2 cannot read every time that PostgreSQL has, such as one in the year 10000.
_FAILURES = (psycopg2.Error, ValueError, OverflowError)


def connect(profile: Profile) -> Session:
    """Return a read-only session, tried as often as dbt tries; raises psycopg2.Error."""
    for attempt in range(profile.retries):
        with suppress(psycopg2.OperationalError):
            return _session(profile)
        time.sleep(attempt**2)
    return _session(profile)


def _session(profile: Profile) -> Session:
    session: Session = psycopg2.connect(**profile.parameters)
    session.set_session(readonly=True)
    if profile.role:
        _execute(session, f"set local role {profile.role}")  # is it granted?
        session.rollback()
    return session


def _reach(profile: Profile) -> Session:
    try:
        return connect(profile)
    except psycopg2.Error as error:
        raise DbtError(
            f"could not reach the database: {_one_line(error)}", f"see {profile.place}"
        ) from error


def ask(
    profile: Profile,
    lookups: Sequence[Lookup],
    *,
    threads: int,
    query_seconds: float,
    deadline: float,
    batch_size: int = BATCH_SIZE,
) -> dict[str, Answer]:
    """Return an answer for every look-up, by unique id; ``deadline`` is of the monotonic clock.

    Raises DbtError where the database cannot be reached at all.
    """
    session = _reach(profile)
    work = _Work(profile, query_seconds, deadline)
    work.batches.extend(batches(lookups, batch_size))
    work.share(session, threads)
    answers = dict(work.answers)
    reason = work.lost or "no answer before the deadline (--timeout)"
    unanswered = Answer(error=reason)
    return {lookup.unique_id: answers.get(lookup.unique_id, unanswered) for lookup in lookups}


@dataclass
class _Work:
    """The look-ups of one run: those to do, those answered, and how a connection was last lost."""

    profile: Profile
    query_seconds: float
    deadline: float
    batches: deque[list[Lookup]] = field(default_factory=deque)
    answers: dict[str, Answer] = field(default_factory=dict)
    lost: str = ""

    def share(self, session: Session, threads: int) -> None:
        """Let workers do all there is to do, the first with ``session``, until the deadline.

        They are daemons: one that hangs in a dead network must not keep the process.
        """
        sessions = [session, *[None] * (min(threads, len(self.batches)) - 1)]
        workers = [threading.Thread(target=self.work, args=(s,), daemon=True) for s in sessions]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(max(0.0, self.deadline - time.monotonic()))

    def work(self, session: Session | None) -> None:
        """Do batches until there is none; take up the one during which a connection was lost."""
        for _ in range(LIVES):
            try:
                session = session or connect(self.profile)
                self.work_off(session)
            except psycopg2.Error as error:
                self.lost = _one_line(error)
            else:
                return
            finally:
                if session:
                    session.close()
            session = None

    def work_off(self, session: Session) -> None:
        """Do batches over one session; raises psycopg2.Error where it is lost."""
        while batch := self._next():
            try:
                self._do(session, batch)
            except psycopg2.Error:
                self.batches.appendleft([b for b in batch if b.unique_id not in self.answers])
                raise

    def _next(self) -> list[Lookup]:
        with suppress(IndexError):
            return self.batches.popleft() if time.monotonic() < self.deadline else []
        return []

    def _do(self, session: Session, batch: Sequence[Lookup]) -> None:
        if len(batch) == 1 or not self._together(session, batch):
            for lookup in batch:
                self.answers[lookup.unique_id] = self._alone(session, lookup)

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
            self.answers[lookup.unique_id] = Answer(value, now)
        return True

    def _alone(self, session: Session, lookup: Lookup) -> Answer:
        began = time.monotonic()
        try:
            rows = self._fetch(session, lookup.statement, self.query_seconds, LOCK_SECONDS)
            value, snapshotted_at = sole_row(rows)
        except _FAILURES as error:
            _carry_on(session, error)
            return Answer(error=str(error).strip(), seconds=time.monotonic() - began)
        return Answer(value, snapshotted_at, seconds=time.monotonic() - began)

    def _fetch(
        self, session: Session, statement: str, seconds: float, lock_seconds: float
    ) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own, within the time that is left of all."""
        seconds = max(0.001, min(seconds, self.deadline - time.monotonic()))
        return fetch(session, statement, seconds, lock_seconds, self.profile.role)


def plans(profile: Profile, lookups: Sequence[Lookup]) -> dict[str, Plan]:
    """Return how PostgreSQL would look each one up if it avoided to read whole tables.

    Nothing is run; what cannot be planned is left out. Raises DbtError where the database cannot be
    reached.
    """
    session = _reach(profile)
    try:
        found = {lookup.unique_id: _plan(session, lookup, profile.role) for lookup in lookups}
    except psycopg2.Error as error:
        raise DbtError(f"lost the database: {_one_line(error)}", f"see {profile.place}") from error
    finally:
        session.close()
    return {unique_id: plan for unique_id, plan in found.items() if plan}


def _plan(session: Session, lookup: Lookup, role: str) -> Plan | None:
    explained = f"explain (verbose, format json) {lookup.statement}"
    try:
        _execute(session, "set local enable_seqscan = off")
        [(plans,)] = fetch(session, explained, 10.0, 1.0, role)
    except _FAILURES as error:
        _carry_on(session, error)
        return None
    plan: Plan = plans[0]["Plan"]
    return plan


def fetch(
    session: Session, statement: str, seconds: float, lock_seconds: float, role: str = ""
) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, and end its transaction; raises psycopg2.Error.

    Role and limits end with it: behind a pooler, the session is somebody else's afterwards.
    """
    limits = f"set local statement_timeout = {seconds * 1000:.0f}"
    limits += f"; set local lock_timeout = {lock_seconds * 1000:.0f}"
    _execute(session, f"{limits}; set local role {role}" if role else limits)
    with session.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
    session.rollback()
    return rows


def _execute(session: Session, statement: str) -> None:
    with session.cursor() as cursor:
        cursor.execute(statement)


def _carry_on(session: Session, error: Exception) -> None:
    """Make the session ready for the next look-up; raise the error where there is none any more."""
    if session.closed:
        raise error
    session.rollback()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
