select
    id as feedback_id,
    event_id,
    txn_id,
    action as user_action,
    label as user_selected_label,
    confidence as user_confidence,
    reason as user_reason,
    user_id,
    created_at as feedback_at
from {{ source('app', 'suggestion_feedback') }}
