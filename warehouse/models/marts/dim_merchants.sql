with by_category as (
    select
        coalesce(merchant_canonical, merchant) as merchant_name,
        target_label as category,
        count(*) as transaction_count,
        sum(abs(amount)) as total_volume,
        round(avg(amount), 2) as avg_amount,
        min(txn_date) as first_seen,
        max(txn_date) as last_seen,
        count(*) filter (where label_source = 'human') as human_labels,
        count(*) filter (where is_subscription) as subscription_count
    from {{ ref('fct_training_view') }}
    group by merchant_name, category
),

with_totals as (
    select
        *,
        (sum(transaction_count) over merchant)::bigint as merchant_total_txns,
        sum(total_volume) over merchant as merchant_volume,
        count(*) over merchant as merchant_category_count,
        sum(subscription_count) over merchant as merchant_subscriptions
    from by_category
    window merchant as (partition by merchant_name)
)

select
    merchant_name,
    category,
    transaction_count,
    total_volume,
    avg_amount,
    first_seen,
    last_seen,
    human_labels,
    subscription_count,
    merchant_total_txns,
    merchant_volume,
    merchant_category_count,
    round(transaction_count::numeric / merchant_total_txns, 4) as category_prior,
    case
        when merchant_category_count = 1 or transaction_count >= 10 then 'high'
        when transaction_count >= 3 then 'medium'
        else 'low'
    end as confidence,
    human_labels > 0 as has_human_labels,
    merchant_subscriptions > 0 as is_subscription_merchant
from with_totals
