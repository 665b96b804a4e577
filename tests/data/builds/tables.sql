create table public.orders (id integer, loaded_at timestamptz);
insert into public.orders values (1, '2026-01-01 10:00+00'), (2, '2026-01-02 10:00+00'),
  (3, '2026-01-03 10:00+00');
