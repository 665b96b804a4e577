-- One table for every way in which a source can be found. Ages are relative to now.
create schema lab;
create schema other;

create function pg_temp.rows_of_age(age interval) returns table (id bigint, loaded_at timestamptz)
language sql as $$ select n, now() - age - n * interval '1 hour' from generate_series(0, 2) as n $$;

create table lab.fresh as select * from pg_temp.rows_of_age('1 hour');
create table lab.stale as select * from pg_temp.rows_of_age('30 hours');
create table lab.very_stale as select * from pg_temp.rows_of_age('60 hours');
create table lab.missing_column as select id from pg_temp.rows_of_age('1 hour');
create table lab.no_rows as select * from pg_temp.rows_of_age('1 hour') limit 0;
create table lab.only_nulls as select id, null::timestamptz as loaded_at from pg_temp.rows_of_age('0');
create table lab.emptied_by_filter as select * from pg_temp.rows_of_age('1 hour');
create table lab.filtered as
    select *, 'old' as kind from pg_temp.rows_of_age('30 hours')
    union all select *, 'new' from pg_temp.rows_of_age('1 hour');
create table lab.future as select * from pg_temp.rows_of_age('-2 hours');
create table lab.slightly_future as select * from pg_temp.rows_of_age('-2 minutes');
create table lab.naive as
    select id, loaded_at at time zone 'UTC' as loaded_at from pg_temp.rows_of_age('1 hour');
create table lab.date_column as select id, loaded_at::date as loaded_at from pg_temp.rows_of_age('1 hour');
create table lab.text_column as select id, loaded_at::text as loaded_at from pg_temp.rows_of_age('1 hour');
create table lab.null_criteria as select * from pg_temp.rows_of_age('1 hour');
create table lab.warn_only as select * from pg_temp.rows_of_age('400 hours');
create table lab.error_only as select * from pg_temp.rows_of_age('30 hours');
create table lab.expression as
    select id, extract(epoch from loaded_at)::bigint as epoch from pg_temp.rows_of_age('1 hour');
create table lab."MixedCase" as
    select id, loaded_at as "LoadedAt" from pg_temp.rows_of_age('1 hour');
create table lab.denied as select * from pg_temp.rows_of_age('1 hour');
create table lab.without_column as select * from pg_temp.rows_of_age('1 hour');
create table lab.disabled as select * from pg_temp.rows_of_age('1 hour');
create table lab.queried as select * from pg_temp.rows_of_age('1 hour');
create table lab.overridden as select * from pg_temp.rows_of_age('1 hour');
create table other.fresh as select * from pg_temp.rows_of_age('30 hours');
create table other.unset as select * from pg_temp.rows_of_age('1 hour');

create role reader login password 'reader';
grant usage on schema lab, other to reader;
grant select on all tables in schema lab, other to reader;
revoke select on lab.denied from reader;
