-- draw() is a number in [0, 1) that depends on the seed, a purpose and an id alone; pick() takes the
-- element of an array that such a number falls on; merchant_of() prefers the first merchants.
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
