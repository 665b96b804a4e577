"""A Grafana that keeps state and refuses as the real ones do: 7.5 with ``old``, 12 without.

No Grafana can be installed from package registries; this one behaves by what was seen on 7.5 and
read in the sources of 9 to 13.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from services.serving import serving

Model = dict[str, Any]
Answer = tuple[int, Any]

ADMIN, EDITOR, VIEWER = "key-of-an-admin", "key-of-an-editor", "key-of-a-viewer"


def colour_of(steps: list[Model], value: float) -> str:
    """The colour that a panel gives to a value: that of the last step it has reached."""
    reached = [step for step in steps if step.get("value") is None or value >= step["value"]]
    return str(reached[-1]["color"])


def said(message: str, status: str = "") -> Model:
    return {"message": message, **({"status": status} if status else {})}


@dataclass
class Kept:
    model: Model
    folder: str
    messages: list[str] = field(default_factory=list)
    provisioned: bool = False
    plugin: bool = False


@dataclass
class FakeGrafana:
    old: bool = False
    url: str = ""
    dashboards: dict[str, Kept] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    data_sources: list[Model] = field(
        default_factory=lambda: [
            {"name": "Prometheus", "uid": "prom-1", "type": "prometheus", "isDefault": True},
            {"name": "Logs", "uid": "loki-1", "type": "loki", "isDefault": False},
        ]
    )
    first: list[Answer | tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    before_save: list[Callable[[], None]] = field(default_factory=list)
    loses_answers: int = 0
    unreachable: set[str] = field(default_factory=set)
    stores: Callable[[Model], Model] = field(default_factory=lambda: lambda model: model)

    def edit(self, uid: str, **changes: Any) -> None:
        """Somebody saves the dashboard in the browser."""
        model = self.dashboards[uid].model
        model.update(changes, version=model["version"] + 1)

    def answer(self, method: str, path: str, body: Any, key: str) -> Answer:
        if path == "/api/health":
            return 200, {"database": "ok", "version": "7.5.17" if self.old else "12.1.0"}
        if key not in {ADMIN, EDITOR, VIEWER}:
            return 401, said("Invalid API key" if self.old else "Unauthorized")
        routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", r"/api/dashboards/uid/([^/]+)", lambda uid: self._get(uid, key)),
            ("POST", r"/api/dashboards/db", lambda: self._save(body, key)),
            ("GET", r"/api/datasources", lambda: self._data_sources(key)),
            ("GET", r"/api/datasources/uid/([^/]+)/health", self._health),
            ("GET", r"/api/frontend/settings", self._settings),
            ("GET", r"/api/folders", self._folders),
            ("POST", r"/api/folders", lambda: self._create_folder(body)),
        ]
        for verb, pattern, route in routes:
            if verb == method and (found := re.fullmatch(pattern, path)):
                return route(*found.groups())
        return 404, said("Not found")

    def _get(self, uid: str, key: str = ADMIN) -> Answer:
        kept = self.dashboards.get(uid)
        if kept is None:
            return 404, said("Dashboard not found", "not-found")
        slug = re.sub(r"[^a-z0-9]+", "-", kept.model["title"].lower()).strip("-")
        meta: Model = {"slug": slug, "url": f"/d/{uid}/{slug}", "folderUid": kept.folder}
        meta["canSave"] = key != VIEWER
        return 200, {"dashboard": copy.deepcopy(kept.model), "meta": meta}

    def _data_sources(self, key: str) -> Answer:
        return (200, self.data_sources) if key == ADMIN else (403, said("Permission denied"))

    def _health(self, uid: str) -> Answer:
        """Whether a data source answers; Grafana asks since 9."""
        if self.old or uid not in {s["uid"] for s in self.data_sources}:
            return 404, said("Not found")
        if uid in self.unreachable:
            return 400, said("dial tcp: connection refused", "ERROR")
        return 200, said("Successfully queried the Prometheus API.", "OK")

    def _settings(self) -> Answer:
        sources = {
            s["name"]: {k: v for k, v in s.items() if k != "name"} for s in self.data_sources
        }
        default = next((s["name"] for s in self.data_sources if s["isDefault"]), "")
        sources["-- Grafana --"] = {"uid": "grafana", "type": "grafana", "isDefault": False}
        return 200, {"datasources": sources, "defaultDatasource": default}

    def _folders(self) -> Answer:
        return 200, [{"uid": uid, "title": title} for uid, title in self.folders.items()]

    def _create_folder(self, body: Model) -> Answer:
        uid = f"folder-{len(self.folders) + 1}"
        self.folders[uid] = body["title"]
        return 200, {"uid": uid, "title": body["title"]}

    def _save(self, body: Model, key: str) -> Answer:
        if key == VIEWER:
            return 403, said("Access denied to save dashboard" if self.old else "Permission denied")
        if "dashboard" not in body:
            return (422 if self.old else 400), said("Dashboard is required")
        for happen in self.before_save:
            happen()
        self.before_save.clear()
        model, overwrite = copy.deepcopy(body["dashboard"]), body.get("overwrite", False)
        return self._refusal(model, body) or self._store(model, body, overwrite=overwrite)

    def _refusal(self, model: Model, body: Model) -> Answer | None:
        uid, title = model.get("uid") or "", model.get("title") or ""
        if model.get("id") is not None:
            return 404, said("Dashboard not found", "not-found")
        if not title:
            return 400, said("Dashboard title cannot be empty", "empty-name")
        if len(uid) > 40:
            return 400, said("uid too long. max 40 characters")
        if not re.fullmatch(r"[a-zA-Z0-9_-]*", uid):
            return 400, said("uid contains illegal characters")
        if body.get("folderUid") and body["folderUid"] not in self.folders and not self.old:
            return 400, said("folder not found", "not-found")
        return self._conflict(uid, title, body)

    def _conflict(self, uid: str, title: str, body: Model) -> Answer | None:
        kept = self.dashboards.get(uid)
        if kept and kept.provisioned:
            return 400, said("Cannot save provisioned dashboard")
        if kept and kept.plugin and not body.get("overwrite"):
            return 412, said("The dashboard belongs to plugin app", "plugin-dashboard")
        if body.get("overwrite"):
            return None
        if kept and body["dashboard"].get("version") != kept.model["version"]:
            words = "The dashboard has been changed by someone else"
            return (412 if self.old else 409), said(words, "version-mismatch")
        if not kept and self.old and self._namesake(uid, title, body.get("folderUid") or ""):
            words = "A dashboard with the same name in the folder already exists"
            return 412, said(words, "name-exists")
        return None

    def _namesake(self, uid: str, title: str, folder: str) -> str | None:
        """A dashboard of another uid with the same title in the folder."""
        return next(
            (
                other
                for other, kept in self.dashboards.items()
                if (kept.model["title"], kept.folder) == (title, folder) and other != uid
            ),
            None,
        )

    def _store(self, model: Model, body: Model, *, overwrite: bool) -> Answer:
        folder = body.get("folderUid") or ""
        folder = folder if folder in self.folders else ""
        uid = model.get("uid") or f"made-{len(self.dashboards) + 1}"
        if self.old and overwrite and (other := self._namesake(uid, model["title"], folder)):
            uid = other
        kept = self.dashboards.setdefault(uid, Kept({"version": 0}, folder))
        number = kept.model.get("id") or 40 + len(self.dashboards)
        version = kept.model["version"] + 1
        kept.model = {**self.stores(model), "uid": uid, "id": number, "version": version}
        kept.folder = folder
        kept.messages.append(body.get("message", ""))
        slug = self._get(uid)[1]["meta"]["slug"]
        answer = {"id": number, "uid": uid, "version": version, "slug": slug, "status": "success"}
        answer["url"] = f"/d/{uid}/{slug}"
        return 200, answer if self.old else {**answer, "folderUid": folder}


@contextmanager
def fake_grafana(*, old: bool = False) -> Iterator[FakeGrafana]:
    """Serve a Grafana of its own on loopback."""
    grafana = FakeGrafana(old)

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            path = urlsplit(self.path).path
            grafana.asked.append((self.command, path))
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            headers: dict[str, str] = {}
            if grafana.first:
                status, answer, *more = grafana.first.pop(0)
                headers = more[0] if more else {}
            else:
                status, answer = grafana.answer(self.command, path, body, key)
            if grafana.loses_answers and path == "/api/dashboards/db":
                grafana.loses_answers -= 1
                status, answer = 502, said("Bad gateway")
            self._send(status, answer, headers)

        def _send(self, status: int, answer: Any, headers: dict[str, str]) -> None:
            html = isinstance(answer, str)
            content = answer.encode() if html else json.dumps(answer).encode()
            self.send_response(status)
            kind = "text/html" if html else "application/json"
            for name, value in {"Content-Type": kind, **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _respond  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    grafana.url = f"http://127.0.0.1:{server.server_port}"
    with serving(server):
        yield grafana
