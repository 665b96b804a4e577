create schema web;
create schema mobile;
create schema invoices;
create table web.events as select 1 as id, now() as received_at;
create table mobile.events as select 1 as id, now() as received_at;
create table invoices.events as select 1 as id, now() as received_at;
