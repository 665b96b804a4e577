"""How checks are run, and what is told of what they see; the whole chain has its own tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from ledgermind_obs.cli import root
from ledgermind_obs.doctor import canary
from ledgermind_obs.doctor.check import (
    Area,
    Check,
    Result,
    Seen,
    SkippedError,
    State,
    failed,
    warning,
)
from ledgermind_obs.doctor.checks import CHECKS, named
from ledgermind_obs.doctor.examine import examine
from ledgermind_obs.doctor.of_schedule import entries
from ledgermind_obs.doctor.of_warehouse import clock_seen
from ledgermind_obs.doctor.patient import Patient
from ledgermind_obs.doctor.routes import receivers_of
from ledgermind_obs.errors import ConfigurationError, DestinationError

NOBODY = cast(Patient, None)


def check(
    name: str,
    look: Callable[[Patient], Seen] = lambda _: Seen("seen"),
    **settings: Any,
) -> Check:
    return Check(
        name=name, area=Area.DBT, sentence=f"{name} is so", look=look, hint="mend it", **settings
    )


def raising(error: Exception) -> Callable[[Patient], Seen]:
    def look(_: Patient) -> Seen:
        raise error

    return look


def run(*checks: Check, seconds: float = 5.0) -> dict[str, Result]:
    return {result.name: result for result in examine(checks, NOBODY, seconds)}


def states(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.state.value for name, result in results.items()}


def test_a_failure_skips_only_what_depends_on_it_and_names_itself() -> None:
    found = run(
        check("a", raising(DestinationError("it is down", "start it"))),
        check("b", needs=("a",)),
        check("c", after=("b",)),
        check("d"),
    )
    assert states(found) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "ok"}
    assert (found["a"].observed, found["a"].next_step) == ("it is down", "start it")
    assert found["b"].observed == found["c"].observed == "a failed"


def test_a_failure_skips_what_comes_after_it_and_a_warning_skips_nothing() -> None:
    found = run(
        check("a", lambda _: failed("no", "mend")),
        check("b", after=("a",)),
        check("c", lambda _: warning("hm", "see")),
        check("d", needs=("c",), after=("c",)),
    )
    assert states(found) == {"a": "failed", "b": "skipped", "c": "warning", "d": "ok"}


def test_the_reason_of_what_is_not_configured_is_handed_on() -> None:
    found = run(
        check("a", raising(SkippedError("it is not configured"))),
        check("b", needs=("a",)),
        check("c", needs=("b",)),
        check("d", after=("c",)),
    )
    assert {found[name].observed for name in "abc"} == {"it is not configured"}
    assert states(found) == {"a": "skipped", "b": "skipped", "c": "skipped", "d": "ok"}


def test_a_check_that_needs_a_later_one_waits_for_it() -> None:
    found = run(check("a", needs=("b",)), check("b", lambda _: failed("no", "mend")))
    assert list(found) == ["a", "b"]
    assert found["a"].state is State.SKIPPED


def test_checks_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=30)

    def meet(_: Patient) -> Seen:
        both.wait()
        return Seen("met")

    assert set(states(run(check("a", meet), check("b", meet))).values()) == {"ok"}


def test_what_never_answers_fails_at_its_own_limit_and_holds_nobody_up() -> None:
    never = threading.Event()

    def hang(_: Patient) -> Seen:
        never.wait()
        return Seen("late")

    began = time.monotonic()
    found = run(check("a", hang, seconds=0.1), check("b", needs=("a",)), check("c"), seconds=60.0)
    assert time.monotonic() - began < 30
    assert states(found) == {"a": "failed", "b": "skipped", "c": "ok"}
    assert found["a"].observed == "no answer within 0 s"
    assert "--deadline" in found["a"].next_step
    never.set()


def test_all_of_them_end_when_the_time_of_all_is_over() -> None:
    never = threading.Event()

    def hang(_: Patient) -> Seen:
        never.wait()
        return Seen("late")

    found = run(check("a", hang, seconds=None), check("b", needs=("a",)), seconds=0.2)
    assert found["a"].state is State.FAILED
    assert found["b"].state in {State.FAILED, State.SKIPPED}
    never.set()


def test_a_fault_of_obs_itself_is_told_by_kind_and_place_and_without_its_words() -> None:
    found = run(check("a", raising(ValueError("a secret"))))
    assert found["a"].state is State.FAILED
    assert "ValueError" in found["a"].observed
    assert "ledgermind_obs/doctor/examine.py:" in found["a"].observed
    assert "secret" not in found["a"].observed


def test_a_fault_without_a_next_step_gets_that_of_its_check() -> None:
    assert run(check("a", raising(DestinationError("no"))))["a"].next_step == "mend it"
    assert run(check("a"))["a"].next_step == ""


def test_each_check_needs_only_checks_that_exist_and_no_circle_is_among_them() -> None:
    seen: set[str] = set()
    left = list(CHECKS)
    while left:
        ready = [c for c in left if {*c.needs, *c.after} <= seen]
        assert ready, [c.name for c in left]
        seen |= {c.name for c in ready}
        left = [c for c in left if c.name not in seen]
    assert len(seen) == len(CHECKS)


def test_a_name_brings_what_it_needs_and_an_area_all_of_its_checks() -> None:
    assert [c.name for c in named(["dbt-found"])] == ["dbt-project", "dbt-found"]
    grafana = {c.name for c in named(["grafana"])}
    assert grafana >= {c.name for c in CHECKS if c.area is Area.GRAFANA}
    assert named([]) == list(CHECKS)


def test_an_unknown_name_is_refused_with_what_was_meant() -> None:
    with pytest.raises(ConfigurationError, match=r"no check gateway-answer$") as raised:
        named(["gateway-answer"])
    assert "gateway-answers" in raised.value.next_step


def test_the_list_has_every_check_and_looks_at_nothing() -> None:
    result = CliRunner().invoke(root, ["doctor", "--list"])
    assert result.exit_code == 0
    for claim in (*CHECKS, *canary.CLAIMS):
        assert f" {claim.name} " in result.output
        assert claim.sentence in result.output


@pytest.mark.parametrize(
    ("ahead", "state", "words"),
    [
        (0.2, State.OK, "less than 1 s apart"),
        (-120.0, State.OK, "the gateway is 2 min behind this host's clock"),
        (301.0, State.FAILED, "the gateway is 5 min ahead of this host's clock"),
        (-301.0, State.FAILED, "the gateway is 5 min behind this host's clock"),
    ],
)
def test_clocks_may_differ_by_five_minutes(ahead: float, state: State, words: str) -> None:
    seen = clock_seen("the gateway", ahead)
    assert (seen.state, seen.observed) == (state, words)


ROUTES = {
    "route": {
        "receiver": "team",
        "routes": [
            {"matchers": ['severity="critical"', 'project!=""'],
             "receiver": "pager", "continue": True},
            {"match_re": {"owner": "pay.*"}, "routes": [
                {"match": {"table": "refunds"}, "receiver": "nobody"},
            ], "receiver": "payments"},
        ],
    },
    "receivers": [
        {"name": "team", "slack_configs": [{}]},
        {"name": "pager", "pagerduty_configs": [{}], "email_configs": [{}]},
        {"name": "payments", "webhook_configs": []},
        {"name": "nobody"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("labels", "ends"),
    [
        ({"severity": "warning"}, ["team"]),
        ({"severity": "critical", "project": "shop"}, ["pager"]),
        ({"severity": "critical"}, ["team"]),
        ({"severity": "critical", "project": "shop", "owner": "payments"}, ["pager", "payments"]),
        ({"owner": "payments", "table": "refunds"}, ["nobody"]),
        ({"owner": "repay"}, ["team"]),
    ],
)
def test_an_alert_ends_where_alertmanager_leads_it(labels: dict[str, str], ends: list[str]) -> None:
    assert [receiver.name for receiver in receivers_of(ROUTES, labels)] == ends


def test_a_receiver_tells_by_what_it_has_integrations_for() -> None:
    [pager] = receivers_of(ROUTES, {"severity": "critical", "project": "shop"})
    [payments] = receivers_of(ROUTES, {"owner": "payments"})
    assert pager.integrations == ("pagerduty", "email")
    assert payments.integrations == ()


def test_a_schedule_is_found_by_its_command_and_not_in_a_comment(tmp_path: Path) -> None:
    (tmp_path / "cron.d").mkdir()
    lines = ["# 0 * * * * obs freshness push", "MAILTO=ann", "*/15 * * * * obs freshness push -t p"]
    (tmp_path / "cron.d" / "obs").write_text("\n".join(lines))
    found = list(entries([f"{tmp_path}/cron.d/*", f"{tmp_path}/nothing"]))
    assert [line for _, line in found] == lines[2:]
