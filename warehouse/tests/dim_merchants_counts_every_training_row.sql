-- A transaction that is in no row of dim_merchants, or in two.
select counted.n as in_dim_merchants, expected.n as in_fct_training_view
from (select coalesce(sum(transaction_count), 0) as n from {{ ref('dim_merchants') }}) as counted
cross join (select count(*) as n from {{ ref('fct_training_view') }}) as expected
where counted.n <> expected.n
