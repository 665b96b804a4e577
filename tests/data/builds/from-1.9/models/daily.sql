{{ config(materialized='incremental', incremental_strategy='microbatch', unique_key='id',
          event_time='loaded_at', batch_size='day', begin='2026-01-01') }}
select id, loaded_at, 1 / (id - 2) as ratio from {{ source('app', 'orders') }}
