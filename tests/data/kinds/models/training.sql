select * from {{ ref('fct', v=2) }} join {{ ref('codes') }} using (id)
