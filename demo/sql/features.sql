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
