select
    id as event_id,
    txn_id,
    mode as suggestion_mode,
    model_id,
    features_hash,
    candidates,
    created_at at time zone 'UTC' as suggested_at
from {{ source('app', 'suggestion_events') }}
