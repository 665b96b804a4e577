"""dbt's lineage: what an exposure depends on, and what a change reaches."""
