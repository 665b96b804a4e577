{{ config(indexes=[{'columns': ['txn_id'], 'unique': true}]) }}

select
    transactions.txn_id,
    transactions.user_id,
    transactions.tenant_id,
    transactions.txn_date,
    transactions.merchant,
    transactions.merchant_canonical,
    transactions.description,
    transactions.amount,
    transactions.current_category,
    transactions.raw_category,
    transactions.account,
    transactions.month,
    transactions.pending,
    transactions.is_demo,
    transactions.source,

    features.ts_month,
    features.feature_amount,
    features.abs_amount,
    features.feature_merchant,
    features.mcc,
    features.channel,
    features.hour_of_day,
    features.dow,
    features.is_weekend,
    features.is_subscription,
    features.norm_desc,
    features.tokens,
    features.feature_created_at,

    labels.label as target_label,
    labels.label_source,
    labels.label_created_at,
    labels.label_observed_at,
    transactions.created_at as txn_created_at
from {{ ref('stg_transactions') }} as transactions
inner join {{ ref('stg_ml_features') }} as features on transactions.txn_id = features.txn_id
inner join {{ ref('stg_transaction_labels') }} as labels on transactions.txn_id = labels.txn_id
where
    transactions.merchant is not null
    and labels.label is not null
    and transactions.amount <> 0
