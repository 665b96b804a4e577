-- Checked once after loading, which takes a third of the time of a check for each row.
alter table transaction_labels drop constraint if exists transaction_labels_txn_id_fkey;
alter table suggestion_events drop constraint if exists suggestion_events_txn_id_fkey
