select
    id as txn_id,
    user_id,
    tenant_id,
    date as txn_date,
    nullif(trim(merchant), '') as merchant,
    nullif(trim(merchant_canonical), '') as merchant_canonical,
    description,
    amount::numeric as amount,
    category as current_category,
    raw_category,
    account,
    month,
    pending,
    is_demo,
    source,
    created_at,
    updated_at
from {{ source('app', 'transactions') }}
where deleted_at is null
