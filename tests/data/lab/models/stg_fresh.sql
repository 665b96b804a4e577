select id, loaded_at from {{ source('lab', 'fresh') }}
