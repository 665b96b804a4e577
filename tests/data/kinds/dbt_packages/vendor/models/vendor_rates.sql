select * from {{ source('vendor', 'rates') }}
