"""``obs rules check`` and ``obs dashboard check`` as a whole: what they read, and how they end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from docs import make
from ledgermind_obs.cli import root
from ledgermind_obs.errors import DOCS
from tests.unit.manifests import content, sound
from tests.unit.test_codes import panel

RULE = """\
groups:
  - name: ages
    rules:
      - record: unused
        expr: up

      - alert: Stale
        expr: time() - dbt_source_loaded_at_seconds > {limit}
        labels: {{severity: warning}}
        annotations:
          summary: s
          description: d
          runbook_url: {url}
"""
URL = "https://x/page.md#here"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifest.json").write_bytes(content(*sound()))
    (tmp_path / "rules").mkdir()
    write_rules(tmp_path)
    (tmp_path / "boards").mkdir()
    write_board(tmp_path / "boards/b.json")
    return tmp_path


def write_rules(place: Path, *, limit: str = "1", url: str = URL) -> None:
    (place / "rules/a.yml").write_text(RULE.format(limit=limit, url=url))


def write_board(path: Path, *panels: dict[str, object], **keys: object) -> None:
    path.write_text(json.dumps({"uid": "b", "title": "B", "panels": panels or [panel()], **keys}))


def obs(*argv: str, stdin: str = "", **env: str) -> Result:
    command = [*argv, "--manifest", "manifest.json"]
    return CliRunner().invoke(root, command, input=stdin, env=env)


def codes(result: Result) -> list[str]:
    return [finding["code"] for finding in json.loads(result.stdout)["findings"]]


def test_rules_need_no_folder_of_runbooks_and_it_is_said_that_links_are_not_checked(
    place: Path,
) -> None:
    result = obs("rules", "check", "rules")
    assert result.exit_code == 0
    assert result.stdout == "1 file, 1 alert, 1 source, 0 runbooks: no finding\n"
    assert result.stderr == (
        "obs: runbook links are not checked: there is no folder docs\n"
        "     name the folder that has the pages: --runbooks DIR\n"
    )


def test_a_folder_of_runbooks_that_is_named_must_be_there(place: Path) -> None:
    assert obs("rules", "check", "rules", "--runbooks", "nowhere").exit_code == 2


def test_links_to_what_is_no_markdown_are_not_checked_and_that_is_said(place: Path) -> None:
    (place / "docs").mkdir()
    write_rules(place, url="https://wiki/runbooks/Stale")
    result = obs("rules", "check", "rules")
    assert (result.exit_code, result.stdout.splitlines()[-1][-10:]) == (0, "no finding")
    assert "not checked" in result.stderr
    assert "https://wiki/runbooks/Stale" in result.stderr


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (b"# Here\n", []),
        (b"# There\n", ["R302"]),
        (b"# H\xe9re\n", ["R303"]),
        (b"\xff\xfe#\x00 \x00", ["R303"]),
        (None, ["R301"]),
    ],
)
def test_a_runbook_is_checked_if_it_is_in_reach(
    place: Path, page: bytes | None, found: list[str]
) -> None:
    (place / "docs").mkdir()
    (place / "docs/other.md").write_bytes(b"\xff")
    if page is not None:
        (place / "docs/page.md").write_bytes(page)
    assert codes(obs("rules", "check", "rules", "--format", "json")) == found


def test_a_runbook_that_is_no_file_is_a_finding_and_no_hang(place: Path) -> None:
    (place / "docs").mkdir()
    os.mkfifo(place / "docs/page.md")
    result = obs("rules", "check", "rules")
    assert result.exit_code == 1
    assert "R303 error  Stale links to page.md, which cannot be read" in result.stdout


def test_a_rule_is_found_at_its_line(place: Path) -> None:
    write_rules(place, limit="foo")
    result = obs("rules", "check", "rules", "--format", "github")
    assert (
        "::error file=rules/a.yml,line=7,title=R103 nothing exports the metric::" in result.stdout
    )
    assert f"see {DOCS}/alerting.md#r103" in result.stdout


def test_a_source_without_an_alert_is_found_where_it_is_declared(place: Path) -> None:
    (place / "dbt_project.yml").write_text("name: shop\n")
    (place / "models").mkdir()
    declared = "sources:\n  - name: app\n    tables:\n      - name: raw\n"
    (place / "models/sources.yml").write_text(declared)
    (place / "rules/a.yml").write_text("groups: [{rules: []}]")
    result = obs("rules", "check", "rules")
    assert result.stdout.startswith("models/sources.yml:4  R401 error  app.raw may be of any age")


@pytest.mark.parametrize("pattern", ["", ":Stale", ":St*", ":ages", ":ages/Stale"])
def test_a_finding_on_an_alert_is_ignored_by_alert_or_group(place: Path, pattern: str) -> None:
    write_rules(place, limit="foo")
    assert obs("rules", "check", "rules").exit_code == 1
    assert obs("rules", "check", "rules", "--ignore", f"R103{pattern}").exit_code == 0


@pytest.mark.parametrize("pattern", ["", ":P", ":b/1", ":B"])
def test_a_finding_on_a_panel_is_ignored_by_title_id_or_dashboard(
    place: Path, pattern: str
) -> None:
    write_board(place / "boards/b.json", panel(thresholds=[1]))
    assert obs("dashboard", "check", "boards").exit_code == 1
    assert obs("dashboard", "check", "boards", "--ignore", f"D204{pattern}").exit_code == 0


@pytest.mark.parametrize("room", ["rules", "dashboard"])
def test_an_entry_that_ignores_nothing_is_told(place: Path, room: str) -> None:
    letter = room[0].upper()
    files = {"rules": "rules", "dashboard": "boards"}[room]
    result = obs(room, "check", files, "--ignore", f"{letter}103:other")
    assert result.exit_code == 0
    assert f"obs: --ignore {letter}103:other ignores nothing\n" in result.stderr


def test_a_code_of_another_check_is_refused_and_the_nearest_is_named(place: Path) -> None:
    result = obs("rules", "check", "rules", "--ignore", "L103")
    assert result.exit_code == 2
    assert "did you mean R103?" in " ".join(result.stderr.split())


def test_each_check_has_its_own_list_in_the_environment(place: Path) -> None:
    write_rules(place, limit="foo")
    env = {
        "OBS_LINEAGE_IGNORE": "L203",
        "OBS_RULES_IGNORE": "R103:Stale",
        "OBS_DASHBOARD_IGNORE": "D103",
    }
    assert obs("rules", "check", "rules", **env).exit_code == 0


def test_an_environment_variable_means_one_option_with_one_set_of_values() -> None:
    meanings: dict[str, set[tuple[str, tuple[str, ...]]]] = {}
    for context in make.commands():
        if context.command_path.startswith("obs freshness"):
            continue
        for param in context.command.params:
            choices = tuple(param.type.choices) if isinstance(param.type, click.Choice) else ()
            meanings.setdefault(str(param.envvar), set()).add((str(param.opts), choices))
    del meanings["None"]
    # Among several servers, the doctor calls Grafana's URL by its name.
    for name in ("GRAFANA_URL", "GRAFANA_CA_FILE"):
        assert len(meanings.pop(name)) == 2
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_a_warning_fails_on_demand(place: Path) -> None:
    write_rules(place, url="")
    assert obs("rules", "check", "rules").exit_code == 0
    assert obs("rules", "check", "rules", "--fail-on", "warning").exit_code == 1
    assert obs("rules", "check", "rules", OBS_FINDINGS_FAIL_ON="warning").exit_code == 1


def odd_entries(folder: Path, suffix: str) -> list[str]:
    os.mkfifo(folder / f"fifo{suffix}")
    (folder / f"dangling{suffix}").symlink_to("nowhere")
    (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
    (folder / f"broken{suffix}").write_text("{")
    (folder / f"latin{suffix}").write_bytes(b"a: \xff")
    (folder / f"large{suffix}").write_bytes(b" " * 5_000_001)
    return ["fifo", "dangling", "loop", "broken", "latin", "large"]


@pytest.mark.parametrize(
    ("room", "folder", "suffix"), [("rules", "rules", ".yml"), ("dashboard", "boards", ".json")]
)
def test_what_cannot_be_read_is_named_and_the_rest_is_checked(
    place: Path, room: str, folder: str, suffix: str
) -> None:
    names = odd_entries(place / folder, suffix)
    (place / folder / f"directory{suffix}").mkdir()
    result = obs(room, "check", folder, "--format", "json")
    assert result.exit_code == 2
    unread = json.loads(result.stdout)["unread"]
    assert [entry["file"] for entry in unread] == [f"{folder}/{n}{suffix}" for n in sorted(names)]
    assert [f"{n}{suffix}" for n in names if f"{n}{suffix}" not in result.stderr] == []
    assert codes(result) == []


@pytest.mark.parametrize("name", ["fifo.json", "absent.json", "boards/none"])
def test_a_file_that_was_named_and_cannot_be_read_is_an_error(place: Path, name: str) -> None:
    os.mkfifo(place / "fifo.json")
    (place / "boards/none").mkdir()
    for room in ("rules", "dashboard"):
        result = obs(room, "check", name)
        assert result.exit_code == 2
        assert name in result.stderr


def test_rules_that_could_be_in_a_file_that_was_not_read_are_not_missed(place: Path) -> None:
    (place / "rules/broken.yml").write_text("{")
    write_rules(place, limit="recorded:elsewhere")
    result = obs("rules", "check", "rules", "--format", "json")
    assert (result.exit_code, codes(result)) == (2, [])


def test_rules_and_dashboards_are_read_from_standard_input(place: Path) -> None:
    rules = RULE.format(limit="foo", url=URL)
    assert codes(obs("rules", "check", "-", "--format", "json", stdin=rules)) == ["R103"]
    board = (place / "boards/b.json").read_text()
    assert codes(obs("dashboard", "check", "-", "--format", "json", stdin=board)) == []


def test_a_bomb_is_a_finding(place: Path) -> None:
    bomb = "-" * 100_000 + "a"
    write_rules(place, limit=bomb)
    assert "R102" in codes(obs("rules", "check", "rules", "--format", "json"))
    write_board(place / "boards/b.json", panel(targets=[{"refId": "A", "expr": bomb}]))
    assert codes(obs("dashboard", "check", "boards", "--format", "json")) == ["D102"]


def covering(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    model = {"title": "B", "panels": [panel(targets=[{"expr": "dbt_source_loaded_at_seconds"}])]}
    resource = {"apiVersion": "dashboard.grafana.app/v1beta1", "metadata": {"name": "b"}}
    path.write_text(json.dumps({**resource, "spec": model}))


def test_lineage_and_dashboard_check_read_the_same_dashboards(place: Path) -> None:
    covering(place / "deep/below/b.json")
    covering(place / "deep/.hidden/b.json")
    lineage = obs("lineage", "check", "--dashboards", "deep", "--format", "json")
    assert "L302" not in codes(lineage)
    looked_at = json.loads(obs("dashboard", "check", "deep", "--format", "json").stdout)
    assert looked_at["files"] == ["deep/below/b.json"]


@pytest.mark.parametrize("option", ["--rules", "--dashboards"])
def test_lineage_check_names_what_it_cannot_read(place: Path, option: str) -> None:
    folder = place / "odd"
    folder.mkdir()
    for name in odd_entries(folder, ".json" if option == "--dashboards" else ".yml"):
        (only,) = [path for path in folder.iterdir() if path.stem == name]
        result = obs("lineage", "check", option, str(only))
        assert result.exit_code == 2
        assert only.name in result.stderr
