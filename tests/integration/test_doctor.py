"""A real chain with single faults: the doctor names exactly the one that was made."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from services.postgres import Postgres
from tests.integration.chain import until
from tests.integration.doctor_faults import FAULTS, WARNINGS, Fault, Options
from tests.integration.ward import Ward, opened_ward

BLACK_HOLED_SECONDS = 20.0


@pytest.fixture(scope="module")
def chain(postgres: Postgres) -> Iterator[Ward]:
    with opened_ward(postgres, "ward") as opened:
        yield opened


def outcome(chain: Ward, command: str | None, argv: Options) -> subprocess.CompletedProcess[str]:
    further = ("--lock-timeout", "0s")
    return chain.push(*argv) if command == "push" else chain.check(*further, *argv)


def test_with_nothing_wrong_it_has_no_warning_and_push_and_check_succeed(chain: Ward) -> None:
    found = chain.doctor("--exposure", "training")
    assert (found.in_state("warning"), found.failed, found.code) == ({}, {}, 0)
    assert found.stderr == ""
    assert set(found.in_state("skipped")) <= {
        *("textfile", "watchdog", "schedule-steady", "schedule-entry")
    }
    assert chain.check("--exposure", "training").returncode == 0
    assert chain.push().returncode == 0


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_single_fault_fails_one_check_which_names_it(chain: Ward, fault: Fault) -> None:
    if not fault.reconfigures:
        chain.is_whole()
    with fault.make(chain) as argv:
        found = chain.doctor(*argv)
        assert list(found.failed) == [fault.check], found.failed
        assert found.code == 1
        assert found.checks[fault.check]["next_step"]
        if fault.command:
            assert outcome(chain, fault.command, argv).returncode != 0
        else:  # what neither of them looks at stops neither of them
            assert chain.check().returncode == chain.push().returncode == 0


@pytest.mark.parametrize("fault", WARNINGS, ids=[fault.name for fault in WARNINGS])
def test_what_is_no_fault_yet_is_a_warning_and_fails_nothing(chain: Ward, fault: Fault) -> None:
    chain.is_whole()
    with fault.make(chain) as argv:
        found = chain.doctor(*argv)
        assert (list(found.in_state("warning")), found.failed) == ([fault.check], {}), (
            found.in_state("warning")
        )
        assert found.code == 0
        assert chain.check().returncode == chain.push().returncode == 0


def test_it_ends_in_time_when_no_server_answers(chain: Ward) -> None:
    with ExitStack() as stack:
        holes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(5)]
        database, *urls = [hole.getsockname()[1] for hole in holes]
        names = ("PUSHGATEWAY_URL", "PROMETHEUS_URL", "ALERTMANAGER_URL", "GRAFANA_URL")
        env = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, urls, strict=True)}
        found = chain.doctor(**env, PGPORT=str(database))
    assert found.seconds < BLACK_HOLED_SECONDS
    assert {"warehouse-connects", "gateway-answers", "prometheus-answers"} <= set(found.failed)
    assert {"alertmanager-answers", "grafana-answers"} <= set(found.failed)
    assert all("measure" not in name for name in found.failed)


def test_it_measures_by_dbt_without_a_lock_that_a_push_waits_for(chain: Ward) -> None:
    pushed = chain.shop.private_target_path / "manifest.json"
    before = pushed.stat().st_mtime_ns
    found = chain.doctor("--engine", "dbt", "--deadline", "60s")
    assert (found.failed, found.code) == ({}, 0)
    assert "measured by dbt" in found.checks["dbt-measures"]["observed"]
    assert pushed.stat().st_mtime_ns == before


def test_a_dbt_that_hangs_ends_with_the_doctor(chain: Ward, tmp_path: Path) -> None:
    hanging, noted = tmp_path / "dbt", tmp_path / "pid"
    hanging.write_text(f"#!/bin/sh\necho $$ > {noted}\nexec sleep 300\n")
    hanging.chmod(0o755)
    argv = ("--dbt", str(hanging), "--target-path", str(tmp_path), "--deadline", "4s")
    found = chain.doctor("dbt-parses", *argv)
    assert list(found.failed) == ["dbt-parses"]
    assert "--deadline" in found.checks["dbt-parses"]["next_step"]
    until(lambda: not psutil.pid_exists(int(noted.read_text())), "dbt has ended")


def test_nothing_secret_is_printed(chain: Ward) -> None:
    secrets = {
        "OBS_PUSHGATEWAY_PASSWORD": "hunter-two-gateway",
        "OBS_PROMETHEUS_TOKEN": "hunter-two-prometheus",
        "OBS_ALERTMANAGER_TOKEN": "hunter-two-alertmanager",
        "GRAFANA_API_KEY": "hunter-two-grafana",
        "PGPASSWORD": "hunter-two-database",
    }
    argv = ("--pushgateway-username", "ann")
    url = chain.prometheus.url.replace("http://", "http://bob:hunter-two-url@")
    found = chain.doctor(*argv, "--prometheus", url, **secrets)
    told = chain.shop.obs("--debug", "doctor", *chain.options, *argv, **secrets)
    for text in (found.stdout, found.stderr, told.stdout, told.stderr):
        assert "hunter" not in text


def test_one_area_is_looked_at_with_what_it_needs(chain: Ward) -> None:
    found = chain.doctor("gateway-clock")
    assert list(found.checks) == [
        "dbt-project", "gateway-settings", "gateway-answers", "gateway-clock"
    ]  # fmt: skip
