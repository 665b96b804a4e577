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
