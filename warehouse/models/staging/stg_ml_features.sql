select
    txn_id,
    ts_month,
    amount as feature_amount,
    abs_amount,
    merchant as feature_merchant,
    mcc,
    channel,
    hour_of_day,
    dow,
    is_weekend,
    is_subscription,
    norm_desc,
    tokens,
    created_at at time zone 'UTC' as feature_created_at
from {{ source('app', 'ml_features') }}
