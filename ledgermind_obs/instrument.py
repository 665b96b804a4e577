"""Option C: an application's own gauge of when its source tables were last loaded.

    from ledgermind_obs.instrument import dbt_source_loaded_at

    dbt_source_loaded_at.labels(table="transactions").set(newest_row.timestamp())

The name is that of ``obs freshness push``, so the same alerts and the same dashboard work with it.
``project``, ``target``, and ``package`` and ``source`` where they are left out here, come from the
labels of the scrape configuration.
"""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from ledgermind_obs.metrics import LOADED_AT


class LoadedAtGauge:
    """The Unix time of a source's newest row, as this process knows it."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register the gauge; of several processes of one application the newest time counts."""
        self._gauge = Gauge(
            LOADED_AT.name,
            LOADED_AT.help,
            LOADED_AT.labels,
            registry=registry,
            multiprocess_mode="max",
        )

    def labels(self, table: str, *, source: str = "", package: str = "") -> Gauge:
        """Return the gauge of one source table; two sources may have one table name."""
        return self._gauge.labels(package=package, source=source, table=table)


dbt_source_loaded_at = LoadedAtGauge()
