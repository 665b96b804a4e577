{{ config(materialized='incremental') }} select id, loaded_at from {{ ref('stg_orders') }}
