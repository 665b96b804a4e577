"""What the checks look at: what was given, and what follows from it, found out once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from ledgermind_obs.dbt.inputs import INPUTS_FILE, MANIFEST_FILE
from ledgermind_obs.dbt.lock import locked
from ledgermind_obs.dbt.manifest import (
    LineageManifest,
    LookupManifest,
    Source,
    read_lineage_manifest,
    read_lookup_manifest,
)
from ledgermind_obs.dbt.manifest_file import (
    ManifestChoice,
    ManifestFile,
    check_project,
    manifest_of,
    open_manifest,
)
from ledgermind_obs.dbt.meta_obs import Settings, settings_of
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.doctor.check import SkippedError
from ledgermind_obs.engines.settings import Engine, Postgres
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.sinks.deliver import Sink
from ledgermind_obs.sinks.pushgateway import Pushgateway

if TYPE_CHECKING:
    from ledgermind_obs.dbt.profiles import Profile
    from ledgermind_obs.doctor.answers import Alert, Group, RuleGroup
    from ledgermind_obs.freshness import FreshnessReport
    from ledgermind_obs.http.endpoint import Endpoint
    from ledgermind_obs.monitoring.dashboard import Dashboard
    from ledgermind_obs.monitoring.grafana import Grafana
    from ledgermind_obs.monitoring.rules import Rule

T = TypeVar("T")

# Returns what was given, or raises the ObsError that it is wrong by; None if nothing was given.
Given = Callable[[], T]

_PARSED = ("partial_parse.msgpack", MANIFEST_FILE, INPUTS_FILE)


class Patient(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """The chain, from dbt to whoever is notified; ages and limits are seconds.

    What is cached is first asked for by the check that others need, so that they find it there.
    """

    dbt: Given[Dbt]
    engine: Given[Engine]
    choice: ManifestChoice
    sink: Given[Sink]
    prometheus: Given[Endpoint | None]
    prometheus_labels: Mapping[str, str]
    push_max_age: float
    alertmanager: Given[Endpoint | None]
    grafana: Given[Grafana | None]
    data_source: str
    rules: Path
    dashboards: Path
    exposures: tuple[str, ...]
    seconds: float

    @cached_property
    def workshop(self) -> Dbt:
        """Dbt on the project, with a private directory of the doctor's own.

        No push waits for a doctor, and no doctor changes what a push finds. What dbt has parsed for
        ``obs`` it need not parse again.
        """
        dbt = self.dbt()
        place = dbt.project.private_target_path / "doctor"
        project = msgspec.structs.replace(dbt.project, target_path=place)
        _copy_parsed(dbt.project.private_target_path, project.private_target_path)
        timeout = min(dbt.timeout, self.seconds)
        return msgspec.structs.replace(dbt, project=project, timeout=timeout)

    def lock(self) -> AbstractContextManager[None]:
        """Return the lock of the doctor's own directory: two doctors take turns."""
        return locked(self.workshop.project.private_target_path, self.seconds)

    @cached_property
    def declared(self) -> ManifestFile[LineageManifest]:
        """The manifest that a push would work with."""
        found = manifest_of(self.workshop, self.choice, read_lineage_manifest, self.lock)
        check_project(found.manifest.metadata, self.workshop)
        return found

    @cached_property
    def lineage(self) -> Lineage:
        """The manifest's graph."""
        return Lineage(self.declared.manifest)

    @cached_property
    def settings(self) -> Settings:
        """What ``meta.obs`` of sources and exposures says; raises ConfigurationError."""
        return settings_of(self.declared.manifest, self.dbt().project.directory)

    def is_excused(self, uid: str) -> bool:
        """Return whether a source is known not to be measured."""
        said = self.settings.sources.get(uid)
        return bool(said and said.no_freshness and said.no_freshness.holds(datetime.now(UTC)))

    @property
    def in_question(self) -> frozenset[str]:
        """The sources upstream of the named exposures; all of them if none was named."""
        manifest, lineage = self.declared.manifest, self.lineage
        if not self.exposures:
            return frozenset(manifest.sources)
        starts = [uid for uid, e in lineage.exposures.items() if {uid, e.name} & {*self.exposures}]
        return frozenset(lineage.ancestors(starts)) & manifest.sources.keys()

    @cached_property
    def lookups(self) -> LookupManifest:
        """The same manifest, as far as it takes to look at the sources without dbt."""
        return open_manifest(self.declared.path, read_lookup_manifest).manifest

    @property
    def sources(self) -> list[Source]:
        """The sources that a whole run measures."""
        manifest = self.declared.manifest
        return [manifest.sources[uid] for uid in manifest.with_freshness()]

    @cached_property
    def profile(self) -> Profile:
        """The database, if it is PostgreSQL; raises ConfigurationError."""
        from ledgermind_obs.dbt.profiles import read_profile

        return read_profile(self.dbt().project)

    @cached_property
    def report(self) -> FreshnessReport:
        """What a measurement finds now; nothing of it is sent or remembered."""
        from ledgermind_obs.engines.measure import measure

        engine = self.engine()
        if isinstance(engine, Postgres):
            choice = ManifestChoice(self.choice.path, self.choice.no_parse)
            engine = Postgres(self.workshop, choice, min(engine.query_timeout, self.seconds))
        else:
            engine = self.workshop
        with self.lock():
            return measure(engine)

    @cached_property
    def gateway(self) -> Pushgateway:
        """The group that a push writes; raises SkippedError if it writes a file."""
        sink = self.sink()
        if isinstance(sink, Pushgateway):
            return sink.within(self.call_seconds)
        raise SkippedError(f"the metrics go to the file {sink.destination.place}")

    @cached_property
    def groups(self) -> list[Group]:
        """Every group of the gateway."""
        from ledgermind_obs.doctor.answers import groups

        return groups(self.gateway.endpoint)

    @property
    def group(self) -> Group | None:
        """Our group, if the gateway has it."""
        ours = dict(self.gateway.grouping)
        return next((group for group in self.groups if _same(group.labels, ours)), None)

    @cached_property
    def prometheus_api(self) -> Endpoint:
        """Prometheus; raises SkippedError if none was named."""
        return self._named(self.prometheus(), "--prometheus", "PROMETHEUS_URL")

    @cached_property
    def rule_groups(self) -> list[RuleGroup]:
        """The rules that Prometheus runs."""
        from ledgermind_obs.doctor.answers import rule_groups

        return rule_groups(self.prometheus_api)

    @cached_property
    def alerts(self) -> list[Alert]:
        """The alerts of Prometheus."""
        from ledgermind_obs.doctor.answers import alerts

        return alerts(self.prometheus_api)

    @cached_property
    def rule_file(self) -> list[Rule]:
        """The rules on disk; raises SkippedError if there are none, ConfigurationError."""
        from ledgermind_obs.monitoring.files import read_file, rule_files
        from ledgermind_obs.monitoring.rules import read_rules

        if not self.rules.exists():
            raise SkippedError(f"there is no {self.rules}: name the rule files with --rules")
        paths = rule_files([self.rules])
        return [rule for path in paths for rule in read_rules(read_file(path), str(path))]

    @cached_property
    def alertmanager_api(self) -> Endpoint:
        """Alertmanager; raises SkippedError if none was named."""
        return self._named(self.alertmanager(), "--alertmanager", "ALERTMANAGER_URL")

    @cached_property
    def routes(self) -> str:
        """Alertmanager's configuration."""
        from ledgermind_obs.doctor.answers import routing

        return routing(self.alertmanager_api)

    @cached_property
    def grafana_api(self) -> Grafana:
        """Grafana; raises SkippedError if none was named."""
        grafana = self.grafana()
        if grafana is None:
            raise SkippedError(_not_named("--grafana", "GRAFANA_URL"))
        return type(grafana)(self._hurried(grafana.endpoint))

    @cached_property
    def boards(self) -> list[Dashboard]:
        """The dashboards on disk; raises SkippedError if there are none, ConfigurationError."""
        from ledgermind_obs.monitoring.dashboard import read_dashboard
        from ledgermind_obs.monitoring.files import dashboard_files, read_file

        if not self.dashboards.exists():
            raise SkippedError(
                f"there is no {self.dashboards}: name the dashboards with --dashboards"
            )
        paths = dashboard_files([self.dashboards])
        return [read_dashboard(read_file(path), str(path)) for path in paths]

    @property
    def call_seconds(self) -> float:
        """How long one call may take, with its retries."""
        return self.seconds / 4

    def _named(self, endpoint: Endpoint | None, option: str, variable: str) -> Endpoint:
        if endpoint is None:
            raise SkippedError(_not_named(option, variable))
        return self._hurried(endpoint)

    def _hurried(self, endpoint: Endpoint) -> Endpoint:
        seconds = min(endpoint.timeout, self.call_seconds)
        return msgspec.structs.replace(endpoint, timeout=seconds)


def _not_named(option: str, variable: str) -> str:
    return f"it is not configured ({option} or {variable})"


def _same(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether two grouping keys are one: an empty label is no label."""
    return _without_empty(found) == _without_empty(wanted)


def _without_empty(labels: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in labels.items() if text}


def _copy_parsed(source: Path, place: Path) -> None:
    """Copy what dbt has parsed, unless what is there is as new; without it dbt parses anew."""
    with suppress(OSError):
        newest = (source / MANIFEST_FILE).stat().st_mtime_ns
        kept = place / MANIFEST_FILE
        if kept.exists() and kept.stat().st_mtime_ns >= newest:
            return
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _PARSED:
            shutil.copyfile(source / name, place / name)
