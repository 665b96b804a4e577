select c.*, r.rate, 1 as amount from {{ ref('cleaned') }} c cross join {{ ref('vendor_rates') }} r
