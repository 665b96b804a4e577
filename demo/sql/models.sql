insert into model_registry
select
    n,
    'lgbm@' || sha,
    phase,
    %(now)s - make_interval(hours => 24 * days),
    'macro F1 ' || f1,
    sha,
    'models/lgbm/' || sha
from (
    select *, left(md5(%(seed)s || ' model ' || n), 12) as sha
    from (values (1, 'live', 120, 0.78), (2, 'canary10', 40, 0.8), (3, 'shadow', 5, 0.81))
        as model (n, phase, days, f1)
) as models
