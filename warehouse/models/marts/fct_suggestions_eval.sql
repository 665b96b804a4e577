{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='event_id',
        on_schema_change='fail',
        indexes=[{'columns': ['event_id']}]
    )
}}

{# Feedback, true label and category may come, or change, long after the suggestion. #}
{% set changeable %}
    event_id, feedback_id, user_action, user_selected_label, true_label, label_source, current_category
{% endset %}

with evaluated as (
    select
        events.event_id,
        feedback.feedback_id,
        events.txn_id,
        events.suggestion_mode,
        events.model_id,
        events.features_hash,
        jsonb_path_query_array(events.candidates, '$[*].label') as suggested_categories,
        events.suggested_at,

        feedback.user_action,
        feedback.user_selected_label,
        feedback.user_confidence,
        feedback.user_reason,
        feedback.feedback_at,

        labels.label as true_label,
        labels.label_source,

        transactions.txn_date,
        transactions.merchant,
        transactions.merchant_canonical,
        transactions.amount,
        transactions.current_category,

        case feedback.user_action when 'accept' then 1 when 'reject' then 0 end as is_accepted,
        case
            when feedback.user_action = 'accept'
                then (labels.label = feedback.user_selected_label)::int
        end as is_correct_accept,
        case
            when feedback.user_action = 'reject'
                then (labels.label <> feedback.user_selected_label)::int
        end as is_correct_reject
    from {{ ref('stg_suggestion_events') }} as events
    left join {{ ref('stg_suggestion_feedback') }} as feedback on events.event_id = feedback.event_id
    left join {{ ref('stg_transaction_labels') }} as labels on events.txn_id = labels.txn_id
    left join {{ ref('stg_transactions') }} as transactions on events.txn_id = transactions.txn_id
)

select *
from evaluated
{% if is_incremental() %}
-- A high-water mark of times would miss rows committed late; what differs from the table is exact.
where event_id in (
    select changed.event_id
    from (
        select {{ changeable }} from evaluated
        except
        select {{ changeable }} from {{ this }}
    ) as changed
)
{% endif %}
