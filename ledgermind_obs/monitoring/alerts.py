"""The table of general alerts: one row each, with the cases that prove it.

What a row says of one source, model or exposure gets that source's owner; what it says of a run has
none, and goes to the fall-back.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import msgspec

from ledgermind_obs.errors import DOCS
from ledgermind_obs.monitoring.recorded import (
    ALERT_AFTER,
    DECLARED,
    ERROR_AFTER,
    EXPOSURE_OWNER,
    GATE_AFTER,
    LOADED_AT,
    SOURCE,
    STATUS,
    WARN_AFTER,
    Yaml,
    block,
)

DOCUMENT_RUNBOOK = f"{DOCS}/DATA_QUALITY_COMPLETE.md"
STALE_SECTION = "freshness-check-fails"

_HOURS_OLD = '{{ printf "%.0f" $value }} hours ago'
_NO_TRAINING = "Do not run ML training on it. "
_PLACE = "(project {{ $labels.project }}, target {{ $labels.target }})"
_TABLE = "{{ $labels.source }}.{{ $labels.table }} " + _PLACE


class About(Enum):
    """What a series of a case is about, by the labels that it has beside project and target."""

    RUN = "the whole run"
    SOURCE = "a source of the project"
    OTHER = "a source that the project does not know"
    MODEL = "a model"
    EXPOSURE = "an exposure and a source"


class Given(msgspec.Struct, frozen=True):
    """A series of a promtool case; ``values`` are in steps of two minutes, in promtool's form."""

    metric: str
    values: str
    about: About = About.RUN
    status: str = ""


class Owned(msgspec.Struct, frozen=True):
    """How series find their owner: in a metric, by labels that both have.

    ``identity`` are all labels that tell the series apart; ``labels`` are what they get.
    """

    metric: str
    by: str
    labels: str
    identity: str

    def added_to(self, expr: str) -> str:
        """Return the expression with the owner's labels on each series that has an owner."""
        lines = "\n".join(f"  {line}" for line in block(expr).split("\n"))
        return (
            f"(\n{lines}\n)\n"
            f"  + on ({self.by}) group_left ({self.labels}) 0 * {self.metric}\n"
            f"  or on ({self.identity})\n(\n{lines}\n)"
        )


BY_SOURCE = Owned(ALERT_AFTER, DECLARED, "owner, exposures", SOURCE)
BY_EXPOSURE = Owned(EXPOSURE_OWNER, "project, exposure", "owner", f"exposure, {SOURCE}")


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert: its rule, its texts, and series with which it fires and does not fire.

    ``owned`` says how its owner is found, None for no owner. A case begins at 0, the alert is
    silent after four minutes, and fires, or does not, after ninety.
    """

    name: str
    expr: str
    lasts: str = "30m"
    severity: str = "warning"
    section: str
    summary: str
    last_update: str
    description: str
    owned: Owned | None = BY_SOURCE
    fires: tuple[Given, ...]
    silent: tuple[Given, ...]

    def rule(self, runbook: str) -> Yaml:
        """Return the rule; ``runbook`` is the address of the page with the sections."""
        return {
            "alert": self.name,
            "expr": block(self.owned.added_to(self.expr) if self.owned else self.expr),
            **({"for": self.lasts} if self.lasts else {}),
            "labels": {"severity": self.severity},
            "annotations": {
                "summary": self.summary,
                "last_update": self.last_update,
                "description": self.description,
                **links(runbook, self.section),
            },
        }


def links(runbook: str, section: str) -> dict[str, str]:
    """Return the annotations that lead to the runbook and to Prometheus."""
    return {
        "runbook_url": f"{runbook}#{section}",
        "prometheus_url": "{{ $externalURL }}/alerts",
    }


def general_alerts(critical_after: float | None, *, gated: bool) -> list[Alert]:
    """Return the alerts that every project has.

    ``critical_after`` is the age in seconds from which on any source is critical, None for no such
    age; ``gated`` says whether a gate has limits of its own.
    """
    limits = list(_critical_limits(critical_after, gated=gated))
    critical = (_critically_stale("\n  or\n".join(limits), critical_after),) if limits else ()
    return [*critical, *_stale_by_own_limits(critical_after), *_ALERTS]


def _critical_limits(critical_after: float | None, *, gated: bool) -> Iterator[str]:
    if gated:
        yield f"(time() - {LOADED_AT} > on ({DECLARED}) group_left () {GATE_AFTER}) / 3600"
    if critical_after is not None:
        yield f"(time() - {LOADED_AT} > {critical_after:.15g}) / 3600"


def _critically_stale(expr: str, critical_after: float | None) -> Alert:
    about = About.SOURCE if critical_after is None else About.OTHER
    limit = "" if critical_after is None else f" (>{days(critical_after)})"
    # Without an age of its own the row's cases are the project's: they need a limit from the gate.
    age = 10**9 if critical_after is None else critical_after + 60
    advice = "A job with a gate will not run on it. " if critical_after is None else _NO_TRAINING
    return Alert(
        name="SourceCriticalStale",
        expr=expr,
        lasts="1h",
        severity="critical",
        section=STALE_SECTION,
        summary="{{ $labels.table }} source is critically stale" + limit,
        last_update=_HOURS_OLD,
        description=(
            f"The newest row of {_TABLE} "
            f'is {{{{ printf "%.0f" $value }}}} hours old. {advice}'
            "See whether the job that loads it ran, and what it logged."
        ),
        fires=(Given("dbt_source_loaded_at_seconds", f"-{age:.15g}x50", about),),
        silent=(Given("dbt_source_loaded_at_seconds", "120+120x50", about),),
    )


def days(seconds: float) -> str:
    """Return a limit in the largest unit that divides it, such as ``2 days`` or ``1 hour``."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % length == 0 and seconds:
            return _counted(seconds / length, unit)
    return _counted(seconds, "second")


def _counted(count: float, unit: str) -> str:
    return f"{count:.15g} {unit}{'' if count == 1 else 's'}"


def _stale_by_own_limits(critical_after: float | None) -> Iterator[Alert]:
    """Yield the alerts on sources whose limit no other alert has."""
    warn = f"(time() - {LOADED_AT} > on ({SOURCE}) {WARN_AFTER}) / 3600"
    shorter = ERROR_AFTER
    if critical_after is not None:  # from then on SourceCriticalStale takes over
        shorter = f"({ERROR_AFTER} < {critical_after:.15g})"
    error = f"(time() - {LOADED_AT} > on ({SOURCE}) {shorter}) / 3600"
    for severity, lasts, expr, owned, limit in (
        ("warning", "30m", warn, BY_SOURCE, "dbt_source_warn_after_seconds"),
        ("critical", "1h", error, None, "dbt_source_error_after_seconds"),
    ):
        yield Alert(
            name="SourceStale",
            expr=expr,
            lasts=lasts,
            severity=severity,
            section=STALE_SECTION,
            owned=owned,
            summary="{{ $labels.table }} source is older than its own limit",
            last_update=_HOURS_OLD,
            description=(
                f"The newest row of {_TABLE} is "
                '{{ printf "%.1f" $value }} hours old, more than its freshness in the dbt project '
                "allows. See whether the job that loads it still runs."
            ),
            fires=_of_age(-7260, limit),
            silent=_of_age(0, limit),
        )


def _of_age(loaded_at: int, limit: str) -> tuple[Given, ...]:
    """Return a source that the project does not know, with a limit of two hours."""
    return (
        Given("dbt_source_loaded_at_seconds", f"{loaded_at}x50", About.OTHER),
        Given(limit, "7200x50", About.OTHER),
    )


def _state(status: str, *, holds: bool) -> tuple[Given, ...]:
    return (
        Given("dbt_source_freshness_status", f"{int(holds)}x50", About.SOURCE, status),
        Given("dbt_source_info", "1x50", About.SOURCE),
    )


_RUNNING = Given("dbt_freshness_run_timestamp_seconds", "0+120x50")

_ALERTS = (
    Alert(
        name="SourceEmpty",
        expr=f'{STATUS}{{status="empty"}} == 1',
        severity="critical",
        section="source-is-empty",
        summary="{{ $labels.table }} source is empty",
        last_update="the table has no row",
        description=f"{_TABLE} has no row at all. "
        "See who truncated the table, or whether its filter leaves any row.",
        fires=_state("empty", holds=True),
        silent=_state("empty", holds=False),
    ),
    Alert(
        name="SourceInFuture",
        expr=f'{STATUS}{{status="future"}} == 1',
        section="source-is-in-the-future",
        summary="{{ $labels.table }} source has a row from the future",
        last_update="ahead of the clock, so its age says nothing",
        description=f"The newest row of {_TABLE} is ahead of the database's clock. "
        "Its age would stay small however long nothing is loaded. "
        "See which writer's clock, or time zone, is ahead.",
        fires=_state("future", holds=True),
        silent=_state("future", holds=False),
    ),
    Alert(
        name="SourceQueryFailing",
        expr=f'max by ({SOURCE}) ({STATUS}{{status=~"query_error|missing"}}) == 1',
        section="source-cannot-be-measured",
        summary="{{ $labels.table }} source cannot be measured",
        last_update="not measured",
        description=f"The freshness query of {_TABLE} fails; its last known time is kept. "
        "See whether the table, its column and the permission are still there.",
        fires=_state("query_error", holds=True),
        silent=_state("query_error", holds=False),
    ),
    # Whoever exported it: a wiped Pushgateway, a stopped application, a failing exporter.
    Alert(
        name="SourceSilent",
        expr=f"""
        (time() - {LOADED_AT}) / 3600
          unless on ({SOURCE}) dbt_source_loaded_at_seconds
        """,
        lasts="45m",
        section="source-is-silent",
        summary="{{ $labels.table }} source is silent",
        last_update=_HOURS_OLD + ", as last known",
        description=f"Nothing exports the freshness of {_TABLE} any more. "
        "Its last known time goes on ageing for a week. "
        "See whether the Pushgateway kept its metrics, and whether what exports them runs.",
        fires=(Given("dbt_source_loaded_at_seconds", "0x5 stale", About.SOURCE),),
        silent=(Given("dbt_source_loaded_at_seconds", "0x50", About.SOURCE),),
    ),
    Alert(
        name="FreshnessRunFailing",
        expr="max by (project, target) (last_over_time(dbt_freshness_run_success[7d])) == 0",
        section="freshness-run-fails",
        owned=None,
        summary="freshness runs of {{ $labels.project }} fail",
        last_update="no run gave a report",
        description="obs freshness push of project {{ $labels.project }}, target "
        "{{ $labels.target }} runs and gets no report from dbt; every source keeps its last known "
        "time. See whether the database can be reached, and what the last run logged.",
        fires=(Given("dbt_freshness_run_success", "0x50"),),
        silent=(Given("dbt_freshness_run_success", "1x50"),),
    ),
    # Three runs of a quarter of an hour; five minutes are for a Prometheus that just started.
    Alert(
        name="FreshnessPushMissing",
        expr="""
        (
          time()
            - max by (project, target) (last_over_time(dbt_freshness_run_timestamp_seconds[7d]))
        ) / 60 > 45
        """,
        lasts="5m",
        section="freshness-push-is-missing",
        owned=None,
        summary="no freshness push of {{ $labels.project }} for 45 minutes",
        last_update='{{ printf "%.0f" $value }} minutes ago',
        description="The last run of obs freshness push for project {{ $labels.project }}, target "
        "{{ $labels.target }}, that reached Prometheus started "
        '{{ printf "%.0f" $value }} minutes ago. '
        "See whether its schedule runs, and whether Prometheus can scrape the Pushgateway.",
        fires=(Given("dbt_freshness_run_timestamp_seconds", "0x50"),),
        silent=(_RUNNING,),
    ),
    Alert(
        name="FreshnessMetricsMissing",
        expr=f"""
        absent(
          last_over_time(dbt_freshness_run_timestamp_seconds[7d])
            or
          {LOADED_AT}
        )
        """,
        lasts="5m",
        section="freshness-metrics-are-missing",
        owned=None,
        summary="no source tells its freshness",
        last_update="not within a week",
        description="Prometheus holds no freshness metric of the last week. "
        "See whether obs freshness push runs, and whether Prometheus can scrape the Pushgateway.",
        fires=(Given("up", "1x50"),),
        silent=(_RUNNING,),
    ),
    Alert(
        name="ModelBuildFailing",
        expr="max by (project, target, package, model) (last_over_time("
        'dbt_model_build_status{status=~"error|skipped"}[2h])) == 1',
        lasts="1h",
        section="model-build-fails",
        owned=None,
        summary="{{ $labels.model }} was not built",
        last_update="its last build failed or was skipped",
        description="The last known build of {{ $labels.package }}.{{ $labels.model }} "
        + _PLACE
        + " "
        "failed, or was skipped because of another one. The table keeps its old rows, so every "
        "exposure downstream reads old data. See what dbt build logged.",
        fires=(Given("dbt_model_build_status", "1x50", About.MODEL, "error"),),
        silent=(Given("dbt_model_build_status", "0x50", About.MODEL, "error"),),
    ),
    Alert(
        name="ExposureDataOld",
        expr=f"""
        (
          time() - max by (exposure, {SOURCE}) (last_over_time(dbt_exposure_as_of_seconds[2h]))
            > on ({SOURCE}) group_left ()
          max by ({SOURCE}) (last_over_time(dbt_source_error_after_seconds[2h]))
        ) / 3600
        """,
        section="exposure-reads-old-data",
        owned=BY_EXPOSURE,
        summary="{{ $labels.exposure }} reads old rows of {{ $labels.table }}",
        last_update=_HOURS_OLD,
        description="What {{ $labels.exposure }} reads of {{ $labels.source }}.{{ $labels.table }} "
        + _PLACE
        + ' is {{ printf "%.0f" $value }} hours old, more than error_after allows. '
        "The source may be fresh: see whether dbt build ran after it was loaded, and what it said.",
        fires=(
            Given("dbt_exposure_as_of_seconds", "-7260x50", About.EXPOSURE),
            Given("dbt_source_error_after_seconds", "7200x50", About.SOURCE),
        ),
        silent=(
            Given("dbt_exposure_as_of_seconds", "0x50", About.EXPOSURE),
            Given("dbt_source_error_after_seconds", "7200x50", About.SOURCE),
        ),
    ),
    # For a dead man's switch: whoever stops receiving it knows that alerting is broken.
    Alert(
        name="Watchdog",
        expr="vector(1)",
        lasts="",
        severity="none",
        section="watchdog",
        owned=None,
        summary="alerting works",
        last_update="now",
        description="This alert always fires. If it stops arriving, Prometheus or Alertmanager "
        "is down, or they cannot reach each other.",
        fires=(Given("up", "1x50"),),
        silent=(),
    ),
)
