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
