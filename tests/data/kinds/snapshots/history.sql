{% snapshot history %}
{{ config(target_schema='s', unique_key='id', strategy='timestamp', updated_at='ordered_at') }}
select * from {{ source('app', 'orders') }}
{% endsnapshot %}
