"""What the alert rules cost Prometheus at 10,000 sources, beside those before they were generated.

The cost is Prometheus' processor time, without what scraping takes: neighbours on the machine do
not count. Today's rules have an alert per source; the ones before had none. Both run as in
prometheus/prometheus.yml, every 30 s unless a group says otherwise, with all intervals shortened by
the same factor.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import yaml

from bench.measure import report
from ledgermind_obs.dbt.manifest import LineageManifest, read_lineage_manifest
from ledgermind_obs.dbt.meta_obs import settings_of
from ledgermind_obs.durations import parse_age
from ledgermind_obs.freshness import State
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.watched import exposure_owners, watched_sources
from ledgermind_obs.monitoring.generate import Plan, groups
from ledgermind_obs.render.yaml_document import to_yaml
from services.prometheus import Prometheus, prometheus
from services.serving import serving

BEFORE = Path(__file__).parent / "rules_before.yml"
LIMIT = 0.5
# Seconds: the interval of Prometheus itself, and the longest of a group.
STANDARD, LONGEST = 30, 120
CPU = "process_cpu_seconds_total "
ROUNDS = "prometheus_rule_group_iterations_total{"
MISSED = "prometheus_rule_group_iterations_missed_total{"
TEAMS, GATED = 20, 2
DAY = 86400
_SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"


@click.command()
@click.option("--sources", default=10_000, show_default=True, help="Sources of the project.")
@click.option("--interval", default=10, show_default=True, help="Seconds that stand for 30.")
@click.option(
    "--cycles", default=3, show_default=True, help="How many of the longest intervals to measure."
)
def main(sources: int, interval: int, cycles: int) -> None:
    """Print the ratio with its limit; end with 1 if it is over."""
    seconds = cycles * interval * LONGEST // STANDARD
    with tempfile.TemporaryDirectory() as scratch:
        ours, before = (Path(scratch) / name for name in ("ours.yml", "before.yml"))
        ours.write_text(shortened(rules_of(sources), interval))
        before.write_text(shortened(BEFORE.read_text(), interval))
        idle = cost(None, sources, seconds, interval)
        old = cost(before, sources, seconds, interval) - idle
        new = cost(ours, sources, seconds, interval) - idle
    detail = f"{new:.1f} s / {old:.1f} s of processor time in {seconds} s, {sources:,} sources"
    sys.exit(0 if report("rules / before they were generated", new / old, LIMIT, detail) else 1)


def shortened(rules: str, interval: int) -> str:
    """Return the rules with each group's interval as much shorter as that of Prometheus itself."""
    document = yaml.safe_load(rules)
    for group in document["groups"]:
        own = parse_age(group.get("interval", f"{STANDARD}s"))
        group["interval"] = f"{own * interval / STANDARD:.0f}s"
    return yaml.safe_dump(document, sort_keys=False)


def rules_of(sources: int) -> str:
    """Return the rules of a project in which two of twenty teams have a gate."""
    lineage = Lineage(manifest(sources))
    watched = watched_sources(lineage, settings_of(lineage.manifest, None))
    return to_yaml({"groups": groups(Plan("big", watched, exposure_owners(lineage)))})


def manifest(sources: int) -> LineageManifest:
    """Return a manifest of so many sources, each upstream of one exposure."""
    ids = [f"source.big.s{number % 100}.table_{number}" for number in range(sources)]
    limits = {
        "warn_after": {"count": 2, "period": "day"},
        "error_after": {"count": 5, "period": "day"},
    }
    exposures: dict[str, dict[str, Any]] = {
        f"exposure.big.use{team}": {
            "name": f"use{team}",
            "resource_type": "exposure",
            "owner": {"name": f"Team {team}"},
            "depends_on": {"nodes": ids[team::TEAMS]},
            "config": {"meta": {"obs": {"fail_on": "error"}} if team < GATED else {}},
        }
        for team in range(TEAMS)
    }
    document = {
        "metadata": {"dbt_schema_version": _SCHEMA, "project_name": "big"},
        "sources": {
            uid: {
                "unique_id": uid,
                "name": uid.split(".")[3],
                "source_name": uid.split(".")[2],
                "package_name": "big",
                "freshness": limits,
            }
            for uid in ids
        },
        "exposures": exposures,
    }
    return read_lineage_manifest(json.dumps(document).encode())


def cost(rules: Path | None, sources: int, seconds: int, interval: int) -> float:
    """Return Prometheus' processor seconds in the measured time."""
    with serving_page(page(sources)) as target, tempfile.TemporaryDirectory() as scratch:
        config = json.dumps(
            {
                "global": {"evaluation_interval": f"{interval}s"},
                "rule_files": [str(rules)] if rules else [],
                "scrape_configs": [
                    {
                        "job_name": "gateway",
                        "honor_labels": True,
                        "scrape_interval": "15s",
                        "scrape_timeout": "14s",
                        "static_configs": [{"targets": [target]}],
                    }
                ],
            }
        )
        with prometheus(Path(scratch), config) as server:
            _wait_warm(server, has_rules=rules is not None)
            began, missed_before = _sum(server, CPU), _sum(server, MISSED)
            time.sleep(seconds)
            spent, missed = _sum(server, CPU) - began, _sum(server, MISSED) - missed_before
    if missed:
        raise click.ClickException(f"{missed:.0f} rounds were missed: give a longer --interval")
    return spent


def _wait_warm(server: Prometheus, *, has_rules: bool) -> None:
    """Wait until everything was scraped, and the rules of each group have met it."""
    while not server.query("dbt_freshness_run_success"):
        time.sleep(1)
    first = _rounds(server)
    while has_rules and any(_rounds(server)[group] < count + 2 for group, count in first.items()):
        time.sleep(1)


def _rounds(server: Prometheus) -> dict[str, float]:
    """Return how often each group was evaluated."""
    lines = server.metrics().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith(ROUNDS))
    return {group: float(value) for group, _, value in found}


def _sum(server: Prometheus, metric: str) -> float:
    lines = server.metrics().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


@contextmanager
def serving_page(content: bytes) -> Iterator[str]:
    """Serve what a Pushgateway would serve; yield host and port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"127.0.0.1:{server.server_address[1]}"


def page(sources: int) -> bytes:
    """Return the series of so many fresh sources, as ``obs`` exports them."""
    now = int(time.time())
    run = 'job="dbt-freshness",project="big",target="prod"'
    keys = [f'{run},package="big",source="s{n % 100}",table="table_{n}"' for n in range(sources)]
    values = {
        "loaded_at": now - 3600,
        "checked_at": now,
        "warn_after": 2 * DAY,
        "error_after": 5 * DAY,
    }
    lines = [f"dbt_freshness_run_success{{{run}}} 1"]
    lines += [
        f"dbt_freshness_{name}_timestamp_seconds{{{run}}} {now}" for name in ("run", "last_success")
    ]
    for name, value in values.items():
        lines += [f"dbt_source_{name}_seconds{{{key}}} {value}" for key in keys]
    for state in State:
        lines += [
            f'dbt_source_freshness_status{{{key},status="{state}"}} {int(state is State.PASS)}'
            for key in keys
        ]
    lines += [f'dbt_source_info{{{key},unique_id="{n}"}} 1' for n, key in enumerate(keys)]
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    main()
