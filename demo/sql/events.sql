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
