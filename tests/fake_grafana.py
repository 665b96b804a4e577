"""A Grafana that keeps state and refuses as the real ones do, by its version.

No Grafana can be installed from package registries; this one behaves by what was seen on 7.5.5 and
read in the sources of 8 to 13. ``tests/unit/test_fake_grafana.py`` says what that is.
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

# One without folderUid, one that lets a provisioned dashboard be replaced, and a new one.
SEVEN, EIGHT, NEW = "7.5.5", "8.2.7", "12.1.0"
MIN_REFRESH = "5s"

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
    version: str = NEW
    sub_path: str = ""
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
    health: Any = None
    unreachable: set[str] = field(default_factory=set)
    stores: Callable[[Model], Model] = field(default_factory=lambda: lambda model: model)

    def is_before(self, *version: int) -> bool:
        return tuple(map(int, self.version.split("."))) < version

    @property
    def old(self) -> bool:
        """Whether it answers as those before 9 did."""
        return self.is_before(9)

    def edit(self, uid: str, **changes: Any) -> None:
        """Somebody saves the dashboard in the browser."""
        model = self.dashboards[uid].model
        model.update(changes, version=model["version"] + 1)

    def answer(self, method: str, path: str, body: Any, key: str) -> Answer:
        if path == "/api/health":
            told = {"database": "ok", "version": self.version}
            return 200, told if self.health is None else self.health
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
        meta: Model = {"slug": slug, "url": f"{self.sub_path}/d/{uid}/{slug}"}
        meta["folderId"] = self._folder_id(kept.folder)
        if not self.is_before(8):
            meta["folderUid"] = kept.folder
        meta["canSave"] = key != VIEWER
        meta["provisioned"] = kept.provisioned
        meta["provisionedExternalId"] = "board.json" if kept.provisioned else ""
        return 200, {"dashboard": copy.deepcopy(kept.model), "meta": meta}

    def _folder_id(self, uid: str) -> int:
        return [*self.folders].index(uid) + 1 if uid in self.folders else 0

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
        return 200, {
            "datasources": sources,
            "defaultDatasource": default,
            "minRefreshInterval": MIN_REFRESH,
        }

    def _folders(self) -> Answer:
        return 200, [{"uid": uid, "title": title} for uid, title in self.folders.items()]

    def _create_folder(self, body: Model) -> Answer:
        title = body["title"].strip()
        if title in self.folders.values():
            words = "a folder or dashboard in the general folder with the same name already exists"
            return (400 if self.old else 409), said(words)
        uid = f"folder-{len(self.folders) + 1}"
        self.folders[uid] = title
        return 200, {"uid": uid, "title": title}

    def _save(self, body: Model, key: str) -> Answer:
        if key == VIEWER and not self.old:
            return 403, said("Permission denied")
        if "dashboard" not in body:
            return self._incomplete()
        for happen in self.before_save:
            happen()
        self.before_save.clear()
        model, overwrite = copy.deepcopy(body["dashboard"]), body.get("overwrite", False)
        model["title"] = (model.get("title") or "").strip()
        if refused := self._refusal(model, body):
            return refused
        if key == VIEWER:
            return 403, said("Access denied to save dashboard")
        return self._store(model, body, overwrite=overwrite)

    def _incomplete(self) -> Answer:
        if not self.old:
            return 400, said("bad request data")
        fault = {"fieldNames": ["Dashboard"], "classification": "RequiredError"}
        return 422, [{**fault, "message": "Required"}]

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
        knows_folders = not self.is_before(8)
        if knows_folders and body.get("folderUid") and body["folderUid"] not in self.folders:
            return 400, said("folder not found", "not-found")
        return self._conflict(uid, title, body)

    def _conflict(self, uid: str, title: str, body: Model) -> Answer | None:
        kept = self.dashboards.get(uid)
        if kept and kept.provisioned and not self.is_before(8, 3):
            return 400, said("Cannot save provisioned dashboard")
        if kept and kept.plugin and not body.get("overwrite"):
            return 412, said("The dashboard belongs to plugin app", "plugin-dashboard")
        if body.get("overwrite"):
            return None
        if kept and body["dashboard"].get("version") != kept.model["version"]:
            words = "The dashboard has been changed by someone else"
            return (412 if self.old else 409), said(words, "version-mismatch")
        if not kept and self.old and self._namesake(uid, title, self._folder(body)):
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
        folder = self._folder(body)
        uid = model.get("uid") or f"made-{len(self.dashboards) + 1}"
        if self.old and overwrite and (other := self._namesake(uid, model["title"], folder)):
            uid = other
        kept = self.dashboards.setdefault(uid, Kept({"version": 0}, folder))
        number = kept.model.get("id") or 40 + len(self.dashboards)
        version = kept.model["version"] + 1
        model = _with_refresh(self.stores(model))
        kept.model = {**model, "uid": uid, "id": number, "version": version}
        kept.folder = folder
        kept.messages.append(body.get("message", ""))
        slug = self._get(uid)[1]["meta"]["slug"]
        answer = {"id": number, "uid": uid, "version": version, "slug": slug, "status": "success"}
        answer["url"] = f"{self.sub_path}/d/{uid}/{slug}"
        return 200, answer if self.old else {**answer, "folderUid": folder}

    def _folder(self, body: Model) -> str:
        """The folder that a save is into: 7.5 does not know a folder's uid, and takes General."""
        wanted = "" if self.is_before(8) else body.get("folderUid") or ""
        return wanted if wanted in self.folders else ""


def _with_refresh(model: Model) -> Model:
    """The model with a refresh that is not shorter than the minimum; ours are of whole seconds."""
    found = re.fullmatch(r"(\d+)s", str(model.get("refresh")))
    short = found and int(found[1]) < int(MIN_REFRESH.removesuffix("s"))
    return {**model, "refresh": MIN_REFRESH} if short else model


@contextmanager
def fake_grafana(version: str = NEW, sub_path: str = "") -> Iterator[FakeGrafana]:
    """Serve a Grafana of its own on loopback."""
    grafana = FakeGrafana(version, sub_path)

    class Handler(BaseHTTPRequestHandler):
        def _respond(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            path = urlsplit(self.path).path
            path = path.removeprefix(sub_path) if path.startswith(f"{sub_path}/") else "/login"
            grafana.asked.append((self.command, path))
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            headers: dict[str, str] = {}
            if grafana.first and path != "/api/health":
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
    grafana.url = f"http://127.0.0.1:{server.server_port}{sub_path}"
    with serving(server):
        yield grafana
