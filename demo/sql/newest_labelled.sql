-- The newest label is observed in the month of its transaction, however long the ages are: one that
-- was pending over the turn of the month was booked on the day it was labelled.
update transactions
set date = %(newest_label)s::date, month = to_char(%(newest_label)s, 'YYYY-MM')
where id = (select max(id) from transactions where created_at <= %(newest_label)s)
returning id
