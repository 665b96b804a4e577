select f.id, f.loaded_at
from {{ ref('stg_fresh') }} as f
inner join {{ ref('stg_stale') }} as s on s.id = f.id
