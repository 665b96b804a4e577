"""The recording rules: what was last known, kept for a week after its series went away.

Nothing resolves because a series went away. In a healthy project they record one series per source:
the time of its newest row. All the others speak only of what is lost, faulty, or out of step with
the alerts, so that 10,000 sources cost little.
"""

from __future__ import annotations

from typing import Any

from ledgermind_obs.metrics import SOURCE_LABELS
from ledgermind_obs.monitoring.expressions import IDENTITY

Yaml = dict[str, Any]

SOURCE = ", ".join(IDENTITY)
# As the manifest knows a source: it speaks of no target.
DECLARED = "project, package, source, table"

LOADED_AT = "source:dbt_source_loaded_at_seconds:known"
RECALLED = "source:dbt_source_loaded_at_seconds:recalled"
BARE = "source:dbt_source_loaded_at_seconds:bare"
STATUS = "source:dbt_source_freshness_status:known"
WARN_AFTER = "source:dbt_source_warn_after_seconds:known"
ERROR_AFTER = "source:dbt_source_error_after_seconds:known"
LOST = "source:dbt_source:lost_timestamp_seconds"
LOST_BY_OBS = "source:dbt_source_info:lost_timestamp_seconds"
FORGOTTEN = "source:dbt_source:forgotten_timestamp_seconds"
# Written by the project's own rules, one per source: the limit of its alert, its owner, and the
# exposures it reaches; and the age from which on a gate is shut.
ALERT_AFTER = "source:dbt_source:alert_after_seconds"
GATE_AFTER = "source:dbt_source:gate_after_seconds"
EXPOSURE_OWNER = "exposure:dbt_exposure:owner"
# Those with every label that a project's file may give them. The general rules rest on them all,
# also in the file of a project that has no owner, no exposure or no gate.
OF_PROJECTS = {
    ALERT_AFTER: frozenset({"project", *SOURCE_LABELS, "owner", "exposures"}),
    GATE_AFTER: frozenset({"project", *SOURCE_LABELS}),
    EXPOSURE_OWNER: frozenset({"project", "exposure", "owner"}),
}

# A push changes the series every quarter of an hour, and alerts wait for half an hour: the rules
# need not be as quick as Prometheus' own interval, least of all where there is one per source. No
# interval may come near the five minutes after which Prometheus calls a series stale.
INTERVAL, PER_SOURCE_INTERVAL = "1m", "2m"

_WEEK = 604800
# What is forgotten must stay so until nothing recalls it: for two hours and some minutes.
_FORGETTING = _WEEK + 10800
# For clocks that differ.
_TOLERANCE = 600
_SHOWN_BY_ALERTS = "empty|future|query_error|missing"


def known_groups() -> list[Yaml]:
    """Return the groups of recording rules that do not depend on the project."""
    rules = [_lost(), _lost_by_obs(), _forgotten(), _status(), _loaded_at(), _bare(), *_limits()]
    return [
        # A Prometheus that was down for up to two hours finds here what it knew before.
        {"name": "dbt-freshness-recalled", "interval": PER_SOURCE_INTERVAL, "rules": [_recalled()]},
        {"name": "dbt-freshness-known", "interval": INTERVAL, "rules": rules},
    ]


def _recalled() -> Yaml:
    return _rule(
        RECALLED,
        f"""
        last_over_time({LOADED_AT}[2h]) unless on ({SOURCE}) {LOADED_AT}
        """,
    )


def _lost() -> Yaml:
    """Return since when a source is not exported any more; the first moment is kept."""
    return _rule(
        LOST,
        f"""
        (
          last_over_time({LOST}[2h]) > time() - {_FORGETTING}
            or on ({SOURCE})
          timestamp({LOADED_AT})
            or on ({SOURCE})
          max by ({SOURCE}) (timestamp({STATUS}))
        )
          unless on ({SOURCE}) dbt_source_loaded_at_seconds
          unless on ({SOURCE}) dbt_source_info
          unless on ({SOURCE}) dbt_source_freshness_status{{status="empty"}}
        """,
    )


def _lost_by_obs() -> Yaml:
    """Return the same for sources that obs exported: a later successful run lets them go."""
    return _rule(
        LOST_BY_OBS,
        f"""
        (
          last_over_time({LOST_BY_OBS}[2h])
            or on ({SOURCE})
          {LOST} and on ({SOURCE}) last_over_time(dbt_source_info[15m])
        )
          and on ({SOURCE}) {LOST}
        """,
    )


def _forgotten() -> Yaml:
    return _rule(
        FORGOTTEN,
        f"""
        {LOST} <= time() - {_WEEK}
          or
        {LOST_BY_OBS} + {_TOLERANCE}
          < on (project, target) group_left ()
        max by (project, target) (last_over_time(dbt_freshness_last_success_timestamp_seconds[7d]))
        """,
    )


def _status() -> Yaml:
    """Return the state that is 1, if an alert looks at it."""
    return _rule(
        STATUS,
        f"""
        max by ({SOURCE}, status) (
          dbt_source_freshness_status{{status=~"{_SHOWN_BY_ALERTS}"}} == 1
        )
          or
        last_over_time({STATUS}[2h])
          and on ({SOURCE}) {LOST}
          unless on ({SOURCE}) {FORGOTTEN}
        """,
    )


def _loaded_at() -> Yaml:
    """Return the last known times; an empty table has none, whatever was known of it before."""
    return _rule(
        LOADED_AT,
        f"""
        max by ({SOURCE}) (dbt_source_loaded_at_seconds)
          or
        ({LOADED_AT} or {RECALLED})
          unless on ({SOURCE}) {FORGOTTEN}
          unless on ({SOURCE}) {STATUS}{{status="empty"}}
        """,
    )


def _bare() -> Yaml:
    """Return the times of gauges with a table and no source, as an application may export them."""
    return _rule(BARE, f'{LOADED_AT}{{source=""}}')


def _limits() -> list[Yaml]:
    """Return limits that no source's own alert has: of other projects, or changed since."""
    warn = f"max by ({SOURCE}) (dbt_source_warn_after_seconds)"
    error = f"max by ({SOURCE}) (dbt_source_error_after_seconds)"
    remembered = f"last_over_time({WARN_AFTER}[2h])"
    own = f"unless on ({DECLARED}) {ALERT_AFTER}"
    return [
        _rule(
            WARN_AFTER,
            f"{warn}\n  {_unless_alerted(warn)}\n  or\n"
            f"{_kept(WARN_AFTER)}\n  {_unless_alerted(remembered)}",
        ),
        _rule(ERROR_AFTER, f"{error}\n  {own}\n  or\n{_kept(ERROR_AFTER)}\n  {own}"),
    ]


def _unless_alerted(limit: str) -> str:
    """Return what leaves out a limit that the source's own alert has."""
    return f"unless on ({SOURCE}) ({limit} == on ({DECLARED}) group_left () {ALERT_AFTER})"


def _kept(record: str) -> str:
    """Return what keeps a limit while its source is lost; one that is taken away counts no more."""
    return (
        f"last_over_time({record}[2h])\n"
        f"  and on ({SOURCE}) {LOST}\n"
        f"  unless on ({SOURCE}) {FORGOTTEN}"
    )


def _rule(record: str, expr: str) -> Yaml:
    return {"record": record, "expr": block(expr)}


def block(text: str) -> str:
    """Return the lines of an expression without what they are all indented by."""
    lines = [line for line in text.split("\n") if line.strip()]
    indent = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[indent:].rstrip() for line in lines)
