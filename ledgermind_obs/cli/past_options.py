"""From where ``obs builds push`` learns what was seen of the sources before a build."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from ledgermind_obs.cli import warn
from ledgermind_obs.cli.credentials import secret
from ledgermind_obs.cli.help import PROJECT, Command, in_group
from ledgermind_obs.cli.options import FRESHNESS_JOB, option
from ledgermind_obs.errors import ObsError
from ledgermind_obs.gate.runs import DbtRun
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.metrics import Series
from ledgermind_obs.sinks.deliver import Sink
from ledgermind_obs.sinks.history import Record, with_looks

_FILE = click.Path(path_type=Path, dir_okay=False)


class Past(msgspec.Struct, frozen=True):
    """Who is asked for what was seen before a build: a Prometheus, else the group of a gateway."""

    prometheus: str | None
    token: str
    job: str

    def learnt(
        self, lineage: Lineage, record: Record, runs: Sequence[DbtRun], sink: Sink | None
    ) -> Record:
        """Return the record with looks at the sources that nobody here has ever looked at.

        What cannot be asked is told, and nothing is claimed by it.
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
        from ledgermind_obs.http.endpoint import Endpoint, Tls, bearer_auth
        from ledgermind_obs.sinks.pushgateway import Pushgateway

        if self.prometheus:
            authorization = bearer_auth(self.token) if self.token else ""
            endpoint = Endpoint.parse(
                self.prometheus, authorization=authorization, tls=Tls(), timeout=30.0
            )
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
        option(
            "--prometheus-token-file",
            type=_FILE,
            help="File that holds a bearer token; or set OBS_PROMETHEUS_TOKEN.",
        ),
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
        freshness_job: str,
        **others: Any,
    ) -> Any:
        token = secret("OBS_PROMETHEUS_TOKEN", prometheus_token_file)
        return command(past=Past(prometheus, token, freshness_job), **others)

    return wrapper
