"""What the alert rules cost Prometheus at 10,000 sources, beside those before they were generated.

The cost is Prometheus' processor time per round of rules, without what scraping takes: neighbours
on the machine do not count. Today's rules have an alert per source; the ones before had none.
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

from bench.measure import report
from ledgermind_obs.dbt.manifest import LineageManifest, read_lineage_manifest
from ledgermind_obs.dbt.meta_obs import settings_of
from ledgermind_obs.freshness import State
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.watched import exposure_owners, watched_sources
from ledgermind_obs.monitoring.generate import Plan, groups
from ledgermind_obs.render.yaml_document import to_yaml
from services.prometheus import Prometheus, prometheus
from services.serving import serving

BEFORE = Path(__file__).parent / "rules_before.yml"
LIMIT = 0.5
TEAMS, GATED = 20, 2
DAY = 86400
_SCHEMA = "https://schemas.getdbt.com/dbt/manifest/v12.json"


@click.command()
@click.option("--sources", default=10_000, show_default=True, help="Sources of the project.")
@click.option("--seconds", default=60, show_default=True, help="Measured time of each.")
@click.option("--interval", default=10, show_default=True, help="Seconds between two rounds.")
def main(sources: int, seconds: int, interval: int) -> None:
    """Print the ratio with its limit; end with 1 if it is over."""
    with tempfile.TemporaryDirectory() as scratch:
        ours = Path(scratch) / "ours.yml"
        ours.write_text(rules_of(sources))
        idle, _ = cost(None, sources, seconds, interval)
        before, before_rounds = cost(BEFORE, sources, seconds, interval)
        now, rounds = cost(ours, sources, seconds, interval)
    old = (before - idle) / before_rounds
    new = (now - idle) / rounds
    detail = f"{new:.2f} s / {old:.2f} s of processor time a round, {sources:,} sources"
    sys.exit(
        0 if report("rules, a round / before they were generated", new / old, LIMIT, detail) else 1
    )


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


def cost(rules: Path | None, sources: int, seconds: int, interval: int) -> tuple[float, int]:
    """Return Prometheus' processor seconds in the measured time, and its rounds of rules."""
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
            _wait_warm(server, rules is not None)
            began = _spent(server)
            time.sleep(seconds)
            ended = _spent(server)
    return ended[0] - began[0], max(1, ended[1] - began[1])


def _wait_warm(server: Prometheus, has_rules: bool) -> None:
    """Wait until everything was scraped, and rules have met it three times."""
    while not server.query("dbt_freshness_run_success"):
        time.sleep(1)
    enough = _spent(server)[1] + 3
    while has_rules and _spent(server)[1] < enough:
        time.sleep(1)


def _spent(server: Prometheus) -> tuple[float, int]:
    """Return processor seconds so far, and the rounds of the group of last known times."""
    seconds, rounds = 0.0, 0.0
    for line in server.metrics().splitlines():
        name, _, value = line.rpartition(" ")
        if name == "process_cpu_seconds_total":
            seconds = float(value)
        elif "dbt-freshness-known" in name and "iterations_missed" in name:
            rounds -= float(value)
        elif "dbt-freshness-known" in name and "iterations_total" in name:
            rounds += float(value)
    return seconds, int(rounds)


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
