-- A suggestion that is counted as unanswered although it has feedback.
select event_id
from {{ ref('fct_suggestions_eval') }}
group by event_id
having count(*) > count(feedback_id) and count(feedback_id) > 0
