{{ config(enabled=false) }}
select id from {{ source('lab', 'very_stale') }}
