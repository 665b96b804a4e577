"""The demo's data: the seven source tables, filled by SQL in the server.

The same arguments give the same rows: every choice is a hash of the seed, a purpose and an id.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click
import psycopg2
from psycopg2.extras import execute_values

from ledgermind_obs.cli.options import Duration

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

Command = Callable[..., Any]

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
        """Return what the SQL below refers to; the oldest row precedes every newest one."""
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

TABLES = """
create table if not exists transactions (
    id integer primary key,
    user_id integer,
    tenant_id integer,
    date date not null,
    merchant varchar(256),
    merchant_canonical varchar(256),
    description text,
    amount double precision not null,
    category varchar(128),
    raw_category varchar(128),
    account varchar(128),
    month char(7) not null,
    pending boolean not null default false,
    is_demo boolean not null default false,
    source varchar(32),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    unique (date, amount, description)
);
create table if not exists transaction_labels (
    txn_id integer primary key,
    label text not null,
    source text not null,
    created_at timestamp not null default now(),
    updated_at timestamp not null default now()
);
create table if not exists ml_features (
    txn_id integer primary key,
    ts_month date not null,
    amount numeric,
    abs_amount numeric,
    merchant text,
    mcc text,
    channel text,
    hour_of_day smallint,
    dow smallint,
    is_weekend boolean,
    is_subscription boolean,
    norm_desc text,
    tokens text[],
    created_at timestamp not null default now()
);
create table if not exists suggestion_events (
    id uuid primary key,
    txn_id integer not null,
    model_id varchar,
    features_hash varchar,
    candidates jsonb not null,
    mode varchar not null,
    created_at timestamp not null default now()
);
create table if not exists suggestion_feedback (
    id uuid primary key,
    event_id uuid,
    txn_id integer not null,
    action varchar not null,
    label varchar(128) not null,
    confidence double precision,
    reason text,
    user_id varchar,
    created_at timestamptz not null default now()
);
create table if not exists model_registry (
    id integer primary key,
    model_id varchar not null unique,
    phase varchar not null,
    created_at timestamptz not null default now(),
    notes text,
    commit_sha varchar,
    artifact_uri varchar
);
create table if not exists ml_training_runs (
    run_id text primary key,
    started_at timestamptz,
    finished_at timestamptz,
    label_count integer,
    feature_count integer,
    class_count integer,
    val_f1_macro double precision,
    val_accuracy double precision,
    model_uri text,
    notes text
)
"""

# Checked once after loading, which takes a third of the time of a check for each row.
UNLINK = """
alter table transaction_labels drop constraint if exists transaction_labels_txn_id_fkey;
alter table suggestion_events drop constraint if exists suggestion_events_txn_id_fkey
"""
LINK = """
alter table transaction_labels add foreign key (txn_id) references transactions (id);
alter table suggestion_events add foreign key (txn_id) references transactions (id)
"""

# draw() is a number in [0, 1) that depends on the seed, a purpose and an id alone; pick() takes the
# element of an array that such a number falls on; merchant_of() prefers the first merchants.
HELPERS = """
create or replace function pg_temp.draw(purpose text, id integer) returns double precision
language sql immutable as $$
    select (hashint4extended(id, hashtextextended(purpose, %(seed)s)) & 4294967295)
        / 4294967296::double precision
$$;
create or replace function pg_temp.pick(choices text[], number double precision) returns text
language sql immutable as $$
    select choices[1 + floor(number * cardinality(choices))::integer]
$$;
create or replace function pg_temp.merchant_of(id integer) returns integer
language sql immutable as $$
    select floor(%(merchants)s * pg_temp.draw('merchant', id) ^ 2)::integer
$$;
create temporary table demo_merchant (
    n integer primary key,
    name text,
    label text,
    mcc text,
    channel text,
    low double precision,
    high double precision,
    is_subscription boolean
) on commit drop
"""

TRANSACTIONS = """
insert into transactions
select
    id,
    1 + user_n,
    1 + mod(user_n, 3),
    created_at::date,
    case
        when draw_merchant < 0.01 then null
        else upper(name) || ' #' || 1 + floor(20 * pg_temp.draw('shop', id))
    end,
    case when draw_merchant >= 0.05 then name end,
    upper(name) || ' REF ' || lpad(id::text, 8, '0'),
    case
        when pg_temp.draw('zero', id) < 0.002 then 0
        else round((high - (high - low) * pg_temp.draw('amount', id) ^ 2)::numeric, 2)
    end,
    case when pg_temp.draw('category', id) < 0.6 then label end,
    'MCC ' || mcc,
    pg_temp.pick('{checking,savings,card}', pg_temp.draw('account', id)),
    to_char(created_at, 'YYYY-MM'),
    created_at > %(now)s - interval '48 hours' and pg_temp.draw('pending', id) < 0.5,
    false,
    pg_temp.pick('{csv,bank_sync,manual}', pg_temp.draw('import', id)),
    created_at,
    created_at,
    case when pg_temp.draw('deleted', id) < 0.005 then created_at + interval '90 minutes' end
from (
    select
        id,
        floor(20 * pg_temp.draw('user', id))::integer as user_n,
        pg_temp.draw('no merchant', id) as draw_merchant,
        %(newest_transaction)s - make_interval(
            secs => %(span)s / (%(count)s - 1)
            * (%(count)s - id + case when id < %(count)s then pg_temp.draw('time', id) else 0 end)
        ) as created_at
    from generate_series(1, %(count)s) as id
) as drawn
inner join demo_merchant on n = pg_temp.merchant_of(id)
"""

# The newest label is observed in the month of its transaction, however long the ages are: one that
# was pending over the turn of the month was booked on the day it was labelled.
NEWEST_LABELLED = """
update transactions
set date = %(newest_label)s::date, month = to_char(%(newest_label)s, 'YYYY-MM')
where id = (select max(id) from transactions where created_at <= %(newest_label)s)
returning id
"""

LABELS = """
insert into transaction_labels
select
    id,
    case
        when pg_temp.draw('other label', id) < 0.9 then usual_label
        else pg_temp.pick(%(taxonomy)s, pg_temp.draw('label', id))
    end,
    pg_temp.pick(
        array[
            'human', 'human', 'rule', 'import',
            'seed_rules_' || to_char(date_trunc('quarter', labelled_at), 'YYYYMMDD')
        ],
        pg_temp.draw('label source', id)
    ),
    case when pg_temp.draw('corrected', id) < 0.1 then created_at else labelled_at end,
    labelled_at
from (
    select
        transactions.id,
        transactions.date,
        transactions.created_at,
        demo_merchant.label as usual_label,
        case
            when transactions.id = %(newest_labelled)s then %(newest_label)s
            else created_at + make_interval(hours => 240) * pg_temp.draw('delay', id) ^ 6
        end as labelled_at
    from transactions
    inner join demo_merchant on n = pg_temp.merchant_of(id)
) as drawn
where
    id = %(newest_labelled)s
    or (
        pg_temp.draw('labelled', id) < 0.7
        and labelled_at < least(%(newest_label)s, date_trunc('month', date) + interval '1 month')
    )
"""

FEATURES = """
insert into ml_features
select
    id,
    date_trunc('month', date),
    amount::numeric,
    abs(amount::numeric),
    lower(coalesce(merchant_canonical, merchant)),
    mcc,
    channel,
    extract(hour from created_at),
    extract(isodow from date) - 1,
    extract(isodow from date) >= 6,
    is_subscription,
    lower(name),
    string_to_array(lower(name), ' '),
    case
        when id = (select max(id) from transactions where created_at <= %(newest_feature)s)
            then %(newest_feature)s
        else least(
            %(newest_feature)s,
            created_at + make_interval(mins => 360) * pg_temp.draw('feature', id)
        )
    end
from transactions
inner join demo_merchant on n = pg_temp.merchant_of(id)
where created_at <= %(newest_feature)s
"""

MODELS = """
insert into model_registry
select
    n,
    'lgbm@' || sha,
    phase,
    %(now)s - make_interval(hours => 24 * days),
    'macro F1 ' || f1,
    sha,
    'models/lgbm/' || sha
from (
    select *, left(md5(%(seed)s || ' model ' || n), 12) as sha
    from (values (1, 'live', 120, 0.78), (2, 'canary10', 40, 0.8), (3, 'shadow', 5, 0.81))
        as model (n, phase, days, f1)
) as models
"""

EVENTS = """
insert into suggestion_events
select
    md5(%(seed)s || ' event ' || txn_id)::uuid,
    txn_id,
    coalesce(model_id, 'heuristic@v1'),
    case when model_id is not null then md5(%(seed)s || ' features ' || txn_id) end,
    jsonb_build_array(
        jsonb_build_object('label', first, 'confidence', sure, 'reasons', '["merchant"]'::jsonb),
        jsonb_build_object('label', second, 'confidence', 0.95 - sure, 'reasons', '[]'::jsonb)
    ),
    case
        when model_id is null then 'heuristic'
        when pg_temp.draw('mode', txn_id) < 0.3 then 'auto'
        else 'model'
    end,
    suggested_at
from (
    select
        id as txn_id,
        case
            when pg_temp.draw('wrong', id) < 0.8 then label
            else pg_temp.pick(%(taxonomy)s, pg_temp.draw('guess', id))
        end as first,
        pg_temp.pick(%(taxonomy)s, pg_temp.draw('second', id)) as second,
        round(0.5 + 0.44 * pg_temp.draw('confidence', id)::numeric, 2) as sure,
        least(%(now)s, created_at + make_interval(mins => 60) * pg_temp.draw('wait', id))
            as suggested_at
    from transactions
    inner join demo_merchant on n = pg_temp.merchant_of(id)
    where pg_temp.draw('suggested', id) < 0.05
) as drawn
left join model_registry
    on phase = case when pg_temp.draw('canary', txn_id) < 0.1 then 'canary10' else 'live' end
    and created_at <= suggested_at
"""

FEEDBACK = """
insert into suggestion_feedback
select
    md5(%(seed)s || ' feedback ' || txn_id || ' ' || nth)::uuid,
    case when pg_temp.draw('no event', txn_id) >= 0.02 then id end,
    txn_id,
    action,
    candidates #>> '{0,label}',
    (candidates #>> '{0,confidence}')::double precision,
    case when action = 'reject' then 'not what I bought' end,
    'user-' || 1 + floor(20 * pg_temp.draw('user', txn_id)),
    answered_at
from (
    select
        events.*,
        nth,
        case
            when pg_temp.draw('action ' || nth, txn_id)
                < case when label is distinct from candidates #>> '{0,label}' then 0.6 else 0.1 end
                then 'reject'
            else 'accept'
        end as action,
        events.created_at + make_interval(hours => 336 * nth) * pg_temp.draw('answer', txn_id) ^ 4
            as answered_at
    from suggestion_events as events
    left join transaction_labels using (txn_id)
    cross join generate_series(1, 2) as nth
) as drawn
where
    answered_at <= %(now)s
    and pg_temp.draw('answered ' || nth, txn_id) < case nth when 1 then 0.6 else 0.05 end
"""

RUNS = """
insert into ml_training_runs
select
    'train-' || to_char(started_at, 'YYYYMMDD'),
    started_at,
    started_at + interval '37 minutes',
    (select count(*) from transaction_labels where updated_at < started_at),
    13,
    cardinality(%(taxonomy)s),
    0.81 - 0.004 * weeks,
    0.86 - 0.003 * weeks,
    'models/lgbm/' || left(md5(%(seed)s || ' run ' || weeks), 12),
    'weekly'
from generate_series(1, 12) as weeks
cross join lateral (select %(now)s - make_interval(hours => 168 * weeks) as started_at) as run
"""

NAMES = (
    *("transactions", "transaction_labels", "ml_features", "suggestion_events"),
    *("suggestion_feedback", "model_registry", "ml_training_runs"),
)


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
    cursor.execute(TABLES)
    cursor.execute(UNLINK)
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
    cursor.execute(HELPERS, parameters)
    merchants = [(n, *astuple(merchant)) for n, merchant in enumerate(MERCHANTS)]
    execute_values(cursor, "insert into demo_merchant values %s", merchants)
    cursor.execute("analyze demo_merchant")
    cursor.execute(TRANSACTIONS, parameters)
    cursor.execute(NEWEST_LABELLED, parameters)
    (newest_labelled,) = cursor.fetchone() or (None,)
    for statement in (LABELS, FEATURES, MODELS, EVENTS, FEEDBACK, RUNS):
        cursor.execute(statement, {**parameters, "newest_labelled": newest_labelled})
    cursor.execute(LINK)


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
@click.option("--seed", type=int, default=1, show_default=True, help="Other rows, alike.")
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
