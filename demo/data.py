"""The demo's data: the seven source tables, filled by SQL in the server.

The same arguments give the same rows: every choice is a hash of the seed, a purpose and an id.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import psycopg2
from psycopg2.extras import execute_values

from ledgermind_obs.cli.options import Duration

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

Command = Callable[..., Any]

HERE = Path(__file__).parent

MARK = "Demo data; python -m demo.data replaces it."
"""The comment on a table of this loader, which replaces no other table."""

TAXONOMY = (
    *("Groceries", "Dining", "Shopping", "Transport"),
    *("Subscriptions", "Entertainment", "Uncategorized"),
)


class TablesInUseError(Exception):
    """A source table exists and holds data that is not the demo's."""


@dataclass(frozen=True)
class Demo:
    """How much data there is, and how old the newest row of each watched table is at ``now``."""

    transactions: int = 10_000
    transactions_age: timedelta = timedelta(hours=4)
    labels_age: timedelta = timedelta(hours=58)
    features_age: timedelta = timedelta(hours=6)
    history: timedelta = timedelta(days=400)
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    seed: int = 1

    def parameters(self) -> dict[str, Any]:
        """Return what the SQL files refer to; the oldest row precedes every newest one."""
        newest = self.now - self.transactions_age
        oldest_age = max(self.transactions_age, self.labels_age, self.features_age)
        return {
            "count": self.transactions,
            "now": self.now,
            "newest_transaction": newest,
            "newest_label": self.now - self.labels_age,
            "newest_feature": self.now - self.features_age,
            "span": (newest - (self.now - oldest_age - self.history)).total_seconds(),
            "seed": self.seed,
            "taxonomy": list(TAXONOMY),
            "merchants": len(MERCHANTS),
        }


@dataclass(frozen=True)
class Merchant:
    """An invented business: its usual label, how it is paid, and the range of its amounts."""

    name: str
    label: str
    mcc: str
    channel: str
    low: float
    high: float
    is_subscription: bool = False


# The first are the busiest, so the labels take turns.
MERCHANTS = (
    Merchant("Turnip & Tide Market", "Groceries", "5411", "pos", -140, -6),
    Merchant("Copper Ladle Kitchen", "Dining", "5812", "pos", -75, -9),
    Merchant("Pennant Street Outfitters", "Shopping", "5651", "pos", -220, -12),
    Merchant("Tramline Nine", "Transport", "4111", "pos", -32, -2),
    Merchant("Owlbeam Streaming", "Subscriptions", "4899", "online", -18, -8, True),
    Merchant("Lanternfall Cinema", "Entertainment", "7832", "pos", -48, -9),
    Merchant("Quillmark Payroll", "Uncategorized", "6012", "deposit", 900, 4200),
    Merchant("Barley Row Grocers", "Groceries", "5411", "pos", -95, -4),
    Merchant("Noodle Orchard", "Dining", "5814", "online", -42, -8),
    Merchant("Thistle & Thimble Goods", "Shopping", "5999", "online", -160, -7),
    Merchant("Gullwing Fuel Stop", "Transport", "5541", "pos", -70, -15),
    Merchant("Paperkite Reader", "Subscriptions", "5968", "online", -12, -5, True),
    Merchant("Moonpier Arcade", "Entertainment", "7994", "pos", -35, -4),
    Merchant("Transfer to a Friend", "Uncategorized", "4829", "zelle", -400, -10),
    Merchant("Fennel Bridge Foods", "Groceries", "5499", "pos", -80, -5),
    Merchant("Rusted Spoon Diner", "Dining", "5812", "pos", -38, -7),
    Merchant("Larkspur Homeware", "Shopping", "5719", "online", -310, -15),
    Merchant("Saltmarsh Ferry", "Transport", "4111", "online", -55, -12),
    Merchant("Drumlin Cloud Backup", "Subscriptions", "4816", "ach", -10, -3, True),
    Merchant("Velvet Otter Theatre", "Entertainment", "7922", "online", -120, -25),
    Merchant("Counter Withdrawal", "Uncategorized", "6010", "pos", -300, -20),
    Merchant("Greenhatch Co-op", "Groceries", "5411", "pos", -110, -8),
    Merchant("Saffron Gate Takeaway", "Dining", "5814", "online", -55, -14),
    Merchant("Brindle Book Cellar", "Shopping", "5942", "pos", -65, -6),
    Merchant("Hopscotch Scooters", "Transport", "4121", "online", -14, -2),
    Merchant("Marrowstone Gym", "Subscriptions", "7997", "ach", -60, -25, True),
    Merchant("Gravel Hill Bowling", "Entertainment", "7933", "pos", -54, -11),
    Merchant("Returned Item Credit", "Uncategorized", "6012", "deposit", 5, 180),
    Merchant("Pickle Yard Deli", "Groceries", "5451", "pos", -45, -4),
    Merchant("Hearthside Bakery", "Dining", "5462", "pos", -24, -3),
    Merchant("Cobalt Finch Electronics", "Shopping", "5732", "online", -640, -18),
    Merchant("Milestone Parking", "Transport", "7523", "pos", -28, -3),
    Merchant("Kestrel Mobile", "Subscriptions", "4814", "ach", -55, -20, True),
    Merchant("Tumbleweed Minigolf", "Entertainment", "7999", "pos", -40, -8),
    Merchant("Branch Cheque Deposit", "Uncategorized", "6011", "deposit", 20, 800),
)

NAMES = (
    *("transactions", "transaction_labels", "ml_features", "suggestion_events"),
    *("suggestion_feedback", "model_registry", "ml_training_runs"),
)


def _sql(name: str) -> str:
    return (HERE / "sql" / f"{name}.sql").read_text()


def load(session: connection, demo: Demo, *, drop: bool = False) -> dict[str, int]:
    """Replace the source tables' rows in one transaction; return the rows of each table.

    Raises TablesInUseError where a table is not the demo's, unless ``drop`` removes it first.
    """
    with session, session.cursor() as cursor:
        # In UTC, a timestamp without a zone and a date mean what the application means by them.
        cursor.execute("set local timezone = 'UTC'; set local search_path = public")
        cursor.execute("set local lock_timeout = '10s'; set local jit = off")
        _make_tables(cursor, drop)
        _fill(cursor, demo.parameters())
        cursor.execute(f"analyze {', '.join(NAMES)}")
        return {name: _count(cursor, name) for name in NAMES}


def _make_tables(cursor: cursor, drop: bool) -> None:
    if drop:
        cursor.execute(f"drop table if exists {', '.join(NAMES)} cascade")
    _check_all_are_ours(cursor)
    cursor.execute(_sql("tables"))
    cursor.execute(_sql("unlink"))
    for name in NAMES:
        cursor.execute(f"comment on table {name} is %s", [MARK])
    cursor.execute(f"truncate {', '.join(NAMES)}")


def _check_all_are_ours(cursor: cursor) -> None:
    cursor.execute(
        """
        select relname from pg_class
        where relnamespace = 'public'::regnamespace and relname = any(%s)
            and obj_description(oid, 'pg_class') is distinct from %s
        order by relname
        """,
        [list(NAMES), MARK],
    )
    if names := [name for (name,) in cursor.fetchall()]:
        raise TablesInUseError(
            f"not the demo's own: table {', '.join(names)}; name another database in PGDATABASE, "
            "or give --drop to lose the data"
        )


def _fill(cursor: cursor, parameters: dict[str, Any]) -> None:
    cursor.execute(_sql("helpers"), parameters)
    merchants = [(n, *astuple(merchant)) for n, merchant in enumerate(MERCHANTS)]
    execute_values(cursor, "insert into demo_merchant values %s", merchants)
    cursor.execute("analyze demo_merchant")
    cursor.execute(_sql("transactions"), parameters)
    cursor.execute(_sql("newest_labelled"), parameters)
    (newest_labelled,) = cursor.fetchone() or (None,)
    for name in ("labels", "features", "models", "events", "feedback", "runs"):
        cursor.execute(_sql(name), {**parameters, "newest_labelled": newest_labelled})
    cursor.execute(_sql("link"))


def _count(cursor: cursor, name: str) -> int:
    cursor.execute(f"select count(*) from {name}")  # noqa: S608
    (rows,) = cursor.fetchone() or (0,)
    return int(rows)


def _connect() -> connection:
    """Connect as the warehouse's profile does: libpq's variables, with two defaults of its own."""
    return psycopg2.connect(
        host=os.environ.get("PGHOST", "localhost"),
        dbname=os.environ.get("PGDATABASE", "finance"),
        connect_timeout=10,
    )


class Instant(click.ParamType):  # type: ignore[type-arg]
    """A time in ISO 8601, in UTC where it has no zone."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the time with its zone."""
        try:
            time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-03-01T00:30Z", param, ctx)
        return time if time.tzinfo else time.replace(tzinfo=UTC)


def _duration(name: str, default: str, text: str) -> Callable[[Command], Command]:
    return click.option(name, type=Duration(), default=default, show_default=True, help=text)


@click.command()
@click.option(
    "--transactions",
    type=click.IntRange(min=10),
    default=10_000,
    show_default=True,
    help="How many transactions.",
)
@_duration("--transactions-age", "4h", "How old the newest transaction is.")
@_duration("--labels-age", "58h", "How old the newest label is.")
@_duration("--features-age", "6h", "How old the newest feature row is.")
@_duration("--history", "400d", "How far the data goes back behind that.")
@click.option(
    "--now",
    type=Instant(),
    default=lambda: datetime.now(UTC),
    show_default="now",
    help="When the ages hold, in ISO 8601.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Seed for the generated rows.")
@click.option("--drop", is_flag=True, help="Drop the tables, whoever made them, and their views.")
def main(
    transactions: int,
    transactions_age: float,
    labels_age: float,
    features_age: float,
    history: float,
    now: datetime,
    seed: int,
    drop: bool,
) -> None:
    """Fill the source tables with demo data, through libpq's PG… variables."""
    try:
        demo = Demo(
            transactions,
            timedelta(seconds=transactions_age),
            timedelta(seconds=labels_age),
            timedelta(seconds=features_age),
            timedelta(seconds=history),
            now,
            seed,
        )
        with closing(_connect()) as session:
            rows = load(session, demo, drop=drop)
    except (psycopg2.Error, TablesInUseError, OverflowError) as error:
        raise click.ClickException(" ".join(str(error).split())) from error
    for name, count in rows.items():
        click.echo(f"{name:<20}{count:>10}")


if __name__ == "__main__":
    main()
