"""What a host that did not look learns of the time before a build, from who did."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from tests.unit.gated import declare, write_gated, write_run_results
from tests.unit.servers import Answer, Web, web
from tests.unit.test_gate_over_tables import ALL, NODES

MINUTE = 60.0
LABELS = {"job": "dbt-freshness", "project": "shop", "target": "prod"}
SOURCE = {"package": "shop", "source": "app", "table": "raw"}
UNKNOWN = "of unknown age: training reads app.raw; measure before you build"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two tables that was built an hour ago, and measured by somebody else."""
    monkeypatch.chdir(tmp_path)
    for name, value in write_gated(tmp_path).items():
        monkeypatch.setenv(name, value)
    declare(tmp_path, *NODES)
    write_run_results(tmp_path, ALL)
    return tmp_path


def push(*argv: str) -> Result:
    return CliRunner().invoke(root, ["builds", "push", "--textfile", "builds.prom", *argv])


def claims() -> list[float]:
    lines = Path("builds.prom").read_text().splitlines()
    return [float(line.split()[-1]) for line in lines if line.startswith("dbt_exposure_as_of")]


@pytest.fixture
def prometheus() -> Iterator[Web]:
    """A Prometheus that had a look of 80 minutes ago when it is asked for 70 minutes ago."""
    now = time.time()
    times = {"dbt_source_checked_at_seconds": 80, "dbt_source_loaded_at_seconds": 200}
    result: list[dict[str, object]] = [
        {
            "metric": LABELS | SOURCE | {"__name__": name},
            "value": [now - 70 * MINUTE, str(now - minutes * MINUTE)],
        }
        for name, minutes in times.items()
    ]
    body = {"status": "success", "data": {"resultType": "vector", "result": result}}
    with web(Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})) as found:
        yield found


def test_without_a_look_before_the_build_nothing_is_claimed_and_that_is_said(place: Path) -> None:
    found = push()

    assert (found.exit_code, claims()) == (0, [])
    assert UNKNOWN in found.stderr


def test_prometheus_is_asked_for_what_it_had_before_the_build_by_any_clock(
    place: Path, prometheus: Web
) -> None:
    found = push("--prometheus", prometheus.url)

    asked = parse_qs(urlsplit(prometheus.asked[0].path).query)
    assert float(asked["time"][0]) == pytest.approx(time.time() - 70 * MINUTE, abs=MINUTE)
    assert (found.exit_code, found.stderr) == (0, "")
    assert claims() == [pytest.approx(time.time() - 200 * MINUTE, abs=MINUTE)]


def test_a_prometheus_that_does_not_answer_costs_the_claim_and_not_the_push(place: Path) -> None:
    with web(Answer(500)) as server:
        found = push("--prometheus", server.url)

    assert (found.exit_code, claims()) == (0, [])
    assert "what was seen before the build cannot be asked: " in found.stderr
    assert UNKNOWN in found.stderr


def test_who_has_looked_asks_nobody(place: Path, prometheus: Web) -> None:
    CliRunner().invoke(root, ["freshness", "check", "--exposure", "training"])

    push("--prometheus", prometheus.url)

    assert prometheus.asked == []


GATEWAY = """\
# TYPE dbt_source_checked_at_seconds gauge
dbt_source_checked_at_seconds{{{labels}}} {checked}
# TYPE dbt_source_loaded_at_seconds gauge
dbt_source_loaded_at_seconds{{{labels}}} {loaded}
# TYPE pushgateway_build_info gauge
pushgateway_build_info{{version="1.5.1"}} 1
"""


@pytest.mark.parametrize(("checked", "known"), [(80, True), (58, False)])
def test_the_gateways_last_look_counts_if_it_was_before_the_build(
    place: Path, checked: float, known: bool
) -> None:
    labels = {"instance": "", **LABELS, **SOURCE}
    content = GATEWAY.format(
        labels=",".join(f'{name}="{value}"' for name, value in labels.items()),
        checked=time.time() - checked * MINUTE,
        loaded=time.time() - 200 * MINUTE,
    )
    headers = {"Content-Type": "text/plain; version=0.0.4"}
    answers = [Answer(200, content.encode(), headers)] * 2
    with web(*answers, Answer(200)) as server:
        found = CliRunner().invoke(root, ["builds", "push", "--pushgateway", server.url])
        (put,) = [asked for asked in server.asked if asked.method == "PUT"]

    assert (found.exit_code, UNKNOWN in found.stderr) == (0, not known)
    assert (b"dbt_exposure_as_of_seconds{" in put.body) is known
