"""The Pushgateway: there, keeping what it has, and holding what was pushed."""

from __future__ import annotations

import time

import msgspec

from ledgermind_obs import metrics
from ledgermind_obs.dbt.project import PROFILES_FILE, load_yaml
from ledgermind_obs.doctor.check import Area, Check, Seen, SkippedError, failed, warning
from ledgermind_obs.doctor.of_warehouse import clock_seen
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.sinks.known import Known, Standing, known_of, standing
from ledgermind_obs.sinks.pushgateway import Pushgateway

# A host that pushed so recently pushes still.
STILL_PUSHES_SECONDS = 86400.0


def _settings(patient: Patient) -> Seen:
    endpoint = patient.gateway.endpoint
    if endpoint.exposes_credentials:
        return warning(f"the credentials go to {endpoint.url} unencrypted", "use https://")
    return Seen(str(patient.gateway))


def _textfile(patient: Patient) -> Seen:
    sink = patient.sink()
    if isinstance(sink, Pushgateway):
        raise SkippedError("the metrics go to a Pushgateway, not to a file")
    held = sink.known(metrics.FRESHNESS_METRICS) or []
    return Seen(f"{sink.destination.place} has {len(held)} series of this project and target")


def _answers(patient: Patient) -> Seen:
    held = patient.gateway.known(metrics.FRESHNESS_METRICS)
    return Seen(f"a Pushgateway, with {len(held)} series of this project and target")


def _clock(patient: Patient) -> Seen:
    from ledgermind_obs.doctor.answers import seconds_ahead
    from ledgermind_obs.http.client import request

    response = request(patient.gateway.endpoint, "GET", "/-/ready")
    ahead = seconds_ahead(response, time.time())
    if ahead is None:
        raise SkippedError("the gateway does not say its time")
    return clock_seen("the gateway", ahead)


def _flag(patient: Patient, name: str) -> str:
    """Return a flag's value; raises SkippedError if the gateway keeps its flags to itself."""
    from ledgermind_obs.doctor.answers import flags

    try:
        found = flags(patient.gateway.endpoint)
    except DestinationError as error:
        raise SkippedError(f"its flags are not known: {error}") from error
    return found.get(name, "")


def _persistence(patient: Patient) -> Seen:
    place = _flag(patient, "persistence.file")
    if place:
        return Seen(f"it keeps its metrics in {place}")
    return warning(
        "it has no persistence file: a restart loses everything that was pushed",
        "start it with --persistence.file on a volume that stays",
    )


def _consistency(patient: Patient) -> Seen:
    if _flag(patient, "push.disable-consistency-check") == "true":
        return warning(
            "it takes a push without a look at it: one bad series spoils all that Prometheus reads",
            "start it without --push.disable-consistency-check",
        )
    return Seen("it looks at a push before it answers")


def _group(patient: Patient) -> Seen:
    group = patient.group
    if group is None:
        return failed(f"{patient.gateway} was never pushed", "push: obs freshness push")
    age = format_age(max(0.0, time.time() - group.pushed_at))
    return Seen(f"last pushed {age} ago")


def _refusals(patient: Patient) -> Seen:
    group = patient.group
    if group and group.refused_at > group.pushed_at:
        age = format_age(max(0.0, time.time() - group.refused_at))
        return warning(
            f"the last push, {age} ago, was refused; what was there before is still there",
            "push again and read what the gateway answers: obs freshness push",
        )
    return Seen("the last push was taken")


def _run(patient: Patient) -> Seen:
    held = {s.metric: s.value for s in patient.gateway.known(metrics.FRESHNESS_METRICS)}
    if metrics.RUN_SUCCESS not in held:
        return failed(
            f"the group has no {metrics.RUN_SUCCESS.name}: something else pushes to it",
            "see what else pushes with this job, project and target",
        )
    if held[metrics.RUN_SUCCESS] == 0.0:
        last = held.get(metrics.LAST_SUCCESS)
        since = f"{format_age(time.time() - last)} ago" if last else "never"
        return warning(f"the last run failed; the last success was {since}", "read its log")
    return Seen(f"the last run gave a report, in {held.get(metrics.RUN_DURATION, 0.0):.1f} s")


def _strangers(patient: Patient) -> Seen:
    project, ours = patient.dbt().project, dict(patient.gateway.grouping)
    profile = load_yaml(project.profiles_dir / PROFILES_FILE).get(project.profile)
    known = set(profile.get("outputs") or ()) if isinstance(profile, dict) else set()
    groups = [group.labels for group in patient.groups if group.labels.get("job") == ours["job"]]
    found = {g.get("target", "") for g in groups if g.get("project") == project.name}
    if unknown := sorted(found - known - {project.target}):
        return warning(
            f"it has groups of targets that the profile does not have: {', '.join(unknown)}",
            "take away what nobody pushes any more: their series age, and their alerts fire",
        )
    return Seen(f"{len(found)} of {len(found)} targets are known")


def _writers(patient: Patient) -> Seen:
    gateway, notes = patient.gateway, list[str]()
    from ledgermind_obs.sinks.memory import FileMemory

    # The memory is of the gateway as a push knows it.
    directory = patient.dbt().project.private_target_path
    delivered = FileMemory(directory, gateway.destination, notes.append).recall()
    if delivered is None or delivered.reported_at is None:
        raise SkippedError("this host has not pushed this group, or does not remember it")
    held = known_of(gateway.known((metrics.LAST_SUCCESS,)))
    return _compared(delivered, held)


def _compared(delivered: Known, held: Known) -> Seen:
    ours = delivered.reported_at or 0.0
    found = standing(msgspec.structs.replace(delivered, sources={}), held)
    ago = format_age(max(0.0, time.time() - ours))
    if found is Standing.NEWER and time.time() - ours < STILL_PUSHES_SECONDS:
        return warning(
            f"another host pushed this group after this host did, {ago} ago",
            "let one host push a project and target, or give them --grouping-key",
        )
    if found is Standing.LOST:
        return warning(
            f"it has lost what this host pushed {ago} ago; the next push sends it again",
            "see whether the gateway was restarted without --persistence.file",
        )
    if found is Standing.OLDER:
        return warning(
            f"it shows an older push than that of this host, {ago} ago",
            "see whether a cache or another replica answers in its place",
        )
    return Seen("no other host pushes this group")


CHECKS = (
    Check(
        name="gateway-settings",
        area=Area.GATEWAY,
        sentence="address, credentials and grouping key of the Pushgateway can be used",
        look=_settings,
        needs=("dbt-project",),
        hint="correct --pushgateway and what belongs to it",
    ),
    Check(
        name="textfile",
        area=Area.GATEWAY,
        sentence="the textfile is of this project and target",
        look=_textfile,
        needs=("dbt-project",),
        after=("gateway-settings",),
        hint="name another file with --textfile",
    ),
    Check(
        name="gateway-answers",
        area=Area.GATEWAY,
        sentence="the Pushgateway answers, and what it has can be believed",
        look=_answers,
        needs=("gateway-settings",),
        hint="see whether the Pushgateway runs",
    ),
    Check(
        name="gateway-clock",
        area=Area.GATEWAY,
        sentence="the gateway's clock agrees with this host's within five minutes",
        look=_clock,
        needs=("gateway-answers",),
        hint="let both hosts take their time from NTP",
    ),
    Check(
        name="gateway-persistence",
        area=Area.GATEWAY,
        sentence="a restart of the gateway loses nothing",
        look=_persistence,
        needs=("gateway-answers",),
        hint="start it with --persistence.file",
    ),
    Check(
        name="gateway-consistency",
        area=Area.GATEWAY,
        sentence="the gateway looks at a push before it takes it",
        look=_consistency,
        needs=("gateway-answers",),
        hint="start it without --push.disable-consistency-check",
    ),
    Check(
        name="gateway-group",
        area=Area.GATEWAY,
        sentence="this project and target were pushed",
        look=_group,
        needs=("gateway-answers",),
        hint="push: obs freshness push",
    ),
    Check(
        name="gateway-refusals",
        area=Area.GATEWAY,
        sentence="the gateway took the last push",
        look=_refusals,
        needs=("gateway-group",),
        hint="push again and read what the gateway answers",
    ),
    Check(
        name="gateway-run",
        area=Area.GATEWAY,
        sentence="the last run gave a report",
        look=_run,
        needs=("gateway-group",),
        hint="read the log of the last run",
    ),
    Check(
        name="gateway-targets",
        area=Area.GATEWAY,
        sentence="each group of this project is of a target that the profile has",
        look=_strangers,
        needs=("gateway-answers",),
        hint="take away what nobody pushes any more",
    ),
    Check(
        name="gateway-writers",
        area=Area.GATEWAY,
        sentence="one host pushes this group",
        look=_writers,
        needs=("gateway-group",),
        hint="let one host push a project and target",
    ),
)
