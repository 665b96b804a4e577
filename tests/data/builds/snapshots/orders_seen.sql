{% snapshot orders_seen %}
{{ config(target_schema='analytics', unique_key='id', strategy='timestamp', updated_at='loaded_at') }}
select * from {{ source('app', 'orders') }}
{% endsnapshot %}
