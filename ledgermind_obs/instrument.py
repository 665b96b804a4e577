"""Option C: an application's own gauge of when its source tables were last loaded.

    from ledgermind_obs.instrument import loaded

    loaded("transactions", session.query(func.max(Transaction.created_at)).scalar())

or, with the bare gauge of ``prometheus_client``:

    from ledgermind_obs.instrument import dbt_source_loaded_at

    dbt_source_loaded_at.labels(table="transactions").set(newest_row.timestamp())

The names are those of ``obs freshness push``, so the same alerts and the same dashboard work with
it. ``project``, ``target``, and ``package`` and ``source`` where they are left out here, come from
the labels of the scrape configuration.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Gauge

from ledgermind_obs.freshness import SourceKey, State
from ledgermind_obs.metrics import LOADED_AT, STATUS, Metric


class LoadedAtGauge:
    """The Unix time of a source's newest row, as this process knows it."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        """Register the gauge; of several processes of one application the newest time counts."""
        self._loaded_at = _gauge(LOADED_AT, registry, "max")
        self._status = _gauge(STATUS, registry, "mostrecent")

    def labels(self, table: str, *, source: str = "", package: str = "") -> Gauge:
        """Return the gauge of one source table; two sources may have one table name."""
        key = SourceKey(package, source, table)._asdict()
        return self._loaded_at.labels(*LOADED_AT.values(key))

    def loaded(
        self, table: str, at: datetime | None, *, source: str = "", package: str = ""
    ) -> None:
        """Tell the time of a table's newest row, or None for a table without a row.

        A time without a zone is UTC, as it is for dbt, whatever zone this process runs in. In
        multi-process mode an empty table's earlier time stays beside its state, with a warning.
        """
        key = SourceKey(package, source, table)._asdict()
        own = LOADED_AT.values(key)
        self._status.labels(*STATUS.values({**key, "status": State.EMPTY})).set(at is None)
        if at is None:
            with suppress(KeyError):  # prometheus_client before 0.23 minds a table it never knew
                self._loaded_at.remove(*own)
        else:
            self._loaded_at.labels(*own).set(_unix_time(at))


def _gauge(
    metric: Metric, registry: CollectorRegistry, mode: Literal["max", "mostrecent"]
) -> Gauge:
    """Return the metric's gauge; ``mode`` says which of several processes' values counts."""
    return Gauge(metric.name, metric.help, metric.labels, registry=registry, multiprocess_mode=mode)


def _unix_time(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


dbt_source_loaded_at = LoadedAtGauge()
loaded = dbt_source_loaded_at.loaded
