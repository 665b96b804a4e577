"""Single faults of a chain: how each is made and mended, and the one check that must fail."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ledgermind_obs.dbt.lock import locked
from services.monitoring import Yaml
from services.server import ServiceError, free_port
from tests.fake_grafana import VIEWER
from tests.integration.chain import until
from tests.integration.proxy import proxy
from tests.integration.shop import SOURCES, TABLES
from tests.integration.ward import CANARY_RULE, Ward
from tests.unit.servers import Answer, web

Options = Sequence[str]
Make = Callable[[Ward], AbstractContextManager[Options]]

CHECKED_AT = "dbt_source_checked_at_seconds"
NOWHERE = "http://127.0.0.1:{}"


@dataclass(frozen=True)
class Fault:
    """One fault: while it is made, it yields further options; ``check`` is what must fail.

    ``command`` is what fails by it as well; None if neither push nor check looks there.
    """

    name: str
    check: str
    make: Make
    command: str | None = "push"

    @property
    def reconfigures(self) -> bool:
        """Whether Prometheus reads another configuration."""
        return self.make.__qualname__.startswith(prometheus.__name__)


def options(*argv: str) -> Make:
    """Return a fault that is nothing but options."""
    return lambda _: nullcontext(argv)


def refused(option: str) -> Make:
    """Return the fault that nothing listens at an address."""
    return lambda _: nullcontext([option, NOWHERE.format(free_port())])


def sql(made: str, mended: str, *argv: str) -> Make:
    """Return a fault in the database, and what mends it."""

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        ward.shop.sql(made)
        try:
            yield argv
        finally:
            ward.shop.sql(mended)

    return make


def environment(**changes: str | None) -> Make:
    """Return a fault in the environment; None takes a variable away."""

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        before = dict(ward.shop.env)
        for name, value in changes.items():
            ward.shop.env.pop(name, None)
            if value is not None:
                ward.shop.env[name] = value
        try:
            yield ["--manifest", str(manifest_of(ward))]
        finally:
            ward.shop.env.clear()
            ward.shop.env.update(before)

    return make


def manifest_of(ward: Ward) -> Path:
    """Return the manifest that dbt wrote for the ward's pushes."""
    return ward.shop.private_target_path / "manifest.json"


def manifest(change: Callable[[Any], None], *argv: str) -> Make:
    """Return the fault that a manifest, which is named, has been changed."""

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        content = json.loads(manifest_of(ward).read_text())
        change(content)
        path = ward.directory / "changed.json"
        path.write_text(json.dumps(content))
        yield ["--manifest", str(path), *argv]
        path.unlink()

    return make


def file(name: str, content: str, *argv: str) -> Make:
    """Return the fault that a file of the project has another content."""

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        path = ward.shop.directory / name
        before, stat = path.read_text(), path.stat()
        path.write_text(content)
        try:
            yield argv
        finally:
            path.write_text(before)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    return make


@contextmanager
def build_failed(ward: Ward) -> Iterator[Options]:
    path = ward.shop.directory / "target" / "run_results.json"
    before = path.read_text()
    results = json.loads(before)
    results["metadata"]["generated_at"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    results["metadata"]["invocation_id"] = "a-later-run"
    for result in results["results"]:
        result["status"] = "error"
    path.write_text(json.dumps(results))
    try:
        yield ["--exposure", "training"]
    finally:
        path.write_text(before)


def answered(change: Callable[[bytes], bytes] = bytes, request: str = "", **about: float) -> Make:
    """Return the fault that one ``request`` is answered with something else than it should be."""

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        with proxy() as between:
            between.change = lambda asked, content: change(content) if asked == request else content
            between.ahead = about.get("ahead", 0.0)
            ward.shop.env["http_proxy"] = between.url
            try:
                yield []
            finally:
                del ward.shop.env["http_proxy"]

    return make


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """Return what replaces a text, which has to be there."""

    def change(content: bytes) -> bytes:
        assert old.encode() in content, content
        return content.replace(old.encode(), new.encode())

    return change


def answering(option: str, answer: Answer) -> Make:
    """Return the fault that something else answers at an address."""

    @contextmanager
    def make(_: Ward) -> Iterator[Options]:
        with web(answer) as served:
            yield [option, served.url]

    return make


def prometheus(change: Callable[[Ward, Yaml], None], seen: Callable[[Ward], bool]) -> Make:
    """Return a fault in Prometheus' configuration; it is there when it is ``seen``.

    After it nobody waits: Prometheus takes five seconds to send alerts again, and the next fault
    may be of the same kind.
    """

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        path = ward.directory / "prometheus.yml"
        before = path.read_text()
        ward.reconfigure(lambda config: change(ward, config))
        try:
            until(lambda: seen(ward), "the change is seen")
            until(lambda: seen is unsent or ward.sends(), "alerts are sent")
            yield []
        finally:
            path.write_text(before)
            ward.prometheus.reload()

    return make


def alertmanager(change: Callable[[Yaml], None]) -> Make:
    """Return a fault in Alertmanager's configuration."""

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        path = ward.directory / "alertmanager.yml"
        before = path.read_text()
        ward.reroute(change)
        try:
            yield []
        finally:
            path.write_text(before)
            ward.alertmanager.request("/-/reload", "POST")

    return make


# --- what is changed


def no_freshness(content: Any) -> None:
    content["sources"]["source.shop.app.orders"]["freshness"] = None


def longer_limit(content: Any) -> None:
    freshness = content["sources"]["source.shop.app.orders"]["freshness"]
    freshness["warn_after"] = {"count": 3, "period": "day"}


def other_owner(content: Any) -> None:
    content["sources"]["source.shop.app.orders"]["meta"] = {"obs": {"owner": "payments"}}


def jinja(content: Any) -> None:
    source = content["sources"]["source.shop.app.orders"]
    source["loaded_at_query"] = "select max(loaded_at) from {{ ref('x') }}"


def macro(content: Any) -> None:
    content["macros"]["macro.shop.collect_freshness"] = {
        "name": "collect_freshness",
        "package_name": "shop",
        "original_file_path": "macros/own.sql",
    }


def hook(content: Any) -> None:
    content["nodes"]["operation.shop.hook"] = {
        "package_name": "shop",
        "tags": ["on-run-start"],
        "name": "hook",
        "resource_type": "operation",
    }


def setting(content: Any) -> None:
    content["sources"]["source.shop.app.orders"]["meta"] = {"obs": {"ownr": "me"}}


def other_project(content: Any) -> None:
    content["metadata"]["project_name"] = "bakery"


def unknown_schema(content: Any) -> None:
    content["metadata"]["dbt_schema_version"] = "https://schemas/dbt/manifest/v99.json"


def old_dbt(content: Any) -> None:
    content["metadata"]["dbt_version"] = "1.7.14"


def no_owner(content: Any) -> None:
    content["exposures"]["exposure.shop.training"]["owner"] = {}
    content["sources"]["source.shop.app.orders"]["meta"] = {"obs": {"owner": "payments"}}


def no_parents(content: Any) -> None:
    content["exposures"]["exposure.shop.training"]["depends_on"]["nodes"] = []
    content["parent_map"]["exposure.shop.training"] = []


def no_gateway(_: Ward, config: Yaml) -> None:
    config["scrape_configs"] = [{"job_name": "none", "static_configs": [{"targets": ["[::1]:9"]}]}]


def silent_gateway(ward: Ward, config: Yaml) -> None:
    config["scrape_configs"][0]["metrics_path"] = "/nowhere"


def no_honor_labels(_: Ward, config: Yaml) -> None:
    config["scrape_configs"][0]["honor_labels"] = False


def no_rules(_: Ward, config: Yaml) -> None:
    config["rule_files"] = []


UNHEALTHY = CANARY_RULE.replace("canary", "own", 1).replace(
    "expr: obs_canary_timestamp_seconds",
    "expr: dbt_source_info + on (project) dbt_source_freshness_status",
)


def broken_rule(ward: Ward, config: Yaml) -> None:
    path = ward.directory / "ill.yml"
    path.write_text(UNHEALTHY)
    config["rule_files"] = [*config["rule_files"], str(path)]


def other_limit(ward: Ward, config: Yaml) -> None:
    content = (ward.directory / "rules" / "dbt_freshness.yml").read_text()
    assert "> 432000" in content
    path = ward.directory / "other.yml"
    path.write_text(content.replace("> 432000", "> 4320000"))
    kept = [str(ward.directory / "rules" / name) for name in ("canary.yml", "shop.yml")]
    config["rule_files"] = [str(path), *kept]


def no_checks(_: Ward, config: Yaml) -> None:
    dropped = {"source_labels": ["__name__"], "regex": CHECKED_AT, "action": "drop"}
    config["scrape_configs"][0]["metric_relabel_configs"] = [dropped]


def nobody_told(_: Ward, config: Yaml) -> None:
    config["alerting"] = {}


def to_nobody(config: Yaml) -> None:
    config["receivers"].append({"name": "nobody"})
    config["route"]["routes"] = [{"matchers": ['severity="critical"'], "receiver": "nobody"}]


# --- what is seen of a change


def rules(ward: Ward) -> Any:
    return json.loads(ward.prometheus.request("/api/v1/rules"))["data"]["groups"]


def targets(ward: Ward) -> Any:
    return json.loads(ward.prometheus.request("/api/v1/targets"))["data"]["activeTargets"]


def ends_of_rules(ward: Ward) -> bool:
    return not rules(ward)


def ill_rule(ward: Ward) -> bool:
    return any(rule["health"] == "err" for group in rules(ward) for rule in group["rules"])


def other_rules(ward: Ward) -> bool:
    return any(group["file"].endswith("other.yml") for group in rules(ward))


def no_up(ward: Ward) -> bool:
    return all(target["health"] == "down" for target in targets(ward)) and bool(targets(ward))


def unchecked(ward: Ward) -> bool:
    return not ward.prometheus.query(CHECKED_AT)


def unlabelled(ward: Ward) -> bool:
    return bool(ward.prometheus.query('dbt_freshness_run_success{exported_job="dbt-freshness"}'))


def unsent(ward: Ward) -> bool:
    found = json.loads(ward.prometheus.request("/api/v1/alertmanagers"))["data"]
    return not found["activeAlertmanagers"]


# --- faults that need more than one line


def script(lines: str) -> Make:
    """Return the fault that another program is dbt."""

    @contextmanager
    def make(ward: Ward) -> Iterator[Options]:
        path = ward.directory / "other-dbt"
        path.write_text(f"#!/bin/sh\n{lines}\n")
        path.chmod(0o755)
        yield ["--dbt", str(path), "--engine", "dbt"]

    return make


@contextmanager
def no_place(ward: Ward) -> Iterator[Options]:
    place = ward.shop.directory / "target" / "obs"
    moved = place.rename(place.with_name("moved"))
    place.write_text("")
    try:
        yield []
    finally:
        place.unlink()
        moved.rename(place)


@contextmanager
def reader(ward: Ward) -> Iterator[Options]:
    """A user who may connect, and read all tables but one."""
    ward.shop.sql("create role reader login password 'reads'")
    ward.shop.sql("grant select on payments, refunds to reader")
    try:
        with environment(PGUSER="reader", PGPASSWORD="reads")(ward) as argv:
            yield argv
    finally:
        ward.shop.sql("drop owned by reader; drop role reader")


@contextmanager
def of_the_moment(ward: Ward) -> Iterator[Options]:
    """A push parses it, so that another has to parse what was there before."""
    with file("models/sources.yml", OF_THE_MOMENT)(ward) as argv:
        yield argv
    ward.heal()


@contextmanager
def lock_held(ward: Ward) -> Iterator[Options]:
    with locked(ward.shop.private_target_path):
        yield []


@contextmanager
def wiped(ward: Ward) -> Iterator[Options]:
    ward.gateway.wipe()
    try:
        yield []
    finally:
        ward.heal()


@contextmanager
def last_push_old(ward: Ward) -> Iterator[Options]:
    ward.post(dbt_freshness_last_success_timestamp_seconds=time.time() - 7200)
    try:
        yield []
    finally:
        ward.heal()


@contextmanager
def foreign_push(ward: Ward) -> Iterator[Options]:
    ward.gateway.wipe()
    ward.post(somebody_elses=1.0)
    try:
        yield []
    finally:
        ward.heal()


@contextmanager
def impossible(ward: Ward) -> Iterator[Options]:
    ward.post(dbt_freshness_last_success_timestamp_seconds=time.time() + 86400)
    try:
        yield []
    finally:
        ward.gateway.wipe()
        ward.heal()


@contextmanager
def foreign_textfile(ward: Ward) -> Iterator[Options]:
    path = ward.directory / "metrics.prom"
    path.write_text("somebody_elses 1\n")
    try:
        yield ["--textfile", str(path)]
    finally:
        path.unlink()


@contextmanager
def dashboard_lost(ward: Ward) -> Iterator[Options]:
    kept = dict(ward.grafana.dashboards)
    ward.grafana.dashboards.clear()
    try:
        yield []
    finally:
        ward.grafana.dashboards.update(kept)


@contextmanager
def dashboard_edited(ward: Ward) -> Iterator[Options]:
    (uid,) = ward.grafana.dashboards
    title = ward.grafana.dashboards[uid].model["title"]
    ward.grafana.edit(uid, title="Mine")
    try:
        yield []
    finally:
        ward.grafana.edit(uid, title=title)


@contextmanager
def source_unreachable(ward: Ward) -> Iterator[Options]:
    ward.grafana.unreachable.add("prom-1")
    try:
        yield []
    finally:
        ward.grafana.unreachable.clear()


@contextmanager
def two_sources(ward: Ward) -> Iterator[Options]:
    other = {"name": "Other", "uid": "prom-2", "type": "prometheus", "isDefault": False}
    ward.grafana.data_sources.append(other)
    ward.grafana.data_sources[0]["isDefault"] = False
    try:
        yield []
    finally:
        ward.grafana.data_sources.pop()
        ward.grafana.data_sources[0]["isDefault"] = True


@contextmanager
def silenced(ward: Ward) -> Iterator[Options]:
    created = ward.silence("SourceStale")
    try:
        yield []
    finally:
        ward.alertmanager.request(f"/api/v2/silence/{created}", "DELETE")


@contextmanager
def stranger(ward: Ward) -> Iterator[Options]:
    ward.post("moon", dbt_freshness_run_success=1.0)
    try:
        yield []
    finally:
        ward.forget(target="moon")


@contextmanager
def refusal(ward: Ward) -> Iterator[Options]:
    with suppress(ServiceError):
        ward.post(kind="counter", dbt_model_built_at_seconds=1.0)
    try:
        yield []
    finally:
        ward.heal()


@contextmanager
def failed_run(ward: Ward) -> Iterator[Options]:
    ward.post(dbt_freshness_run_timestamp_seconds=time.time(), dbt_freshness_run_success=0.0)
    try:
        yield []
    finally:
        ward.heal()


@contextmanager
def other_host(ward: Ward) -> Iterator[Options]:
    later = time.time() + 60
    ward.post(
        dbt_freshness_run_timestamp_seconds=later,
        dbt_freshness_last_success_timestamp_seconds=later,
    )
    try:
        yield []
    finally:
        ward.heal()


@contextmanager
def large_table(ward: Ward) -> Iterator[Options]:
    ward.shop.sql("insert into orders select now() from generate_series(1, 150000)")
    ward.shop.sql("analyze orders")
    try:
        yield []
    finally:
        ward.shop.sql("delete from orders; insert into orders values (now()); analyze orders")


FORTNIGHTS = SOURCES.replace("period: day", "period: fortnight") + "      - name: orders\n"
OF_THE_MOMENT = SOURCES.replace("count: 5", 'count: "{{ run_started_at.day | int }}"') + "".join(
    f"      - name: {table}\n" for table in TABLES
)
FIRING = b"""{"status": "success", "data": {"alerts": [{"state": "firing", "labels": {
"alertname": "SourceStaleOrders", "project": "shop", "target": "prod", "table": "orders"}}]}}"""
THREE_DAYS = b'{"status": "success", "data": {"storageRetention": "3d"}}'
STATUS = "GET /api/v1/status"

HTML = Answer(200, b"<html>", {"Content-Type": "text/html"})
JSON = Answer(200, b"{}", {"Content-Type": "application/json"})

FAULTS = (
    Fault("no project", "dbt-project", options("--project-dir", "/nowhere")),
    Fault("project is not YAML", "dbt-project", file("dbt_project.yml", "name: [shop")),
    Fault("project has no name", "dbt-project", file("dbt_project.yml", "profile: shop")),
    Fault("no profiles.yml", "dbt-project", options("--profiles-dir", "/nowhere")),
    Fault("no such profile", "dbt-project", options("--profile", "bakery")),
    Fault("no such target", "dbt-project", options("--target", "moon")),
    Fault("a variable is not set", "dbt-project", environment(PGHOST=None)),
    Fault("a port is no number", "warehouse-connects", environment(PGPORT="many")),
    Fault("no dbt", "dbt-found", options("--dbt", "/nowhere", "--engine", "dbt")),
    Fault("a dbt that fails", "dbt-parses", script("exit 2")),
    Fault("a dbt that is killed", "dbt-parses", script("kill -9 $$")),
    Fault("a dbt without a result", "dbt-measures", script("exit 0")),
    Fault("no place to write", "dbt-parses", no_place),
    Fault("a period that is none", "dbt-parses", file("models/sources.yml", FORTNIGHTS)),
    Fault("does not parse", "dbt-parses", file("models/daily.sql", "{{ ref('gone') }}")),
    Fault("of another project", "dbt-parses", manifest(other_project)),
    Fault("of an unknown schema", "dbt-parses", manifest(unknown_schema)),
    Fault("no manifest", "dbt-parses", options("--manifest", "/nowhere/manifest.json")),
    Fault(
        "a setting is not known",
        "dbt-settings",
        manifest(setting, "--exposure", "training"),
        "check",
    ),
    Fault("a hook runs first", "dbt-hooks", manifest(hook)),
    Fault("a limit of the moment", "dbt-limits", of_the_moment),
    Fault("a macro is overridden", "dbt-engine", manifest(macro)),
    Fault("Jinja in a query", "dbt-engine", manifest(jinja)),
    Fault("a source without freshness", "dbt-freshness", manifest(no_freshness), "check"),
    Fault("the lock is held", "dbt-lock", lock_held),
    Fault("the database is down", "warehouse-connects", environment(PGPORT=str(free_port()))),
    Fault("a wrong password", "warehouse-connects", environment(PGPASSWORD="wrong")),
    Fault(
        "no permission",
        "warehouse-readable",
        reader,
        "check",
    ),
    Fault(
        "a view fails",
        "warehouse-readable",
        sql(
            "alter table orders rename to gone;"
            "create view orders as select loaded_at from gone where 1 / 0 > 0",
            "drop view orders; alter table gone rename to orders",
        ),
        "check",
    ),
    Fault("no such database", "warehouse-connects", environment(PGDATABASE="gone")),
    Fault(
        "no such table",
        "warehouse-readable",
        sql("alter table orders rename to gone", "alter table gone rename to orders"),
        "check",
    ),
    Fault(
        "no such column",
        "warehouse-readable",
        sql(
            "alter table orders rename loaded_at to gone",
            "alter table orders rename gone to loaded_at",
        ),
        "check",
    ),
    Fault(
        "a source is stale",
        "gate",
        sql(
            "update orders set loaded_at = now() - interval '9 days'",
            "update orders set loaded_at = now()",
        ),
        "check",
    ),
    Fault(
        "a source is empty",
        "gate",
        sql("delete from orders", "insert into orders values (now())"),
        "check",
    ),
    Fault(
        "a source is ahead",
        "gate",
        sql(
            "update orders set loaded_at = now() + interval '2 hours'",
            "update orders set loaded_at = now()",
        ),
        "check",
    ),
    Fault(
        "a column is no time",
        "dbt-measures",
        sql(
            "alter table orders alter loaded_at type date",
            "alter table orders alter loaded_at type timestamptz using now()",
        ),
        "check",
    ),
    Fault("the gateway is down", "gateway-answers", refused("--pushgateway")),
    Fault("no URL", "gateway-settings", options("--pushgateway", "ftp://gateway")),
    Fault("no password", "gateway-settings", options("--pushgateway-password-file", "/nowhere")),
    Fault(
        "no private CA",
        "gateway-answers",
        options("--pushgateway", "https://127.0.0.1:1", "--pushgateway-ca-file", "/nowhere"),
    ),
    Fault("no place for the file", "schedule-recent", options("--textfile", "/nowhere/x.prom")),
    Fault("a bad label", "gateway-settings", options("--grouping-key", "table=x")),
    Fault("a web page", "gateway-answers", answering("--pushgateway", HTML)),
    Fault("no credentials", "gateway-answers", answering("--pushgateway", Answer(401))),
    Fault("the gateway was wiped", "gateway-group", wiped, None),
    Fault("somebody else pushes", "gateway-run", foreign_push, None),
    Fault("a time that cannot be", "gateway-answers", impossible, None),
    Fault("somebody else's textfile", "textfile", foreign_textfile),
    Fault("the last push is old", "schedule-recent", last_push_old, None),
    Fault("Prometheus is down", "prometheus-answers", refused("--prometheus"), None),
    Fault("no Prometheus", "prometheus-answers", answering("--prometheus", JSON), None),
    Fault("a bad URL", "prometheus-answers", options("--prometheus", "prometheus"), None),
    Fault("no job", "prometheus-scrapes", prometheus(no_gateway, no_up), None),
    Fault("a failing job", "prometheus-scrapes", prometheus(silent_gateway, no_up), None),
    Fault("no honor_labels", "prometheus-labels", prometheus(no_honor_labels, unlabelled), None),
    Fault("no rules", "rules-loaded", prometheus(no_rules, ends_of_rules), None),
    Fault("an ill rule", "rules-healthy", prometheus(broken_rule, ill_rule), None),
    Fault("another limit", "rules-current", prometheus(other_limit, other_rules), None),
    Fault("a limit has changed", "rules-generated", manifest(longer_limit), None),
    Fault("an owner has changed", "rules-generated", manifest(other_owner), None),
    Fault("sent to nobody", "alertmanager-known", prometheus(nobody_told, unsent), None),
    # After it, the metric is waited for.
    Fault("a metric is dropped", "prometheus-metrics", prometheus(no_checks, unchecked), None),
    Fault("no Watchdog", "watchdog", answered(lambda _: b"[]", "GET /api/v2/alerts"), None),
    Fault("the gateway's clock is ahead", "gateway-clock", answered(ahead=900.0), None),
    Fault("Alertmanager is down", "alertmanager-answers", refused("--alertmanager"), None),
    Fault("told to nobody", "alertmanager-receivers", alertmanager(to_nobody), None),
    Fault("Grafana is down", "grafana-answers", refused("--grafana"), None),
    Fault("a bad key", "grafana-answers", environment(GRAFANA_API_KEY="no-key"), None),
    Fault("no dashboard", "grafana-dashboard", dashboard_lost, None),
    Fault("an edited dashboard", "grafana-dashboard", dashboard_edited, None),
    Fault("Prometheus not reached", "grafana-source", source_unreachable, None),
    Fault("two data sources", "grafana-source", two_sources, None),
    Fault("a build failed", "gate", build_failed, "check"),
    Fault("no such exposure", "exposure-declared", options("--exposure", "gone"), "check"),
    Fault(
        "no parents", "exposure-lineage", manifest(no_parents, "--exposure", "training"), "check"
    ),
)

# What is no fault yet: nothing fails by it, and the doctor warns of it alone.
WARNINGS = (
    Fault("a silence", "alertmanager-silences", silenced),
    Fault("an unknown target", "gateway-targets", stranger),
    Fault("a refused push", "gateway-refusals", refusal),
    Fault("a failed run", "gateway-run", failed_run),
    Fault("another host", "gateway-writers", other_host),
    Fault("a large table without an index", "warehouse-indexes", large_table),
    Fault("an old dbt", "dbt-version", manifest(old_dbt)),
    Fault("nobody is responsible", "dbt-owners", manifest(no_owner, "--prometheus", "")),
    Fault(
        "no persistence",
        "gateway-persistence",
        answered(replaced('"persistence.file":"', '"other":"'), STATUS),
    ),
    Fault(
        "no consistency check",
        "gateway-consistency",
        answered(
            replaced('disable-consistency-check":"false', 'disable-consistency-check":"true'),
            STATUS,
        ),
    ),
    Fault(
        "three days are kept",
        "prometheus-retention",
        answered(lambda _: THREE_DAYS, "GET /api/v1/status/runtimeinfo"),
    ),
    Fault("an alert fires", "alerts-quiet", answered(lambda _: FIRING, "GET /api/v1/alerts")),
    Fault("a viewer's key", "grafana-role", environment(GRAFANA_API_KEY=VIEWER)),
)
