{#
  Fails for a row whose label was observed after its feature's month: such a label is not known yet
  when a model is trained on that month. The whole last day belongs to the month.

  Compared in epochs, which do not depend on the session's time zone; a timestamp without a zone
  counts as UTC.
#}
{% test not_after_month_end(model, column_name, ts_month_col, ts_label_col) %}

select {{ ts_month_col }}, {{ ts_label_col }}
from {{ model }}
where
    extract(epoch from {{ ts_label_col }})
    >= extract(epoch from date_trunc('month', {{ ts_month_col }}::timestamp) + interval '1 month')

{% endtest %}
