select 1 / (id - id) as id from {{ ref('stg_orders') }}
