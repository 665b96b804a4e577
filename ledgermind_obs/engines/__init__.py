"""From a dbt project to a freshness report."""
