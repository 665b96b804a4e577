select order_id, customer_id from {{ source('raw_v2', 'orders') }}
