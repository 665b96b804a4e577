"""As which tenant a Prometheus of many is asked, by each command that asks one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from docs.make import commands
from ledgermind_obs.cli import root
from tests.unit.gated import declare, write_gated, write_run_results
from tests.unit.servers import Answer, web
from tests.unit.test_gate_over_tables import ALL, NODES

COMMANDS = {
    "freshness check": (),
    "freshness report": (),
    "builds push": ("--textfile", "builds.prom"),
    "doctor": ("prometheus-answers",),
}


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in write_gated(tmp_path).items():
        monkeypatch.setenv(name, value)
    declare(tmp_path, *NODES)
    write_run_results(tmp_path, ALL)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_request_to_prometheus_names_the_tenant(command: str) -> None:
    with web(Answer(404)) as server:
        argv = [*command.split(), *COMMANDS[command], "--prometheus", server.url]
        CliRunner().invoke(root, [*argv, "--prometheus-tenant", "payments|orders"])

    assert server.asked
    assert {asked.headers.get("X-Scope-OrgID") for asked in server.asked} == {"payments|orders"}


def test_a_server_of_one_tenant_is_told_of_none() -> None:
    with web(Answer(404)) as server:
        CliRunner().invoke(root, ["freshness", "check", "--prometheus", server.url])

    assert server.asked
    assert all("X-Scope-OrgID" not in asked.headers for asked in server.asked)


@pytest.mark.parametrize("tenant", ["a b", "a\r\nX-Admin: 1", "läden", "a/b"])
def test_what_is_no_tenant_is_refused_before_anybody_is_asked(tenant: str) -> None:
    with web(Answer(404)) as server:
        argv = ["freshness", "check", "--prometheus", server.url, "--prometheus-tenant", tenant]
        result = CliRunner().invoke(root, argv)

    assert (result.exit_code, server.asked) == (2, [])
    assert "is not the ID of a tenant" in result.stderr


def test_every_command_that_asks_a_prometheus_can_name_a_tenant_and_is_tried_here() -> None:
    asking = {
        context.command_path.removeprefix("obs ")
        for context in commands()
        if any("--prometheus" in param.opts for param in context.command.params)
    }
    assert asking == set(COMMANDS)
