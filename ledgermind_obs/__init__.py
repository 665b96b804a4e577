"""dbt source freshness for Prometheus, and the lineage an ML training job stands on."""

__version__ = "0.1.0"
