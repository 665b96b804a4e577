select c.*, r.rate from {{ ref('cleaned') }} c cross join {{ ref('vendor_rates') }} r
