"""Grafana's HTTP API: a dashboard is stored without ever replacing what nobody meant to replace.

``overwrite: true`` is never sent. It would let an old Grafana replace *another* dashboard of the
same title, and any Grafana an edit that was made a second ago. The version that was read is sent
instead, and a conflict is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http.client import Response, request
from ledgermind_obs.http.endpoint import RETRIED_STATUSES, Endpoint
from ledgermind_obs.monitoring.dashboard import Dashboard, Model, differences, to_send

GENERAL = ""
# Stands for a folder that is still to be made; no folder has such a uid.
NEW_FOLDER = "(new)"
FORCED_ATTEMPTS = 5
FIRST_VERSION = 8

_RETRIED = RETRIED_STATUSES | {429}
_NOT_FOUND, _FORBIDDEN = 404, 403
# Also Amazon's and Azure's Prometheus, and what else answers PromQL.
_SPEAKS_PROMQL = re.compile(
    r"(?:.*-)?\w*prometheus(?:-datasource)?|victoriametrics-(?:metrics-)?datasource"
)
_INTERVAL = re.compile(r"(\d+)(ms|s|m|h|d)")
_MILLISECONDS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_CONFLICTS = frozenset({409, 412})

_NEXT_STEPS = {
    400: "correct the dashboard; a provisioned one is changed where it is provisioned",
    401: "give a key that is valid here: GRAFANA_API_KEY, or --api-key-file",
    403: "give a key of a service account with the role Editor",
    404: "see whether the URL is Grafana's, with its sub-path and without /api",
    409: "look at what changed: obs dashboard diff; then import again, or with --force",
    412: "look at what changed: obs dashboard diff; then import again, or with --force",
    422: "this Grafana does not take a dashboard of this form; see obs dashboard check",
}
_STATUS_STEPS = {
    "name-exists": "give the dashboard another title, or the uid of the one that is there",
    "plugin-dashboard": "it belongs to a plugin: save it under a uid and title of its own",
}


class Stored(msgspec.Struct, frozen=True):
    """A dashboard as Grafana has it."""

    model: Model
    meta: Mapping[str, Any]

    @property
    def version(self) -> int:
        """The version that a change has to name."""
        return int(self.model.get("version") or 0)

    @property
    def may_be_saved(self) -> bool:
        """Whether the key's owner may store a new version; without a word it is assumed."""
        return self.meta.get("canSave") is not False

    @property
    def folder_uid(self) -> str:
        """The folder's uid; General has none."""
        return str(self.meta.get("folderUid") or GENERAL)

    @property
    def is_provisioned(self) -> bool:
        """Whether a file is its source, and no save is to replace it."""
        return self.meta.get("provisioned") is True


class Outcome(msgspec.Struct, frozen=True):
    """What an import did, and what Grafana says of the dashboard now."""

    action: str
    status: str
    uid: str
    id: int | None = None
    slug: str = ""
    url: str = ""
    version: int | None = None


class _ConflictError(DestinationError):
    """Somebody else's dashboard, or somebody's edit in between, stands against a save."""

    def __init__(self, message: str, next_step: str, *, of_version: bool) -> None:
        super().__init__(message, next_step)
        self.of_version = of_version


class Grafana(msgspec.Struct, frozen=True):
    """A Grafana server, as the key's owner sees it."""

    endpoint: Endpoint

    def __post_init__(self) -> None:
        """Let a Grafana that asks for patience have it."""
        patient = msgspec.structs.replace(self.endpoint, retried=_RETRIED)
        msgspec.structs.force_setattr(self, "endpoint", patient)

    def find(self, uid: str) -> Stored | None:
        """Return the stored dashboard, or None where there is none; raises DestinationError."""
        response = self._request("GET", f"/api/dashboards/uid/{quote(uid, safe='')}")
        if _is_absent(response):
            return None
        answer = self._answer(response, f"read the dashboard {uid}")
        return Stored(answer["dashboard"], answer.get("meta") or {})

    def refuse_what_is_too_old(self) -> None:
        """Raise DestinationError for a Grafana that would move a dashboard out of its folder.

        One that does not tell its version is taken for a newer one.
        """
        response = self._request("GET", "/api/health")
        version = str(_said(response).get("version") or "")
        major = version.partition(".")[0]
        if major.isdecimal() and int(major) < FIRST_VERSION:
            raise DestinationError(
                f"{self.endpoint.url} is Grafana {version}: below {FIRST_VERSION}.0 an import "
                "moves a dashboard to the folder General",
                "update Grafana, or import the file by hand: Dashboards, Import",
            )

    def link(self, url: str) -> str:
        """Return the address of what Grafana names by ``url``, which may have its sub-path."""
        place = urlsplit(self.endpoint.url)
        if urlsplit(url).scheme:
            return url
        if place.path and url.startswith(f"{place.path}/"):
            return f"{place.scheme}://{place.netloc}{url}"
        return f"{self.endpoint.url}{url}"

    def differences(self, stored: Stored, dashboard: Dashboard) -> list[str]:
        """Return in what a stored dashboard differs, one line each; raises DestinationError.

        A ``refresh`` that Grafana raises to its minimum is no difference.
        """
        found = differences(stored.model, dashboard.model)
        kept, wanted = stored.model.get("refresh"), dashboard.model.get("refresh")
        if not found or not _is_longer(kept, wanted) or kept != self._shortest_refresh():
            return found
        return differences(stored.model, {**dashboard.model, "refresh": kept})

    def data_source(self, wanted: str) -> str:
        """Return the uid of the Prometheus data source with this name or uid.

        An empty ``wanted`` takes the only one there is, or the default one. Raises DestinationError
        where Grafana does not tell, ConfigurationError where the choice is not clear.
        """
        found = self._data_sources()
        able = [s for s in found if _SPEAKS_PROMQL.fullmatch(s["type"])]
        if wanted:
            chosen = [s for s in able if wanted in {s["uid"], s["name"]}]
        else:
            chosen = [s for s in able if len(able) == 1 or s["isDefault"]]
        if len(chosen) == 1:
            return str(chosen[0]["uid"])
        names = ", ".join(f"{s['name']} ({s['uid']})" for s in able) or "none at all"
        raise ConfigurationError(
            f"{self.endpoint.url} has {_no_data_source(wanted, found)}",
            f"choose one with --datasource; of Prometheus there are {names}",
        )

    def data_source_answers(self, uid: str) -> bool:
        """Return whether Grafana reaches a data source; False if this Grafana cannot tell.

        Raises DestinationError, with Grafana's words, if it does not reach it.
        """
        response = self._request("GET", f"/api/datasources/uid/{quote(uid, safe='')}/health")
        if response.status == _NOT_FOUND and not response.is_html:
            return False
        self._answer(response, f"reach the data source {uid}")
        return True

    def find_folder(self, wanted: str) -> str | None:
        """Return the uid of the folder with this uid or title, None where there is none.

        Raises ConfigurationError where several have this title.
        """
        if wanted.lower() == "general":
            return GENERAL
        folders = self._get("/api/folders?limit=1000", "list the folders")
        found = [f for f in folders if f["uid"] == wanted]
        found = found or [f for f in folders if f["title"] == wanted]
        if len(found) > 1:
            uids = ", ".join(str(folder["uid"]) for folder in found)
            raise ConfigurationError(f"several folders are called {wanted!r}", f"name one: {uids}")
        return str(found[0]["uid"]) if found else None

    def create_folder(self, title: str) -> str:
        """Make a folder and return its uid; raises DestinationError."""
        response = self._request("POST", "/api/folders", {"title": title})
        return str(self._answer(response, f"create the folder {title!r}")["uid"])

    def put(
        self,
        dashboard: Dashboard,
        *,
        folder_uid: str | None = None,
        message: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> Outcome:
        """Store the dashboard where it differs from what is there, read it back, and compare.

        Without ``folder_uid`` it stays in its folder. An edit between reading and writing is a
        DestinationError; with ``force`` it is read again and then replaced.
        """
        for attempt in range(1, FORCED_ATTEMPTS + 1):
            stored = self.find(dashboard.uid)
            if stored and self._is_there(stored, dashboard, folder_uid):
                return self._outcome("unchanged" if attempt == 1 else "updated", stored)
            if stored and stored.is_provisioned:
                raise self._provisioned(stored, dashboard)
            if dry_run:
                action = "would update" if stored else "would create"
                return msgspec.structs.replace(
                    self._outcome(action, stored), uid=dashboard.uid, status="dry-run"
                )
            try:
                return self._saved(dashboard, stored, folder_uid, message)
            except _ConflictError as conflict:
                settled = self._settled(dashboard, folder_uid, conflict)
                if settled:
                    return settled
                if not (force and conflict.of_version) or attempt == FORCED_ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _saved(
        self, dashboard: Dashboard, stored: Stored | None, folder_uid: str | None, message: str
    ) -> Outcome:
        folder = folder_uid if folder_uid is not None else stored.folder_uid if stored else GENERAL
        body = {
            "dashboard": to_send(dashboard.model, stored.version if stored else 0),
            "folderUid": folder,
            "message": message,
            "overwrite": False,
        }
        response = self._request("POST", "/api/dashboards/db", body)
        answer = self._answer(response, f"store {dashboard.name}")
        self._check_stored(dashboard, folder, answer)
        return Outcome(
            action="updated" if stored else "created",
            status=str(answer.get("status", "")),
            uid=str(answer.get("uid", "")),
            id=answer.get("id"),
            slug=str(answer.get("slug", "")),
            url=str(answer.get("url", "")),
            version=answer.get("version"),
        )

    def _check_stored(
        self, dashboard: Dashboard, folder_uid: str, answer: Mapping[str, Any]
    ) -> None:
        """Raise DestinationError where Grafana holds something else than what it was sent."""
        url = self.endpoint.url
        if answer.get("uid") != dashboard.uid:
            raise DestinationError(
                f"{url} stored {dashboard.name} as {answer.get('uid')}, not as {dashboard.uid}",
                "look at that dashboard's version history in Grafana, and restore it",
            )
        stored = self.find(dashboard.uid)
        if stored is None:
            raise DestinationError(f"{url} took {dashboard.name} and does not have it", "try again")
        if stored.folder_uid != folder_uid:
            raise DestinationError(
                f"{url} stored {dashboard.name} in the folder "
                f"{stored.folder_uid or 'General'}, not in {folder_uid or 'General'}",
                "move it in Grafana",
            )
        changed = self.differences(stored, dashboard)
        if changed and not _migrated(stored, dashboard):
            raise DestinationError(
                f"{url} stored {dashboard.name} differently: {changed[0]}",
                "see all of it: obs dashboard diff",
            )

    def _settled(
        self, dashboard: Dashboard, folder_uid: str | None, conflict: _ConflictError
    ) -> Outcome | None:
        """Return the outcome where the conflict is with this very import, sent a moment ago."""
        stored = self.find(dashboard.uid) if conflict.of_version else None
        if stored and self._is_there(stored, dashboard, folder_uid):
            return self._outcome("updated", stored)
        return None

    def _is_there(self, stored: Stored, dashboard: Dashboard, folder_uid: str | None) -> bool:
        in_place = folder_uid is None or folder_uid == stored.folder_uid
        return in_place and not self.differences(stored, dashboard)

    def _provisioned(self, stored: Stored, dashboard: Dashboard) -> DestinationError:
        file = str(stored.meta.get("provisionedExternalId") or "")
        return DestinationError(
            f"{dashboard.uid} on {self.endpoint.url} is provisioned from a file, which would "
            "replace what is imported",
            f"change the file {file}".strip() + " where Grafana runs",
        )

    def _shortest_refresh(self) -> str:
        settings = self._get("/api/frontend/settings", "tell its shortest refresh")
        return str(settings.get("minRefreshInterval") or "")

    def _outcome(self, action: str, stored: Stored | None) -> Outcome:
        if stored is None:
            return Outcome(action, action, "")
        return Outcome(
            action=action,
            status="unchanged" if action == "unchanged" else "success",
            uid=str(stored.model.get("uid", "")),
            id=stored.model.get("id"),
            slug=str(stored.meta.get("slug", "")),
            url=str(stored.meta.get("url", "")),
            version=stored.version,
        )

    def _data_sources(self) -> list[dict[str, Any]]:
        """Return name, uid, type and isDefault of each; an Editor may only ask the front end's."""
        response = self._request("GET", "/api/datasources")
        if response.status != _FORBIDDEN:
            found = self._answer(response, "list the data sources")
            return [_data_source(item["name"], item) for item in found]
        settings = self._get("/api/frontend/settings", "list the data sources")
        default = settings.get("defaultDatasource")
        return [
            _data_source(name, {**item, "isDefault": name == default})
            for name, item in settings["datasources"].items()
            if not str(name).startswith("-- ")
        ]

    def _get(self, path: str, what: str) -> Any:
        return self._answer(self._request("GET", path), what)

    def _request(self, method: str, path: str, body: Any = None) -> Response:
        content = json.dumps(body).encode() if body is not None else None
        return request(self.endpoint, method, path, content, "application/json" if body else "")

    def _answer(self, response: Response, what: str) -> Any:
        """Return what Grafana answers; raises DestinationError where it refuses."""
        if response.is_html:
            raise DestinationError(
                f"{self.endpoint.url} answers with a web page ({response.status})",
                _NEXT_STEPS[_NOT_FOUND],
            )
        if not response.ok:
            raise self._refused(response, what)
        try:
            return json.loads(response.body)
        except ValueError as error:
            raise DestinationError(
                f"{self.endpoint.url} answers with something else than JSON", "is this Grafana?"
            ) from error

    def _refused(self, response: Response, what: str) -> DestinationError:
        said = _said(response)
        words = str(said.get("message") or response.words or "no words")
        status = str(said.get("status") or "")
        message = f"{self.endpoint.url} refused to {what} with {response.status}: {words}"
        step = _STATUS_STEPS.get(status) or _NEXT_STEPS.get(response.status, "see Grafana's log")
        if response.status in _CONFLICTS:
            others = status in _STATUS_STEPS
            return _ConflictError(message, step, of_version=not others)
        return DestinationError(message, step)


def _is_absent(response: Response) -> bool:
    """Return whether Grafana says that it has no such dashboard, and not no such address."""
    words = str(_said(response).get("message", "")).lower()
    return response.status == _NOT_FOUND and "dashboard" in words


def _is_longer(interval: Any, other: Any) -> bool:
    found = [_INTERVAL.fullmatch(each) for each in (interval, other) if isinstance(each, str)]
    lengths = [int(each[1]) * _MILLISECONDS[each[2]] for each in found if each]
    return len(lengths) == len((interval, other)) and lengths[0] > lengths[1]


def _no_data_source(wanted: str, found: list[dict[str, Any]]) -> str:
    """Return what there is instead of the data source that was wanted."""
    if not wanted:
        return "no single Prometheus data source"
    kinds = {s["type"] for s in found if wanted in {s["uid"], s["name"]}}
    if kinds:
        return f"a data source {wanted!r} of the type {', '.join(sorted(kinds))}, not Prometheus"
    return f"no data source {wanted!r}"


def _migrated(stored: Stored, dashboard: Dashboard) -> bool:
    """Return whether a newer Grafana has rewritten the model into its own schema version."""
    ours = dashboard.model.get("schemaVersion") or 0
    return int(stored.model.get("schemaVersion") or 0) > int(ours)


def _data_source(name: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return one data source; before 8.3 references were by name, and a uid may be missing."""
    return {
        "name": name,
        "uid": item.get("uid") or name,
        "type": item.get("type", ""),
        "isDefault": bool(item.get("isDefault")),
    }


def _said(response: Response) -> Mapping[str, Any]:
    try:
        said = json.loads(response.body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
