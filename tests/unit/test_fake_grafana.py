"""The Grafana of the tests answers as a real one of its version was seen to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ledgermind_obs.http.client import request
from ledgermind_obs.http.endpoint import Endpoint, Tls, bearer_auth
from tests.fake_grafana import EDITOR, EIGHT, NEW, SEVEN, VIEWER, FakeGrafana, Kept, fake_grafana

BOARD = {"uid": "board", "title": "A board", "panels": []}


@pytest.fixture(params=[SEVEN, EIGHT, NEW])
def grafana(request: pytest.FixtureRequest) -> Iterator[FakeGrafana]:
    with fake_grafana(request.param) as server:
        server.folders = {"f-1": "ML"}
        yield server


@pytest.fixture
def seven() -> Iterator[FakeGrafana]:
    with fake_grafana(SEVEN) as server:
        server.folders = {"f-1": "ML"}
        yield server


def ask(grafana: FakeGrafana, path: str, body: Any = None, key: str = EDITOR) -> tuple[int, Any]:
    endpoint = Endpoint.parse(grafana.url, authorization=bearer_auth(key), tls=Tls(), timeout=5)
    content = json.dumps(body).encode() if body is not None else None
    method = "GET" if body is None else "POST"
    answer = request(endpoint, method, path, content, "application/json")
    return answer.status, json.loads(answer.body)


def save(grafana: FakeGrafana, key: str = EDITOR, **more: Any) -> tuple[int, Any]:
    model = {**BOARD, **more.pop("model", {})}
    return ask(grafana, "/api/dashboards/db", {"dashboard": model, **more}, key)


def test_7_5_knows_no_folder_uid_and_takes_general(seven: FakeGrafana) -> None:
    assert save(seven, folderUid="f-1")[0] == 200
    assert save(seven, model={"uid": "b", "title": "B"}, folderUid="nowhere")[0] == 200
    _, found = ask(seven, "/api/dashboards/uid/board")
    assert "folderUid" not in found["meta"]
    assert found["meta"]["folderId"] == 0


def test_later_ones_know_it(grafana: FakeGrafana) -> None:
    if grafana.version != SEVEN:
        assert save(grafana, folderUid="f-1")[0] == 200
        assert save(grafana, model={"uid": "b"}, folderUid="nowhere")[0] == 400
        assert ask(grafana, "/api/dashboards/uid/board")[1]["meta"]["folderUid"] == "f-1"


def test_before_8_3_a_save_replaces_what_is_provisioned(grafana: FakeGrafana) -> None:
    theirs = {"uid": "board", "title": "Theirs", "id": 3, "version": 1}
    grafana.dashboards["board"] = Kept(theirs, "", provisioned=True)
    assert ask(grafana, "/api/dashboards/uid/board")[1]["meta"]["provisioned"] is True
    status, answer = save(grafana, model={"version": 1})
    assert status == (400 if grafana.version == NEW else 200)
    assert answer.get("message", "") == (
        "Cannot save provisioned dashboard" if grafana.version == NEW else ""
    )


def test_old_ones_look_at_the_dashboard_before_they_look_at_the_key(grafana: FakeGrafana) -> None:
    status, _ = save(grafana, VIEWER, model={"title": ""})
    assert status == (403 if grafana.version == NEW else 400)
    assert save(grafana, VIEWER)[0] == 403
    assert grafana.dashboards == {}


def test_without_a_dashboard_old_ones_answer_with_a_list(grafana: FakeGrafana) -> None:
    status, answer = ask(grafana, "/api/dashboards/db", {"message": "m"})
    if grafana.version == NEW:
        assert (status, answer["message"]) == (400, "bad request data")
    else:
        assert (status, [fault["message"] for fault in answer]) == (422, ["Required"])


def test_titles_are_trimmed_and_a_short_refresh_is_raised(grafana: FakeGrafana) -> None:
    assert save(grafana, model={"title": "  A board ", "refresh": "1s"})[0] == 200
    kept = ask(grafana, "/api/dashboards/uid/board")[1]["dashboard"]
    assert (kept["title"], kept["refresh"]) == ("A board", "5s")
    assert ask(grafana, "/api/frontend/settings")[1]["minRefreshInterval"] == "5s"
    assert save(grafana, model={"title": "  "})[0] == 400


def test_a_second_folder_of_a_title_is_refused(grafana: FakeGrafana) -> None:
    status, answer = ask(grafana, "/api/folders", {"title": " ML "})
    assert status == (409 if grafana.version == NEW else 400)
    assert "same name already exists" in answer["message"]
    assert ask(grafana, "/api/folders", {"title": "Other"})[0] == 200


@pytest.mark.parametrize("version", [SEVEN, NEW])
def test_links_have_the_sub_path_and_nothing_is_outside_of_it(version: str) -> None:
    with fake_grafana(version, "/grafana") as grafana:
        assert save(grafana)[1]["url"] == "/grafana/d/board/a-board"
        meta = ask(grafana, "/api/dashboards/uid/board")[1]["meta"]
        assert meta["url"] == "/grafana/d/board/a-board"
        outside = FakeGrafana(url=grafana.url.removesuffix("/grafana"))
        assert ask(outside, "/api/dashboards/uid/board")[0] == 404


def test_a_dashboard_that_is_missing_and_an_address_that_is_wrong_have_other_words(
    grafana: FakeGrafana,
) -> None:
    assert ask(grafana, "/api/dashboards/uid/none")[1]["message"] == "Dashboard not found"
    assert ask(grafana, "/api/api/dashboards/uid/none") == (404, {"message": "Not found"})
