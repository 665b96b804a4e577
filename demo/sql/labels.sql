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
