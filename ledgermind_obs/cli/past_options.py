"""From where ``obs builds push`` learns what was seen of the sources before a build."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.help import PROJECT, Command, in_group
from ledgermind_obs.cli.options import FRESHNESS_JOB, option
from ledgermind_obs.cli.prometheus_options import (
    prometheus_access,
    prometheus_endpoint,
    prometheus_token,
)
from ledgermind_obs.errors import ObsError
from ledgermind_obs.gate.runs import DbtRun
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.metrics import Series
from ledgermind_obs.sinks.deliver import Sink
from ledgermind_obs.sinks.history import Record, with_looks


class Past(msgspec.Struct, frozen=True):
    """Who is asked for what was seen before a build: a Prometheus, else the group of a gateway."""

    prometheus: str | None
    token: str
    tenant: str
    job: str

    def learnt(
        self, lineage: Lineage, record: Record, runs: Sequence[DbtRun], sink: Sink | None
    ) -> Record:
        """Return the record with looks at the sources that nobody here has ever looked at.

        A server that cannot be asked is reported, and nothing is claimed from it.
        """
        from ledgermind_obs.gate.past import earliest_build, looks_of_series, unseen_sources

        wanted = unseen_sources(lineage, record)
        invocations = [run.results.metadata.invocation_id or "" for run in runs]
        began = earliest_build(record, invocations)
        if not wanted or began is None:
            return record
        try:
            series = self._series(record, sink, began)
        except ObsError as error:
            warn(f"what was seen before the build cannot be asked: {error}")
            return record
        return with_looks(record, looks_of_series(lineage, wanted, series))

    def _series(self, record: Record, sink: Sink | None, began: float) -> Sequence[Series]:
        from ledgermind_obs.gate.past import LOOKS, before, looks_at
        from ledgermind_obs.sinks.pushgateway import Pushgateway

        if self.prometheus:
            endpoint = prometheus_endpoint(self.prometheus, self.token, self.tenant)
            labels = {"project": record.project, "target": record.target}
            return looks_at(endpoint, labels, before(began))
        return sink.of_job(self.job).known(LOOKS) if isinstance(sink, Pushgateway) else []


def past_options(command: Command) -> Command:
    """Give a command ``--prometheus`` and ``--freshness-job``, made into ``past``."""

    @in_group(
        PROJECT,
        option(
            "--prometheus",
            env="OBS_BUILDS_PROMETHEUS",
            metavar="URL",
            help="Where to ask what was seen of the sources before the build, if this host did "
            "not look.  [default: the Pushgateway]",
        ),
        prometheus_access,
        option(
            "--freshness-job",
            default=FRESHNESS_JOB,
            help="The job of obs freshness push on the Pushgateway.",
        ),
    )
    @functools.wraps(command)
    def wrapper(
        prometheus: str | None,
        prometheus_token_file: Path | None,
        prometheus_tenant: str,
        freshness_job: str,
        **others: Any,
    ) -> Any:
        token = prometheus_token(prometheus_token_file)
        past = Past(prometheus, token, prometheus_tenant, freshness_job)
        return command(past=past, **others)

    return wrapper
