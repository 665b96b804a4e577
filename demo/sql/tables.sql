create table if not exists transactions (
    id integer primary key,
    user_id integer,
    tenant_id integer,
    date date not null,
    merchant varchar(256),
    merchant_canonical varchar(256),
    description text,
    amount double precision not null,
    category varchar(128),
    raw_category varchar(128),
    account varchar(128),
    month char(7) not null,
    pending boolean not null default false,
    is_demo boolean not null default false,
    source varchar(32),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    deleted_at timestamptz,
    unique (date, amount, description)
);
create table if not exists transaction_labels (
    txn_id integer primary key,
    label text not null,
    source text not null,
    created_at timestamp not null default now(),
    updated_at timestamp not null default now()
);
create table if not exists ml_features (
    txn_id integer primary key,
    ts_month date not null,
    amount numeric,
    abs_amount numeric,
    merchant text,
    mcc text,
    channel text,
    hour_of_day smallint,
    dow smallint,
    is_weekend boolean,
    is_subscription boolean,
    norm_desc text,
    tokens text[],
    created_at timestamp not null default now()
);
create table if not exists suggestion_events (
    id uuid primary key,
    txn_id integer not null,
    model_id varchar,
    features_hash varchar,
    candidates jsonb not null,
    mode varchar not null,
    created_at timestamp not null default now()
);
create table if not exists suggestion_feedback (
    id uuid primary key,
    event_id uuid,
    txn_id integer not null,
    action varchar not null,
    label varchar(128) not null,
    confidence double precision,
    reason text,
    user_id varchar,
    created_at timestamptz not null default now()
);
create table if not exists model_registry (
    id integer primary key,
    model_id varchar not null unique,
    phase varchar not null,
    created_at timestamptz not null default now(),
    notes text,
    commit_sha varchar,
    artifact_uri varchar
);
create table if not exists ml_training_runs (
    run_id text primary key,
    started_at timestamptz,
    finished_at timestamptz,
    label_count integer,
    feature_count integer,
    class_count integer,
    val_f1_macro double precision,
    val_accuracy double precision,
    model_uri text,
    notes text
)
