{{ config(materialized='ephemeral') }} select * from {{ ref('history') }}
