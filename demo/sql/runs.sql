insert into ml_training_runs
select
    'train-' || to_char(started_at, 'YYYYMMDD'),
    started_at,
    started_at + interval '37 minutes',
    (select count(*) from transaction_labels where updated_at < started_at),
    13,
    cardinality(%(taxonomy)s),
    0.81 - 0.004 * weeks,
    0.86 - 0.003 * weeks,
    'models/lgbm/' || left(md5(%(seed)s || ' run ' || weeks), 12),
    'weekly'
from generate_series(1, 12) as weeks
cross join lateral (select %(now)s - make_interval(hours => 168 * weeks) as started_at) as run
