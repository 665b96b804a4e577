"""The engine that asks PostgreSQL what dbt would ask, without running dbt."""
