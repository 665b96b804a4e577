"""What the tables of the scene hold before a run and at its time, and what is true of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

TABLES = ("orders", "payments", "refunds", "events")
UPSTREAM = ("orders", "payments")  # of the exposure
WARN_HOURS, ERROR_HOURS = 24.0, 48.0
RANK = {"pass": 0, "warn": 1, "error": 2}
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class World:
    """How many hours ago the newest row of each table came, before and now, and what fails now."""

    before: Mapping[str, float]
    now: Mapping[str, float]
    failing: tuple[str, ...] = ()
    fatal: str = ""

    def at(self, moment: datetime, *, before: bool) -> dict[str, datetime]:
        """Return each table's newest row."""
        hours = self.before if before else self.now
        return {table: moment - hours[table] * HOUR for table in TABLES}


_BEFORE = {"orders": 4.0, "payments": 30.0, "refunds": 60.0, "events": 2.0}
# payments and refunds did not move on.
_NOW = {"orders": 1.0, "payments": 30.0, "refunds": 60.0, "events": 0.5}
_ALL_FRESH = {"orders": 4.0, "payments": 30.0, "refunds": 5.0, "events": 2.0}

WHOLE = World(_BEFORE, _NOW)
PARTIAL = World(_BEFORE, _NOW, failing=("events",))
FATAL = World(_BEFORE, _NOW, fatal="Database Error\n  connection to server failed: refused")
FRESH = World(_ALL_FRESH, _ALL_FRESH)
# The rows of thirty days were taken away since the last look.
STALE = World(_ALL_FRESH, {**_ALL_FRESH, "payments": 720.0})


def state(loaded_at: datetime) -> str:
    """Return dbt's verdict on a table now."""
    hours = (datetime.now(UTC) - loaded_at) / HOUR
    return "error" if hours > ERROR_HOURS else "warn" if hours > WARN_HOURS else "pass"
