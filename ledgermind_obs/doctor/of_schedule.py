"""The schedule: when the job last ran, how often it runs, and what starts it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ledgermind_obs import metrics
from ledgermind_obs.doctor.answers import query
from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed, warning
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.durations import format_age

# What starts programs on a host, as far as it is files that can be read.
PLACES = (
    "/etc/crontab",
    "/etc/cron.d/*",
    "/var/spool/cron/crontabs/*",
    "/var/spool/cron/*",
    "/etc/systemd/system/*.service",
    "/etc/systemd/user/*.service",
    "/usr/lib/systemd/system/obs-*.service",
)
COMMAND = "freshness push"

_MOST_BYTES = 1 << 20
_FEWEST_RUNS = 3
_LATE = 3.0
_DAY = 86400.0


def _recent(patient: Patient) -> Seen:
    series = patient.sink().known((metrics.LAST_SUCCESS,))
    if series is None:
        raise SkippedError("what was delivered cannot be read back")
    held = {s.metric: s.value for s in series}
    if metrics.LAST_SUCCESS not in held:
        return failed("no push was ever successful", "push: obs freshness push")
    age = time.time() - held[metrics.LAST_SUCCESS]
    told = f"the last successful push is {format_age(max(0.0, age))} old"
    if age > patient.push_max_age:
        return failed(
            f"{told}, limit {format_age(patient.push_max_age)}",
            "see whether the schedule still runs obs freshness push, and what it says",
        )
    return Seen(told)


def _steady(patient: Patient) -> Seen:
    usual, runs = _usual_distance(patient)
    if runs < _FEWEST_RUNS:
        raise SkippedError(f"{runs} runs in a day are too few to see how often it runs")
    told = f"every {format_age(usual)}, {runs} runs in the last day"
    if usual > patient.push_max_age:
        limit = format_age(patient.push_max_age)
        return warning(f"{told}; alerts and gate want one in {limit}", "run it every 15 minutes")
    [(_, age)] = query(patient.prometheus_api, f"min(time() - {_selector(patient)})")
    # Runs by hand make the usual distance short: being late is more than that.
    if age > max(_LATE * usual, patient.push_max_age / 2):
        return warning(f"{told}, and the last was {format_age(age)} ago", "see the schedule's log")
    return Seen(told)


def _usual_distance(patient: Patient) -> tuple[float, int]:
    """Return the seconds between two runs of the last day, and how many there were."""
    series = f"{_selector(patient)}[1d]"
    found = [
        query(patient.prometheus_api, expression)
        for expression in (
            f"min(min_over_time({series}))",
            f"max(max_over_time({series}))",
            f"max(changes({series}))",
        )
    ]
    if not all(found):
        return 0.0, 0
    first, last, changes = (answer[0][1] for answer in found)
    return (min(_DAY, last - first) / changes if changes else 0.0), round(changes) + 1


def _selector(patient: Patient) -> str:
    project = patient.dbt().project
    labels = {"project": project.name, "target": project.target, **patient.prometheus_labels}
    matchers = ",".join(f"{name}={_quoted(text)}" for name, text in labels.items())
    return f"{metrics.RUN_TIMESTAMP.name}{{{matchers}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _entry(_: Patient) -> Seen:
    for path, line in entries(PLACES):
        return Seen(f"{path}: {line}")
    raise SkippedError("no schedule of obs can be read on this host; it may run on another")


def entries(places: Iterable[str]) -> Iterator[tuple[Path, str]]:
    """Yield the file and the line of each schedule that runs a push; comments do not count."""
    for place in places:
        for path in sorted(Path("/").glob(place.lstrip("/"))):
            yield from ((path, line) for line in _lines(path) if COMMAND in line)


def _lines(path: Path) -> Iterator[str]:
    try:
        if path.is_file() and path.stat().st_size <= _MOST_BYTES:
            lines = path.read_text(errors="replace").splitlines()
            yield from (line.strip() for line in lines if not line.lstrip().startswith("#"))
    except OSError:
        return


CHECKS = (
    Check(
        name="schedule-recent",
        area=Area.SCHEDULE,
        sentence="the last push was successful, and not long ago",
        look=_recent,
        needs=("dbt-project",),
        after=("gateway-answers", "gateway-group", "gateway-run", "textfile"),
        hint="see whether the schedule still runs",
    ),
    Check(
        name="schedule-steady",
        area=Area.SCHEDULE,
        sentence="pushes come as often as the alerts expect them",
        look=_steady,
        needs=("prometheus-metrics",),
        hint="run it every 15 minutes",
    ),
    Check(
        name="schedule-entry",
        area=Area.SCHEDULE,
        sentence="something on this host starts the push",
        look=_entry,
        hint="see ops/cron and ops/systemd",
    ),
)
