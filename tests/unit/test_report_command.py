"""``obs freshness report`` as a command: where the report goes, and what happens without one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from tests.mail_server import post
from tests.replay import multiplied, recorded
from tests.unit.gated import DAY, result, write_artifact, write_gated
from tests.unit.manifests import RAW
from tests.unit.recorded import scenario
from tests.unit.servers import Answer, web

Obs = Callable[..., Result]
TO = ("--mail", "team@example.org")
LOGIN = {"OBS_SMTP_USERNAME": "me@example.org", "OBS_SMTP_PASSWORD": "tiger-in-the-tank"}


@pytest.fixture
def obs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Obs:
    """Run ``obs freshness report`` in a project whose dbt replays a recorded run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBS_DBT", str(tmp_path / "dbt"))
    return lambda *argv, **env: CliRunner().invoke(root, ["freshness", "report", *argv], env=env)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    return multiplied(tmp_path, 3).parent


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    return recorded(tmp_path, scenario("1.11", "whole")).parent


def text_of(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("report.html", "<!DOCTYPE html>"),
        ("report.md", "**17 of 25 sources need somebody**"),
        ("report.json", "{"),
        ("report.txt", "17 of 25 sources need somebody\n"),
    ],
)
def test_a_file_has_the_report_in_the_form_that_its_name_says(
    obs: Obs, mixed: Path, name: str, beginning: str
) -> None:
    result = obs("--output", name)

    assert (result.exit_code, result.stdout) == (0, "")
    assert (mixed / name).read_text().startswith(beginning)


def test_a_file_is_replaced_whole_and_a_link_stays(obs: Obs, fresh: Path) -> None:
    kept = fresh / "kept.txt"
    kept.write_text("x" * 10_000)
    (fresh / "link.txt").symlink_to(kept)

    assert obs("--output", "link.txt").exit_code == 0

    assert (fresh / "link.txt").is_symlink()
    assert kept.read_text().startswith("All 3 sources are fresh\n")
    assert "x" * 100 not in kept.read_text()
    assert not list(fresh.glob(".kept*"))


def test_a_place_that_takes_no_file_is_exit_code_5(obs: Obs, fresh: Path) -> None:
    result = obs("--output", "nowhere/report.html")

    assert result.exit_code == 5
    assert "cannot write nowhere/report.html: No such file or directory" in result.stderr


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the result of an earlier run, and a dbt that fails."""
    write_gated(tmp_path)
    (tmp_path / "does").write_text("sys.exit(1)")
    then = (datetime.now(UTC) - 0.2 * DAY).isoformat()
    write_artifact(tmp_path, result(RAW, 2.1 * DAY, snapshotted_at=then), age=0.2 * DAY)
    return tmp_path


def test_an_earlier_run_is_reported_at_the_age_of_now_and_nothing_is_measured(
    obs: Obs, earlier: Path
) -> None:
    artifact = ("--artifact", "prepared_sources.json", "--artifact-max-age", "1d")
    found = json.loads(
        obs(*artifact, "--manifest", "target/manifest.json", "--format", "json").stdout
    )

    (source,) = found["sources"]
    assert source["state"] == "warn"  # it was 1.9 days old when it was measured
    assert "prepared_sources.json, written 4 h 48 min ago" in found["origin"]


def test_an_old_artifact_is_refused(obs: Obs, earlier: Path) -> None:
    named = ("--artifact", "prepared_sources.json", "--manifest", "target/manifest.json")

    refused = obs(*named)

    assert refused.exit_code == 4
    assert "limit 1 h" in refused.stderr


def test_one_mail_goes_out_also_when_all_is_well(obs: Obs, fresh: Path) -> None:
    with post() as kept:
        result = obs(*TO, SMTP_URL=f"smtp://{kept.place}")

    assert (result.exit_code, result.output) == (0, "")
    (letter,) = kept.letters
    assert letter["Subject"] == "lab dev: all 3 sources are fresh"
    assert text_of(letter).startswith("All 3 sources are fresh\n")


def test_a_file_that_cannot_be_written_keeps_nobody_from_the_mail(obs: Obs, fresh: Path) -> None:
    with post() as kept:
        result = obs(*TO, "--output", "nowhere/report.html", SMTP_URL=f"smtp://{kept.place}")

    assert result.exit_code == 5
    assert "cannot write nowhere/report.html" in result.stderr
    assert len(kept.letters) == 1


def test_recipients_are_listed_or_repeated_and_each_is_asked_once(obs: Obs, fresh: Path) -> None:
    to = ("--mail", "a@example.org, b@example.org", "--mail", "a@example.org")
    with post() as kept:
        obs(*to, SMTP_URL=f"smtp://{kept.place}")

    assert kept.recipients == [["a@example.org", "b@example.org"]]


def test_an_undelivered_mail_is_exit_code_5_with_the_servers_words(obs: Obs, fresh: Path) -> None:
    with post({"RCPT": "450 4.2.0 greylisted"}) as kept:
        result = obs(*TO, SMTP_URL=f"smtp://{kept.place}")

    assert result.exit_code == 5
    words = f"obs: {kept.place} refused the recipient team@example.org: 450 4.2.0 greylisted"
    assert words in result.stderr
    assert "try again later" in result.stderr
    assert kept.connections == 1


def test_a_run_without_a_report_is_told_by_mail_with_its_own_exit_code(
    obs: Obs, tmp_path: Path
) -> None:
    recorded(tmp_path, scenario("1.11", "database_down"))
    with post() as kept:
        result = obs(*TO, SMTP_URL=f"smtp://{kept.place}")

    (letter,) = kept.letters
    assert result.exit_code == 3
    assert letter["Subject"] == "lab dev: there is no freshness report"
    assert "dbt could not reach the database" in text_of(letter)


def test_a_run_without_a_report_and_without_a_mail_says_both(obs: Obs, tmp_path: Path) -> None:
    recorded(tmp_path, scenario("1.11", "database_down"))
    with post({"MAIL": "550 no"}) as kept:
        result = obs(*TO, SMTP_URL=f"smtp://{kept.place}")

    assert result.exit_code == 3
    assert "refused the sender" in result.stderr
    assert "dbt could not reach the database" in result.stderr


def test_credentials_come_from_the_environment(obs: Obs, fresh: Path) -> None:
    with post(extensions=("AUTH PLAIN",)) as kept:
        result = obs(*TO, SMTP_URL=f"smtp://{kept.place}", **LOGIN)

    assert result.exit_code == 0
    assert kept.logins == [("me@example.org", "tiger-in-the-tank")]
    assert "me@example.org" in kept.letters[0]["From"]


def test_credentials_come_from_a_file_or_a_url_in_the_environment(obs: Obs, fresh: Path) -> None:
    (fresh / "password").write_text("from-a-file\n")
    by_file = ("--smtp-username", "me", "--smtp-password-file", "password")
    with post(extensions=("AUTH PLAIN",)) as kept:
        obs(*TO, *by_file, "--smtp", f"smtp://{kept.place}")
        obs(*TO, SMTP_URL=f"smtp://you:in%2Fa-url@{kept.place}")

    assert kept.logins == [("me", "from-a-file"), ("you", "in/a-url")]


def test_a_password_on_the_command_line_is_refused_and_not_shown(obs: Obs, fresh: Path) -> None:
    result = obs(*TO, "--smtp", "smtp://me:tiger-tank@localhost")

    assert result.exit_code == 2
    assert "SMTP_URL" in result.stderr
    assert "tiger-tank" not in result.output


def test_a_server_that_repeats_the_password_is_masked(obs: Obs, fresh: Path) -> None:
    refusal = {"AUTH": "535 tiger-in-the-tank is wrong"}
    with post(refusal, extensions=("AUTH PLAIN",)) as kept:
        result = obs(*TO, SMTP_URL=f"smtp://{kept.place}", **LOGIN)

    assert result.exit_code == 5
    assert "535 *** is wrong" in result.stderr


@pytest.mark.parametrize("address", ["team", "a b@example.org"])
def test_what_is_no_address_is_refused_before_anything_is_measured(
    obs: Obs, fresh: Path, address: str
) -> None:
    (fresh / "dbt").unlink()
    result = obs("--mail", address)

    assert result.exit_code == 2
    assert "is not a mail address" in result.stderr


def test_looking_back_needs_a_prometheus(obs: Obs, fresh: Path) -> None:
    result = obs("--since", "24h")

    assert result.exit_code == 2
    assert "add --prometheus" in result.stderr


def test_a_prometheus_that_is_gone_costs_the_history_and_not_the_report(
    obs: Obs, fresh: Path
) -> None:
    with web(Answer(404, b"no such page")) as server:
        result = obs("--prometheus", server.url)

    assert result.exit_code == 0
    assert result.stdout.startswith("All 3 sources are fresh\n")
    assert "note: there is no history:" in result.stdout
    assert "obs: the report has no history:" in result.stderr
    assert "404: no such page" in result.stderr


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"warnings": ["a store is down"]}, "answered in part only: a store is down"),
        ({"isPartial": True}, "answered in part only: isPartial is true"),
        ({"status": "error", "error": "too many samples"}, "run the query: too many samples"),
        ({"data": {"resultType": "vector", "result": []}}, "does not answer with a matrix"),
        ({"data": 7}, "does not answer as Prometheus does"),
        (
            {"data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "x"]]}]}},
            "does not answer as Prometheus does",
        ),
    ],
)
def test_an_answer_that_proves_nothing_is_no_history(
    obs: Obs, fresh: Path, answer: dict[str, object], words: str
) -> None:
    sound = {"status": "success", "data": {"resultType": "matrix", "result": []}}
    body = json.dumps({**sound, **answer}).encode()
    with web(Answer(200, body, {"Content-Type": "application/json"})) as server:
        result = obs("--prometheus", server.url)

    assert result.exit_code == 0
    assert words in result.stderr
    assert "Within the limit" not in result.stdout


def test_a_source_that_prometheus_does_not_know_has_no_figure(obs: Obs, fresh: Path) -> None:
    body = b'{"status": "success", "data": {"resultType": "matrix", "result": []}}'
    with web(Answer(200, body, {"Content-Type": "application/json"})) as server:
        result = obs("--prometheus", server.url)

    assert "knows none of these sources" in " ".join(result.stdout.split())
    assert "%" not in result.stdout


def test_the_last_row_of_a_source_that_fails_is_that_of_an_earlier_push(
    obs: Obs, mixed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBS_TEXTFILE", str(mixed / "dbt.prom"))
    CliRunner().invoke(root, ["freshness", "push"])
    broken = json.loads((mixed / "sources.json").read_text())
    broken["results"] = [r for r in broken["results"] if r["unique_id"] != "source.lab.lab.fresh"]
    (mixed / "sources.json").write_text(json.dumps(broken))

    found = json.loads(obs("--format", "json").stdout)

    source = next(s for s in found["sources"] if s["unique_id"] == "source.lab.lab.fresh")
    assert source["loaded_at"] is None
    assert source["last_row_at"] is not None


def test_the_page_that_next_steps_link_to_can_be_another(obs: Obs, mixed: Path) -> None:
    result = obs("--runbook", "https://wiki.example.org/data")

    assert "https://wiki.example.org/data#source-is-empty" in result.stdout
    assert "github.com" not in result.stdout


def test_a_secret_is_masked_in_a_file_too(obs: Obs, fresh: Path) -> None:
    obs("--output", "report.txt", DBT_ENV_SECRET_X="lab.table_00001")

    assert "lab.table_00001" not in (fresh / "report.txt").read_text()
    assert "***" in (fresh / "report.txt").read_text()


def test_a_hanging_mail_server_ends_with_the_limit(obs: Obs, fresh: Path) -> None:
    began = time.monotonic()
    with post({"EHLO": None}) as kept:
        result = obs(*TO, "--mail-timeout", "0.5s", SMTP_URL=f"smtp://{kept.place}")

    assert result.exit_code == 5
    assert "timed out" in result.stderr
    assert time.monotonic() - began < 15
