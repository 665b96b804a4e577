-- Feedback that the table does not have, an hour after it was given; younger feedback may have come during the run.
select feedback.feedback_id
from {{ ref('stg_suggestion_feedback') }} as feedback
inner join {{ ref('stg_suggestion_events') }} as events on feedback.event_id = events.event_id
left join {{ ref('fct_suggestions_eval') }} as eval on feedback.feedback_id = eval.feedback_id
where
    eval.feedback_id is null
    and feedback.feedback_at < current_timestamp - interval '1 hour'
