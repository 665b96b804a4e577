"""``obs dashboard import`` and ``diff`` on a Grafana that refuses as old and new ones do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ledgermind_obs.cli import root
from ledgermind_obs.http import client
from ledgermind_obs.http.endpoint import Endpoint, Tls
from ledgermind_obs.monitoring.dashboard import check, read_dashboard
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.grafana import Grafana
from tests.fake_grafana import (
    ADMIN,
    EDITOR,
    EIGHT,
    NEW,
    SEVEN,
    VIEWER,
    FakeGrafana,
    Kept,
    fake_grafana,
    said,
)

OURS = Path(__file__).parents[2] / "ops/grafana/dashboards/ml-source-freshness.json"


@pytest.fixture(params=[EIGHT, NEW])
def grafana(request: pytest.FixtureRequest) -> Iterator[FakeGrafana]:
    with fake_grafana(request.param) as server:
        yield server


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.001)


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return write(tmp_path / "board.json", {})


def write(path: Path, changes: dict[str, Any]) -> Path:
    model = {"uid": "board", "title": "A board", "panels": [], "schemaVersion": 39, **changes}
    path.write_text(json.dumps(model))
    return path


def obs(grafana: FakeGrafana, *args: object, key: str = ADMIN, stdin: str = "") -> Result:
    env = {"GRAFANA_URL": grafana.url, "GRAFANA_API_KEY": key}
    return CliRunner().invoke(root, ["dashboard", *map(str, args)], env=env, input=stdin)


def test_a_new_dashboard_is_created_and_what_the_document_shows_is_printed(
    grafana: FakeGrafana,
) -> None:
    result = obs(grafana, "import", OURS, "--format", "json")
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["action"] == "created"
    assert {key: shown[key] for key in ("id", "slug", "status", "uid", "url", "version")} == {
        "id": 41,
        "slug": "ledgermind-ml-source-freshness",
        "status": "success",
        "uid": "ml-freshness",
        "url": "/d/ml-freshness/ledgermind-ml-source-freshness",
        "version": 1,
    }


def test_without_a_file_it_is_a_dashboard_for_any_project(grafana: FakeGrafana) -> None:
    result = obs(grafana, "import")

    assert result.exit_code == 0, result.output
    (kept,) = grafana.dashboards.values()
    assert (kept.model["uid"], kept.model["title"]) == ("dbt-freshness", "dbt source freshness")
    assert "ledgermind" not in json.dumps(kept.model).lower()
    read = read_dashboard(json.dumps(kept.model).encode(), "board.json")
    assert check(read, Catalogue(None)) == []


def test_a_second_import_of_the_same_makes_no_version(grafana: FakeGrafana) -> None:
    obs(grafana, "import", OURS)
    result = obs(grafana, "import", OURS, "--format", "json")
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (0, "unchanged")
    assert grafana.dashboards["ml-freshness"].model["version"] == 1
    assert grafana.asked.count(("POST", "/api/dashboards/db")) == 1


def test_what_differs_becomes_a_new_version_with_the_message(
    grafana: FakeGrafana, board: Path
) -> None:
    obs(grafana, "import", board)
    result = obs(grafana, "import", write(board, {"tags": ["new"]}), "--message", "tags")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "updated")
    kept = grafana.dashboards["board"]
    assert (kept.model["tags"], kept.model["version"], kept.messages[-1]) == (["new"], 2, "tags")


def test_an_edit_in_between_is_a_conflict_and_stays(grafana: FakeGrafana, board: Path) -> None:
    obs(grafana, "import", board)
    grafana.before_save = [lambda: grafana.edit("board", title="Edited")]
    result = obs(grafana, "import", write(board, {"tags": ["new"]}))
    assert result.exit_code == 5
    assert "changed by someone else" in result.stderr
    assert "--force" in result.stderr
    assert grafana.dashboards["board"].model["title"] == "Edited"


def test_force_replaces_an_edit_in_between(grafana: FakeGrafana, board: Path) -> None:
    obs(grafana, "import", board)
    grafana.before_save = [lambda: grafana.edit("board", title="Edited")]
    result = obs(grafana, "import", write(board, {"tags": ["new"]}), "--force")
    assert result.exit_code == 0, result.output
    assert grafana.dashboards["board"].model["title"] == "A board"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_different_dashboard_of_the_same_title_is_never_replaced(
    grafana: FakeGrafana, board: Path, force: list[str]
) -> None:
    theirs = {"uid": "theirs", "title": "A board", "id": 7, "version": 3, "panels": ["theirs"]}
    grafana.dashboards["theirs"] = Kept(dict(theirs), "")
    result = obs(grafana, "import", board, *force)
    assert grafana.dashboards["theirs"].model == theirs
    if grafana.old:
        assert result.exit_code == 5
        assert "same name" in result.stderr
        assert "another title" in result.stderr


def test_an_answer_that_got_lost_is_no_conflict(grafana: FakeGrafana, board: Path) -> None:
    grafana.loses_answers = 1
    result = obs(grafana, "import", board)
    assert result.exit_code == 0, result.output
    assert grafana.dashboards["board"].model["version"] == 1


def test_an_export_with_meta_and_inputs_is_taken(grafana: FakeGrafana, tmp_path: Path) -> None:
    panel = {"id": 1, "title": "p", "type": "stat", "datasource": {"uid": "${DS_PROMETHEUS}"}}
    model = {"id": 12, "version": 9, "uid": "x", "title": "X", "panels": [panel]}
    exported = {"meta": {"slug": "x"}, "dashboard": {**model, "__inputs": [{}], "__requires": []}}
    file = tmp_path / "export.json"
    file.write_text(json.dumps(exported))
    result = obs(grafana, "import", file)
    assert result.exit_code == 0, result.output
    stored = grafana.dashboards["x"].model
    assert stored["panels"][0]["datasource"] == {"uid": "prom-1"}
    assert not {"__inputs", "__requires"} & stored.keys()
    assert (stored["id"], stored["version"]) == (41, 1)


def test_an_editor_finds_the_data_source_where_listing_them_is_forbidden(
    grafana: FakeGrafana, tmp_path: Path
) -> None:
    file = write(tmp_path / "a.json", {"panels": [{"id": 1, "datasource": "${DS_PROMETHEUS}"}]})
    result = obs(grafana, "import", file, key=EDITOR)
    assert result.exit_code == 0, result.output
    assert grafana.dashboards["board"].model["panels"][0]["datasource"] == "prom-1"
    assert ("GET", "/api/frontend/settings") in grafana.asked


def test_a_data_source_is_named_by_name_or_uid(grafana: FakeGrafana, tmp_path: Path) -> None:
    second = {"name": "Second", "uid": "prom-2", "type": "prometheus", "isDefault": False}
    grafana.data_sources.append(second)
    variable = {"name": "datasource", "type": "datasource", "query": "prometheus"}
    file = write(tmp_path / "a.json", {"templating": {"list": [variable]}})
    for name in ("Second", "prom-2"):
        assert obs(grafana, "import", file, "--datasource", name).exit_code == 0
        chosen = grafana.dashboards["board"].model["templating"]["list"][0]["current"]
        assert chosen == {"text": "prom-2", "value": "prom-2"}
    result = obs(grafana, "import", file, "--datasource", "third")
    assert result.exit_code == 2
    assert "Second (prom-2)" in result.stderr


def test_without_a_clear_data_source_nothing_is_stored(
    grafana: FakeGrafana, tmp_path: Path
) -> None:
    grafana.data_sources = []
    file = write(tmp_path / "a.json", {"panels": [{"id": 1, "datasource": "${DS_PROMETHEUS}"}]})
    result = obs(grafana, "import", file)
    assert result.exit_code == 2
    assert "--datasource" in result.stderr
    assert not grafana.dashboards


def test_an_update_stays_in_its_folder(grafana: FakeGrafana, board: Path) -> None:
    grafana.folders = {"f-1": "ML"}
    obs(grafana, "import", board, "--folder", "ML")
    assert obs(grafana, "import", write(board, {"tags": ["new"]})).exit_code == 0
    assert grafana.dashboards["board"].folder == "f-1"
    assert obs(grafana, "import", board, "--folder", "f-1").stdout.startswith("unchanged")


def test_a_folder_that_is_not_there_is_made_only_if_that_is_wanted(
    grafana: FakeGrafana, board: Path
) -> None:
    result = obs(grafana, "import", board, "--folder", "ML")
    assert (result.exit_code, grafana.dashboards) == (2, {})
    assert "--create-folder" in result.stderr
    assert obs(grafana, "import", board, "--folder", "ML", "--create-folder").exit_code == 0
    assert grafana.folders[grafana.dashboards["board"].folder] == "ML"


def test_a_dry_run_changes_nothing(grafana: FakeGrafana, board: Path) -> None:
    result = obs(grafana, "import", board, "--dry-run", "--folder", "ML", "--create-folder")
    assert (result.exit_code, result.stdout.split()[:2]) == (0, ["would", "create"])
    obs(grafana, "import", board)
    write(board, {"tags": ["new"]})
    assert "would update" in obs(grafana, "import", board, "--dry-run").stdout
    assert (grafana.dashboards["board"].model["version"], grafana.folders) == (1, {})


@pytest.mark.parametrize(
    ("key", "words", "step"),
    [("wrong", "401", "GRAFANA_API_KEY"), (VIEWER, "403", "Editor")],
)
def test_a_key_that_may_not_is_told_in_grafanas_words_and_never_shown(
    grafana: FakeGrafana, board: Path, key: str, words: str, step: str
) -> None:
    result = obs(grafana, "import", board, key=key)
    assert result.exit_code == 5
    assert words in result.stderr
    assert step in result.stderr
    assert key not in result.output
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("kept", "words"), [({"provisioned": True}, "provisioned"), ({"plugin": True}, "plugin")]
)
def test_a_dashboard_that_is_not_to_be_saved_is_told_with_the_next_step(
    grafana: FakeGrafana, board: Path, kept: dict[str, bool], words: str
) -> None:
    model = {"uid": "board", "title": "Theirs", "id": 3, "version": 1}
    grafana.dashboards["board"] = Kept(model, "", **kept)  # type: ignore[arg-type]
    result = obs(grafana, "import", board, "--force")
    assert (result.exit_code, grafana.dashboards["board"].model) == (5, model)
    assert words in result.stderr


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422])
def test_every_refusal_is_one_line_with_a_next_step(
    grafana: FakeGrafana, board: Path, status: int
) -> None:
    absent = (404, said("Dashboard not found"))
    grafana.first = [absent, (status, said("Grafana's own words")), absent]
    result = obs(grafana, "import", board)
    assert result.exit_code == 5
    message, step = result.stderr.splitlines()
    assert f"with {status}: Grafana's own words" in message
    assert step.strip()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_tried_again(grafana: FakeGrafana, board: Path, status: int) -> None:
    grafana.first = [(status, said("busy"))] * 2
    assert obs(grafana, "import", board).exit_code == 0
    assert grafana.dashboards["board"].model["version"] == 1


def test_retry_after_is_honoured(
    grafana: FakeGrafana, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("ledgermind_obs.http.client.time.sleep", pauses.append)
    grafana.first = [(429, said("busy"), {"Retry-After": "7"})]
    assert obs(grafana, "import", board).exit_code == 0
    assert pauses == [7.0]


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(
    grafana: FakeGrafana, board: Path
) -> None:
    grafana.first = [(429, said("busy"), {"Retry-After": "3600"})]
    result = obs(grafana, "import", board)
    assert result.exit_code == 5
    assert "429: busy" in result.stderr


@pytest.mark.parametrize(
    "answer",
    [(200, "<html>log in</html>"), (302, said(""), {"Location": "https://sso.example.com/x"})],
    ids=["html", "redirect"],
)
def test_a_login_page_is_no_success(
    grafana: FakeGrafana, board: Path, answer: tuple[int, Any]
) -> None:
    grafana.first = [answer]
    result = obs(grafana, "import", board)
    assert result.exit_code == 5
    assert not grafana.dashboards


def test_what_grafana_stores_differently_is_told(grafana: FakeGrafana, board: Path) -> None:
    grafana.stores = lambda model: {**model, "tags": ["surprise"]}
    result = obs(grafana, "import", board)
    assert result.exit_code == 5
    assert 'tags: ["surprise"] in Grafana' in result.stderr


def test_a_grafana_that_migrates_the_schema_is_believed(grafana: FakeGrafana, board: Path) -> None:
    grafana.stores = lambda model: {**model, "schemaVersion": 42, "preload": False}
    assert obs(grafana, "import", board).exit_code == 0


def test_one_bad_file_does_not_stop_the_good_ones(grafana: FakeGrafana, tmp_path: Path) -> None:
    write(tmp_path / "a.json", {"uid": "a", "title": "A"})
    (tmp_path / "b.json").write_text("{")
    write(tmp_path / "c.json", {"uid": "c", "title": "C"})
    result = obs(grafana, "import", tmp_path)
    assert result.exit_code == 2
    assert set(grafana.dashboards) == {"a", "c"}
    assert "created  a" in result.stdout
    assert "created  c" in result.stdout
    assert f"{tmp_path / 'b.json'} is not JSON" in result.stderr


def test_a_dashboard_comes_from_standard_input_too(grafana: FakeGrafana, board: Path) -> None:
    assert obs(grafana, "import", "-", stdin=board.read_text()).exit_code == 0
    assert "board" in grafana.dashboards


def test_an_unreachable_grafana_is_told(board: Path) -> None:
    nowhere = FakeGrafana(url="http://127.0.0.1:9")
    result = obs(nowhere, "import", board)
    assert result.exit_code == 5
    assert "http://127.0.0.1:9 cannot be reached" in result.stderr


def test_a_key_over_plain_http_is_warned_of_only_where_others_can_read_it(
    grafana: FakeGrafana, board: Path
) -> None:
    assert "unencrypted" not in obs(grafana, "import", board).stderr
    elsewhere = FakeGrafana(url="http://grafana.invalid")
    result = obs(elsewhere, "import", board, "--timeout", "1s")
    assert "unencrypted" in result.stderr
    assert ADMIN not in result.output


def test_diff_names_every_difference_and_the_exit_code_says_so(
    grafana: FakeGrafana, board: Path
) -> None:
    assert obs(grafana, "diff", board).exit_code == 1
    obs(grafana, "import", board)
    same = obs(grafana, "diff", board)
    assert (same.exit_code, same.stdout) == (0, f"{board}: no differences\n")
    grafana.edit("board", title="Edited")
    result = obs(grafana, "diff", board)
    assert result.exit_code == 1
    assert '    title: "Edited" in Grafana, "A board" here' in result.stdout
    assert json.loads(obs(grafana, "diff", board, "--format", "json").stdout)["uid"] == "board"


def test_a_grafana_that_would_move_it_out_of_its_folder_is_refused_by_its_version(
    board: Path,
) -> None:
    with fake_grafana(SEVEN) as grafana:
        grafana.folders = {"f-1": "ML"}
        for argv in ([board], [board, "--folder", "ML", "--create-folder"], [board, "--dry-run"]):
            result = obs(grafana, "import", *argv)
            assert (result.exit_code, grafana.dashboards) == (5, {})
            assert "is Grafana 7.5.5: below 8.0 an import moves" in result.stderr
            assert "update Grafana" in result.stderr
        assert obs(grafana, "diff", board).exit_code == 1


@pytest.mark.parametrize("health", [{}, {"database": "ok"}, {"version": "dev"}, [], "<html>"])
def test_a_grafana_that_hides_its_version_is_taken_for_a_newer_one(
    grafana: FakeGrafana, board: Path, health: Any
) -> None:
    grafana.health = health
    assert obs(grafana, "import", board).exit_code == 0


@pytest.mark.parametrize("argv", [[], ["--force"], ["--dry-run"]])
def test_a_provisioned_dashboard_is_left_alone_also_where_grafana_would_replace_it(
    grafana: FakeGrafana, board: Path, argv: list[str]
) -> None:
    model = {"uid": "board", "title": "Theirs", "id": 3, "version": 1}
    grafana.dashboards["board"] = Kept(model, "", provisioned=True)
    result = obs(grafana, "import", board, *argv)
    assert (result.exit_code, grafana.dashboards["board"].model) == (5, model)
    assert "is provisioned from a file" in result.stderr
    assert "change the file board.json" in result.stderr
    assert ("POST", "/api/dashboards/db") not in grafana.asked


@pytest.mark.parametrize("sub_path", ["", "/grafana", "/a/b"])
@pytest.mark.parametrize("version", [EIGHT, NEW])
def test_the_link_that_is_printed_leads_to_the_dashboard(
    board: Path, version: str, sub_path: str
) -> None:
    with fake_grafana(version, sub_path) as grafana:
        created = obs(grafana, "import", board)
        unchanged = obs(grafana, "import", board)
    for result in (created, unchanged):
        assert result.stdout.splitlines()[1].strip() == f"{grafana.url}/d/board/a-board"


def test_a_link_is_right_also_where_a_proxy_takes_the_sub_path_away() -> None:
    endpoint = Endpoint.parse("https://example.org/grafana/", tls=Tls(), timeout=1)
    link = Grafana(endpoint).link
    assert link("/d/x/y") == "https://example.org/grafana/d/x/y"
    assert link("/grafana/d/x/y") == "https://example.org/grafana/d/x/y"
    assert link("/grafanas/d/x") == "https://example.org/grafana/grafanas/d/x"
    assert link("https://other.example.org/d/x") == "https://other.example.org/d/x"


def test_a_data_source_that_does_not_speak_promql_is_refused(
    grafana: FakeGrafana, board: Path
) -> None:
    for name in ("Logs", "loki-1"):
        result = obs(grafana, "import", board, "--datasource", name)
        assert (result.exit_code, grafana.dashboards) == (2, {})
        assert f"a data source '{name}' of the type loki, not Prometheus" in result.stderr
        assert "Prometheus (prom-1)" in result.stderr


@pytest.mark.parametrize(
    "kind",
    [
        "grafana-amazonprometheus-datasource",
        "grafana-azureprometheus-datasource",
        "victoriametrics-metrics-datasource",
    ],
)
def test_what_else_speaks_promql_is_taken(grafana: FakeGrafana, board: Path, kind: str) -> None:
    grafana.data_sources.append({"name": "M", "uid": "m-1", "type": kind, "isDefault": False})
    assert obs(grafana, "import", board, "--datasource", "M").exit_code == 0


def test_a_dry_run_says_so_if_the_dashboard_would_move_to_a_new_folder(
    grafana: FakeGrafana, board: Path
) -> None:
    obs(grafana, "import", board)
    words = ("--folder", "ML", "--create-folder")
    assert obs(grafana, "import", board, *words, "--dry-run").stdout.startswith("would update")
    assert grafana.folders == {}
    assert obs(grafana, "import", board, *words).stdout.startswith("updated")
    assert obs(grafana, "import", board, *words, "--dry-run").stdout.startswith("unchanged")


@pytest.mark.parametrize("command", ["import", "diff"])
def test_an_address_below_grafanas_is_no_missing_dashboard(
    grafana: FakeGrafana, board: Path, command: str
) -> None:
    obs(grafana, "import", board)
    wrong = FakeGrafana(url=f"{grafana.url}/api")
    result = obs(wrong, command, board)
    assert result.exit_code == 5
    assert "with 404: Not found" in result.stderr
    assert "without /api" in result.stderr
    assert "is not in Grafana" not in result.output


@pytest.mark.parametrize(
    "changes", [{"title": "  A board\n"}, {"refresh": "1s"}, {"title": " B ", "refresh": "3s"}]
)
def test_what_grafana_changes_when_it_stores_is_no_difference(
    grafana: FakeGrafana, board: Path, changes: dict[str, str]
) -> None:
    write(board, changes)
    told = [obs(grafana, "import", board) for _ in range(2)]
    assert [(each.exit_code, each.stdout.split()[0]) for each in told] == [
        (0, "created"),
        (0, "unchanged"),
    ]
    assert grafana.dashboards["board"].model["version"] == 1
    assert obs(grafana, "diff", board).exit_code == 0


def test_a_refresh_that_somebody_chose_is_a_difference(grafana: FakeGrafana, board: Path) -> None:
    write(board, {"refresh": "1m"})
    obs(grafana, "import", board)
    grafana.edit("board", refresh="5m")
    assert 'refresh: "5m" in Grafana, "1m" here' in obs(grafana, "diff", board).stdout


def test_a_refusal_that_is_a_list_is_one_line_too(grafana: FakeGrafana, board: Path) -> None:
    grafana.first = [
        (404, said("Dashboard not found")),
        (422, [{"fieldNames": ["Dashboard"], "message": "Required"}]),
    ]
    result = obs(grafana, "import", board)
    assert result.exit_code == 5
    assert "with 422" in result.stderr
    assert len(result.stderr.splitlines()) == 2
