select
    txn_id,
    label,
    source as label_source,
    regexp_replace(source, '^seed_rules_\d{8}$', 'seed_rules') as label_source_kind,
    created_at at time zone 'UTC' as label_created_at,
    updated_at at time zone 'UTC' as label_observed_at
from {{ source('app', 'transaction_labels') }}
