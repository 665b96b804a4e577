"""From a manifest to alert rules: an alert per source, with owner and limits, and general ones."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.metrics import source_labels
from ledgermind_obs.monitoring.alerts import (
    DOCUMENT_RUNBOOK,
    STALE_SECTION,
    Alert,
    days,
    general_alerts,
    links,
)
from ledgermind_obs.monitoring.recorded import (
    ALERT_AFTER,
    BARE,
    EXPOSURE_OWNER,
    GATE_AFTER,
    INTERVAL,
    LOADED_AT,
    PER_SOURCE_INTERVAL,
    Yaml,
    known_groups,
)

# A label is read by people and by routes: so many exposures are named in it.
_NAMED_EXPOSURES = 10
# Below so many seconds an age in whole hours says too little.
_IN_TENTHS = 36000
_INITIALISMS = frozenset({"ai", "api", "crm", "erp", "id", "ml", "sql", "url"})


class Watched(msgspec.Struct, frozen=True):
    """A source and its alert: the name, the limits in seconds, the owner, the exposures it reaches.

    The owner is empty if nobody is named; ``gate_after`` is None if no gate depends on the source.
    """

    source: Source
    alert: str
    limit: float
    gate_after: float | None = None
    owner: str = ""
    exposures: tuple[str, ...] = ()

    @property
    def labels(self) -> dict[str, str]:
        """The labels that its alert has beside those of the series."""
        shown = list(self.exposures[:_NAMED_EXPOSURES])
        if more := len(self.exposures) - len(shown):
            shown.append(f"and {more} more")
        labels = {"owner": self.owner, "exposures": ", ".join(shown)}
        return {name: value for name, value in labels.items() if value}


class Plan(msgspec.Struct, frozen=True):
    """What rules are written from: the sources, the exposures' owners, and the user's choices.

    ``critical_after`` is the age in seconds at which any source is critical, None for no such age.
    ``general`` says whether the rules that every project shares are written too.
    """

    project: str
    sources: tuple[Watched, ...]
    owners: Mapping[str, str] = {}
    runbook: str = DOCUMENT_RUNBOOK
    critical_after: float | None = None
    general: bool = True

    @property
    def alerts(self) -> list[Alert]:
        """The general alerts, if they are written too."""
        gated = any(watched.gate_after is not None for watched in self.sources)
        return general_alerts(self.critical_after, gated=gated) if self.general else []


def alert_names(sources: Mapping[str, Source]) -> dict[str, str]:
    """Return the name of each source's alert: as short as it can be, and no two the same."""
    ways: tuple[Callable[[Source], tuple[str, ...]], ...] = (
        lambda source: (source.name,),
        lambda source: (source.source_name, source.name),
        lambda source: (source.package_name, source.source_name, source.name),
    )
    names: dict[str, str] = {}
    left = sorted(sources)
    for way in ways:
        made = {uid: "SourceStale" + "".join(map(camel_case, way(sources[uid]))) for uid in left}
        taken = Counter([*made.values(), *names.values()])
        names |= {uid: name for uid, name in made.items() if taken[name] == 1}
        left = [uid for uid in left if uid not in names]
    return names | _numbered(left, made, set(names.values()))


def _numbered(left: Iterable[str], made: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """Return names with the first number that is free, for what no words tell apart."""
    found: dict[str, str] = {}
    for uid in left:
        number = 1
        while f"{made[uid]}{number}" in taken:
            number += 1
        found[uid] = f"{made[uid]}{number}"
        taken.add(found[uid])
    return found


def camel_case(name: str) -> str:
    """Return ``ml_features`` as ``MLFeatures``."""
    words = re.findall(r"[^\W_]+", name)
    made = (w.upper() if w.lower() in _INITIALISMS else w[0].upper() + w[1:] for w in words)
    return "".join(made) or "Table"


def groups(plan: Plan) -> list[Yaml]:
    """Return the groups of rules: what people are told by first, what that is made of last."""
    alerts = [alert.rule(plan.runbook) for alert in plan.alerts]
    documented = [rule for rule in alerts if rule["alert"] == "SourceCriticalStale"]
    tables = Counter(watched.source.name for watched in plan.sources)
    own = [_stale(watched, plan, tables) for watched in plan.sources]
    general = [rule for rule in alerts if rule not in documented]
    found = [
        {"name": "dbt-freshness", "interval": PER_SOURCE_INTERVAL, "rules": [*own, *documented]},
        {"name": "dbt-freshness-measurement", "interval": INTERVAL, "rules": general},
        *(known_groups() if plan.general else []),
        {
            "name": "dbt-freshness-sources",
            "interval": PER_SOURCE_INTERVAL,
            "rules": [*declared(plan)],
        },
    ]
    return [group for group in found if group["rules"]]


def declared(plan: Plan) -> Iterator[Yaml]:
    """Yield what the general rules must know of the project: limits, owners, exposures."""
    for watched in plan.sources:
        key = {"project": plan.project, **source_labels(watched.source)}
        yield _constant(ALERT_AFTER, watched.limit, {**key, **watched.labels})
        if watched.gate_after is not None:
            yield _constant(GATE_AFTER, watched.gate_after, key)
    for exposure, owner in plan.owners.items():
        labels = {"project": plan.project, "exposure": exposure, "owner": owner}
        yield _constant(EXPOSURE_OWNER, 1, labels)


def _constant(record: str, value: float, labels: Mapping[str, str]) -> Yaml:
    return {"record": record, "expr": f"vector({value:.15g})", "labels": dict(labels)}


def _stale(watched: Watched, plan: Plan, tables: Mapping[str, int]) -> Yaml:
    """Return the alert of one source."""
    known = _last_known(plan.project, watched.source, unique=tables[watched.source.name] == 1)
    age = '{{ printf "%.0f" $value }}'
    if watched.limit < _IN_TENTHS:
        age = '{{ printf "%.1f" $value }}'
    place = "(project {{ $labels.project }}, target {{ $labels.target }})"
    return {
        "alert": watched.alert,
        "expr": f"(time() - {known} > {watched.limit:.15g}) / 3600",
        "for": "30m",
        "labels": {"severity": "warning", **_texts(watched.labels)},
        "annotations": {
            "summary": "{{ $labels.table }} source is stale " + f"(>{days(watched.limit)})",
            "last_update": f"{age} hours ago",
            "description": (
                "The newest row of {{ $labels.source }}.{{ $labels.table }} "
                f"{place} is {age} hours old; the limit is {_hours(watched.limit)}. "
                "See whether the job that loads it still runs."
            ),
            **links(plan.runbook, STALE_SECTION),
        },
    }


def _last_known(project: str, source: Source, *, unique: bool) -> str:
    """Return what selects a source's time; a gauge with the table alone counts if it is clear."""
    labels = {"project": project, **source_labels(source)}
    matchers = ", ".join(f"{label}={quoted(value)}" for label, value in labels.items())
    known = f"{LOADED_AT}{{{matchers}}}"
    if not unique:
        return known
    bare = f"project=~{quoted(escaped(project) + '|')}, table={quoted(source.name)}"
    return f"({known} or {BARE}{{{bare}}})"


def escaped(text: str) -> str:
    """Return a text as a pattern that matches it and nothing else."""
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


def _hours(seconds: float) -> str:
    """Return a limit in hours, as the ages beside it are; one without whole hours as it is."""
    hours = seconds / 3600
    return f"{hours:.15g} hours" if hours.is_integer() and hours > 1 else days(seconds)


def quoted(text: str) -> str:
    """Return a text as a string of PromQL."""
    inner = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inner}"'


def _texts(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels as an alert has them, where two braces would begin a template.

    A recording rule takes its labels as they are.
    """
    return {name: value.replace("{{", '{{ "{{" }}') for name, value in labels.items()}


def kubernetes(plan: Plan) -> Yaml:
    """Return the rules as the manifest that the Prometheus operator reads."""
    slug = re.sub(r"[^a-z0-9]+", "-", plan.project.lower()).strip("-") or "project"
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": f"dbt-freshness-{slug}",
            "labels": {"app.kubernetes.io/name": "ledgermind-obs"},
        },
        "spec": {"groups": groups(plan)},
    }
