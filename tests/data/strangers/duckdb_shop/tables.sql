create schema raw_v2;
create table raw_v2.orders_v2_1 (order_id integer, customer_id integer, _loaded_at timestamp);
insert into raw_v2.orders_v2_1 values (1, 7, now()::timestamp), (2, 8, now()::timestamp);
create table raw_v2.customers (customer_id integer, _loaded_at timestamp);
insert into raw_v2.customers values (7, now()::timestamp);
create table raw_v2.countries (code text);
