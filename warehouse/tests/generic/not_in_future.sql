{# Fails for a row whose month comes after the current one, in UTC. #}
{% test not_in_future(model, column_name) %}

select {{ column_name }}
from {{ model }}
where
    {{ column_name }}::timestamp
    >= date_trunc('month', current_timestamp at time zone 'UTC') + interval '1 month'

{% endtest %}
