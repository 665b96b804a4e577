alter table transaction_labels add foreign key (txn_id) references transactions (id);
alter table suggestion_events add foreign key (txn_id) references transactions (id)
