"""A canary in a real chain: it proves each hop, and nothing of it is left, however its doctor ends.

By default every third moment is tried; with EVERY_MOMENT in the environment all 52 are.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import pytest

from services.postgres import Postgres
from tests.integration.chain import until
from tests.integration.proxy import proxy
from tests.integration.ward import Ward, opened_ward

CANARY = "obs_canary_timestamp_seconds"
FLIGHT = ("gateway-answers", "--end-to-end")
# A flight asks for some twenty things: which of them it is told to end at, and by which signal,
# before it was handed on or when its answer is on the way back.
MOMENTS = [*product(range(1, 14), ("before", "after"), (signal.SIGINT, signal.SIGTERM))]
TRIED = MOMENTS if os.environ.get("EVERY_MOMENT") else MOMENTS[::3]


@pytest.fixture(scope="module")
def chain(postgres: Postgres) -> Iterator[Ward]:
    with opened_ward(postgres, "canary") as opened:
        yield opened


def nothing_is_left(chain: Ward) -> None:
    assert {group["job"] for group in chain.groups()} == {"dbt-freshness", "dbt-builds"}
    until(lambda: not chain.prometheus.query(CANARY), "Prometheus has no canary")
    until(lambda: not alerts(chain), "Alertmanager has no alert on it")
    assert json.loads(chain.alertmanager.request("/api/v2/silences")) == []


def alerts(chain: Ward) -> list[str]:
    found = json.loads(chain.alertmanager.request("/api/v2/alerts"))
    names = [alert["labels"]["alertname"] for alert in found]
    return [name for name in names if name == "Canary"]


def test_at_least_fifty_moments_can_be_tried() -> None:
    assert len(set(MOMENTS)) >= 50


def test_a_canary_flies_through_the_chain_and_is_gone_afterwards(chain: Ward) -> None:
    found = chain.doctor(*FLIGHT)
    hops = [check for name, check in found.checks.items() if name.startswith("canary-")]
    assert [hop["state"] for hop in hops] == ["ok"] * 4, hops
    assert all(hop["seconds"] >= 0 for hop in hops)
    nothing_is_left(chain)


def test_a_canary_that_gets_stuck_is_taken_away_all_the_same(chain: Ward) -> None:
    found = chain.doctor(*FLIGHT, "--hop-timeout", "1s", PROMETHEUS_URL=chain.gateway.url)
    assert list(found.failed) == ["canary-scraped"]
    assert found.checks["canary-alerted"]["state"] == "skipped"
    nothing_is_left(chain)


@pytest.mark.parametrize(("number", "when", "sign"), TRIED)
def test_a_canary_is_taken_away_by_whoever_is_told_to_end(
    chain: Ward, number: int, when: str, sign: signal.Signals
) -> None:
    """Whether its push was already taken, or is still on its way."""
    with proxy() as between:
        chain.shop.env["http_proxy"] = between.url
        process = chain.shop.start("doctor", *FLIGHT, *chain.options)

        def end(request: int) -> None:
            if request == number:
                process.send_signal(sign)

        setattr(between, when, end)
        try:
            process.communicate(timeout=60)
        finally:
            del chain.shop.env["http_proxy"]
            process.kill()
    assert len(between.passed) >= number
    assert process.returncode == 128 + sign
    nothing_is_left(chain)


def test_what_a_killed_doctor_left_behind_is_taken_away_by_one_of_ten_minutes_later(
    chain: Ward,
) -> None:
    with proxy() as between:
        chain.shop.env["http_proxy"] = between.url
        process = chain.shop.start("doctor", *FLIGHT, *chain.options)
        between.after = lambda _: process.kill() if is_pushed(between.passed) else None
        process.communicate(timeout=60)
        del chain.shop.env["http_proxy"]
    assert process.returncode == -signal.SIGKILL
    assert "obs-doctor" in {group["job"] for group in chain.groups()}

    now, later = doctor_after(chain, 600), doctor_after(chain, 0)

    assert "left behind" not in now  # another doctor may be at work
    assert "1 that earlier runs left behind were taken away" in later
    nothing_is_left(chain)


def is_pushed(passed: list[str]) -> bool:
    return any(request.startswith("PUT ") for request in passed)


def doctor_after(chain: Ward, left_behind_seconds: int) -> str:
    """Return what a doctor says to whom a canary is left behind after so many seconds."""
    script = (
        "import sys; from ledgermind_obs.doctor import canary; from ledgermind_obs import cli\n"
    )
    script += f"canary.LEFT_BEHIND_SECONDS = {left_behind_seconds}; cli.main()"
    return subprocess.run(
        [sys.executable, "-c", script, "doctor", *FLIGHT, *chain.options],
        cwd=chain.shop.directory,
        env=chain.shop.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
