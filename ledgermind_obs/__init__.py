"""dbt source freshness for Prometheus, and the lineage that an ML training job depends on."""

__version__ = "0.1.0"
