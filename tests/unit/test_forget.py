"""``obs freshness forget`` deletes nothing that is not proven, not there, or not agreed to."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from tests.replay import multiplied
from tests.unit.servers import Answer, web

OWN = b'# x\npushgateway_build_info{version="1.5.1"} 1\n'
PROD = b'job="dbt-freshness",project="lab",target="prod"'
HELD = OWN + b'push_time_seconds{instance="",%s} 1.7e9\n' % PROD
HELD += b'dbt_source_loaded_at_seconds{package="lab",source="app",table="orders",%s} 1.6e9\n' % PROD


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    multiplied(tmp_path, 1)
    monkeypatch.chdir(tmp_path)


def forget(url: str, *argv: str) -> Result:
    return CliRunner().invoke(root, ["freshness", "forget", "--pushgateway", url, *argv])


def test_what_the_group_holds_is_said_and_then_it_is_deleted() -> None:
    with web(Answer(body=HELD), Answer(body=HELD), Answer(202), Answer(body=OWN)) as server:
        result = forget(server.url, "--target", "prod", "--yes")

    assert result.exit_code == 0, result.output
    assert "1 source: app.orders, 1 series" in result.stdout
    assert "deleted from" in result.stdout
    deleted = [asked.path for asked in server.asked if asked.method == "DELETE"]
    assert deleted == ["/metrics/job/dbt-freshness/project/lab/target/prod"]


@pytest.mark.parametrize(
    ("answer", "argv", "code", "words"),
    [
        (Answer(body=b"up 1\n"), ("--yes",), 5, "pushgateway_build_info is missing"),
        (Answer(body=b"<html>", headers={"Content-Type": "text/html"}), ("--yes",), 5, "web page"),
        (Answer(body=HELD), ("--yes", "--job", "other"), 2, "there is no http://"),
        (Answer(body=HELD), (), 2, "there is nobody to ask: add --yes"),
    ],
)
def test_nothing_is_deleted_that_is_not_proven_not_there_or_not_agreed_to(
    answer: Answer, argv: tuple[str, ...], code: int, words: str
) -> None:
    with web(answer) as server:
        result = forget(server.url, "--target", "prod", *argv)

    assert result.exit_code == code
    assert words in result.stderr
    assert "DELETE" not in {asked.method for asked in server.asked}


def test_a_target_that_was_never_pushed_is_answered_with_those_that_were() -> None:
    with web(Answer(body=HELD)) as server:
        result = forget(server.url, "--target", "prd", "--yes")

    assert result.exit_code == 2
    assert "targets of lab on this gateway: did you mean prod?" in result.stderr


def test_a_gateway_that_keeps_the_group_is_not_believed() -> None:
    with web(Answer(body=HELD), Answer(body=HELD), Answer(202), Answer(body=HELD)) as server:
        result = forget(server.url, "--target", "prod", "--yes", "--push-timeout", "1s")

    assert result.exit_code == 5
    assert "still holds the group" in result.stderr
