"""A Grafana dashboard as JSON: read in any of its wrappings, checked, made fit to be sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

import msgspec

from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.expressions import Catalogue, Fault, check_expression, unique

Model = dict[str, Any]

MAX_BYTES = 5_000_000
MAX_UID_LENGTH = 40
GRID_COLUMNS = 24

# What Grafana sets itself, and what only an export for other people's Grafanas carries.
_SERVER_FIELDS = ("id", "version", "iteration")
_EXPORT_FIELDS = ("__inputs", "__requires", "__elements")

_UID = re.compile(r"[a-zA-Z0-9_-]+")
_INPUT = re.compile(r"\$\{(DS_\w+)\}")
_RANGE_VARIABLE = re.compile(r"\[\s*\$\{?\w+\}?")
_NUMBER_VARIABLE = re.compile(r"\$\{?__\w+?_(?:ms|s)\b\}?")
_VARIABLE_QUERY = re.compile(r"label_values\((?:(?P<selector>.+),\s*)?\w+\s*\)\s*", re.DOTALL)
_COLOURED = frozenset({"stat", "gauge", "bargauge", "singlestat"})
_PLOTTED = _COLOURED | {"timeseries", "graph", "table"}


class Dashboard(msgspec.Struct, frozen=True):
    """A dashboard's model in the classic schema, and what it is called in messages."""

    name: str
    model: Model

    @property
    def uid(self) -> str:
        """The identity by which a second import finds the first."""
        return str(self.model.get("uid") or "")

    @property
    def title(self) -> str:
        """The title."""
        return str(self.model.get("title") or "")

    @property
    def inputs(self) -> list[str]:
        """The names of the data sources, such as DS_PROMETHEUS, that are still to be filled in."""
        return sorted(set(_INPUT.findall(json.dumps(self.model))))


def read_dashboard(content: bytes, name: str) -> Dashboard:
    """Return the dashboard in a bare model, in the API's envelope, or in an export with ``meta``.

    Raises ConfigurationError where it is none, or of a schema this API does not take.
    """
    model = _unwrapped(_decoded(content, name), name)
    kept = {key: value for key, value in model.items() if key not in _SERVER_FIELDS}
    dashboard = Dashboard(name, kept)
    for key in ("title", "uid"):
        if not isinstance(kept.get(key) or "", str):
            raise ConfigurationError(f"{name} is not a dashboard: its {key} is not a text")
    if not dashboard.title.strip():
        raise ConfigurationError(f"{name} has no title", "Grafana refuses a dashboard without one")
    if not dashboard.uid:
        raise ConfigurationError(
            f"{name} has no uid", 'give it one ("uid": "my-dashboard"), so that it can be updated'
        )
    if len(dashboard.uid) > MAX_UID_LENGTH or not _UID.fullmatch(dashboard.uid):
        raise ConfigurationError(
            f"{name} has the uid {dashboard.uid!r}, which Grafana refuses",
            f"use at most {MAX_UID_LENGTH} of the characters a-z A-Z 0-9 _ -",
        )
    return dashboard


def resolved(dashboard: Dashboard, data_source: str) -> Dashboard:
    """Return the dashboard as this Grafana needs it, with its inputs filled in by a uid.

    A variable that chooses the data source starts with it.
    """
    model = {key: value for key, value in dashboard.model.items() if key not in _EXPORT_FIELDS}
    if data_source:
        filled = _INPUT.sub(json.dumps(data_source)[1:-1].replace("\\", "\\\\"), json.dumps(model))
        model = json.loads(filled)
        for variable in _variables(model):
            if (variable.get("type"), variable.get("query")) == ("datasource", "prometheus"):
                variable["current"] = {"text": data_source, "value": data_source}
    return Dashboard(dashboard.name, model)


def to_send(model: Mapping[str, Any], version: int) -> Model:
    """Return the model for Grafana's API: no numeric id, and the version it is to replace."""
    return {**_comparable(model), "id": None, "version": version}


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return in what the two differ, one line each; what Grafana sets itself does not count."""
    return list(_differences(_comparable(stored), _comparable(wanted), ""))


def check(dashboard: Dashboard, catalogue: Catalogue) -> list[Fault]:
    """Return what is wrong with a dashboard, without asking Grafana."""
    panels = list(_panels(dashboard))
    faults = [
        *_check_inputs(dashboard),
        *_check_ids(dashboard, panels),
        *_check_grid(dashboard),
        *(fault for panel in panels for fault in _check_panel(dashboard, panel)),
        *(fault for panel in panels for fault in _check_targets(dashboard, panel, catalogue)),
        *_check_variables(dashboard, catalogue),
    ]
    return unique(faults)


def queries(model: Mapping[str, Any]) -> list[str]:
    """Return every PromQL expression of the panels, its variables as they are."""
    return [
        target["expr"]
        for panel in _panels(Dashboard("", dict(model)))
        for target in _mappings(panel.get("targets"))
        if isinstance(target.get("expr"), str)
    ]


def _decoded(content: bytes, name: str) -> Mapping[str, Any]:
    if len(content) > MAX_BYTES:
        raise ConfigurationError(
            f"{name} is larger than {MAX_BYTES // 1_000_000} MB", "is it really a dashboard?"
        )
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{name} is not a dashboard: it is not a JSON object")
    return document


def _unwrapped(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the model inside the API's envelope, an export, or a Kubernetes-style resource."""
    if _is_v2(document):
        raise ConfigurationError(
            f"{name} is a dashboard of schema v2, which this API does not take",
            "export it again from Grafana as JSON of the model Classic",
        )
    for key in ("dashboard", "spec"):
        inner = document.get(key)
        if isinstance(inner, dict):
            uid = _mapping(document.get("metadata")).get("name")
            return _unwrapped({"uid": uid, **inner} if uid else inner, name)
    panels = document.get("panels", document.get("rows"))
    if not isinstance(panels, list) or not all(isinstance(panel, dict) for panel in panels):
        raise ConfigurationError(
            f"{name} is not a dashboard: it has no list of panels",
            "export it from Grafana: Export, as JSON",
        )
    return document


def _is_v2(document: Mapping[str, Any]) -> bool:
    version = str(document.get("apiVersion", "")).rpartition("/")[2]
    return version.startswith("v2") or {"elements", "layout"} <= document.keys()


def _comparable(model: Mapping[str, Any]) -> Model:
    return {key: value for key, value in model.items() if key not in _SERVER_FIELDS}


def _differences(stored: Any, wanted: Any, path: str) -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for key in sorted(stored.keys() | wanted.keys()):
            yield from _differences(stored.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(stored, list) and isinstance(wanted, list):
        if len(stored) != len(wanted):
            yield f"{path}: {len(stored)} entries in Grafana, {len(wanted)} here"
        for index, pair in enumerate(zip(stored, wanted, strict=False)):
            yield from _differences(*pair, f"{path}[{index}]")
    elif stored != wanted:
        yield f"{path}: {_shown(stored)} in Grafana, {_shown(wanted)} here"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line's width


def _panels(dashboard: Dashboard) -> Iterator[Mapping[str, Any]]:
    """Yield every panel, rows and what is folded into them included."""
    pending = _mappings(dashboard.model.get("panels"))
    for row in _mappings(dashboard.model.get("rows")):
        pending += _mappings(row.get("panels"))
    for panel in pending:
        yield panel
        yield from _mappings(panel.get("panels"))


def _check_inputs(dashboard: Dashboard) -> Iterator[Fault]:
    for name in dashboard.inputs:
        yield Fault(
            dashboard.name,
            f"${{{name}}} is not resolved: Grafana's API stores it as it is",
            'use a variable of type "datasource", or import it with --datasource',
        )


def _check_ids(dashboard: Dashboard, panels: Iterable[Mapping[str, Any]]) -> Iterator[Fault]:
    seen: dict[object, str] = {}
    for panel in panels:
        number, place = panel.get("id"), _place(dashboard, panel)
        if not isinstance(number, int) or isinstance(number, bool):
            yield Fault(place, "it has no numeric id", "give each panel an id of its own")
        elif number in seen:
            yield Fault(place, f"it has the id {number} of {seen[number]}", "give it its own id")
        else:
            seen[number] = _title(panel)


def _check_grid(dashboard: Dashboard) -> Iterator[Fault]:
    placed = []
    for panel in _mappings(dashboard.model.get("panels")):
        box = _box(panel)
        if box is None:
            yield Fault(
                _place(dashboard, panel),
                f"its gridPos does not fit into {GRID_COLUMNS} columns",
                "give it whole numbers x, y, w and h, with x + w at most 24",
            )
        else:
            placed.append((panel, box))
    for (one, first), (other, second) in combinations(placed, 2):
        if _overlap(first, second):
            yield Fault(
                _place(dashboard, other), f"it covers a part of {_title(one)}", "move one of them"
            )


def _box(panel: Mapping[str, Any]) -> tuple[int, int, int, int] | None:
    grid = _mapping(panel.get("gridPos"))
    values = [grid.get(key) for key in "xywh"]
    if not all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in values):
        return None
    x, y, w, h = (int(v) for v in values if v is not None)
    return (x, y, w, h) if w and h and x + w <= GRID_COLUMNS else None


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> bool:
    (ax, ay, aw, ah), (bx, by, bw, bh) = one, other
    return ax < bx + bw and bx < ax + aw and ay < by + bh and by < ay + ah


def _check_panel(dashboard: Dashboard, panel: Mapping[str, Any]) -> Iterator[Fault]:
    if panel.get("type") not in _PLOTTED:
        return
    place = _place(dashboard, panel)
    defaults = _mapping(_mapping(panel.get("fieldConfig")).get("defaults"))
    if not panel.get("title"):
        yield Fault(place, "it has no title", "say what it shows")
    if not defaults.get("unit"):
        yield Fault(place, "it has no unit", "set fieldConfig.defaults.unit")
    if "thresholds" in panel:
        yield Fault(
            place, "Grafana ignores thresholds of the panel", "set fieldConfig.defaults.thresholds"
        )
    yield from _check_steps(place, defaults)
    if panel.get("type") in _COLOURED and not _maps_null(defaults):
        yield Fault(
            place,
            "nothing is green here: null and NaN have no value mapping",
            'map the special value "null+nan" to a text and a colour',
        )


def _check_steps(place: str, defaults: Mapping[str, Any]) -> Iterator[Fault]:
    steps = _mappings(_mapping(defaults.get("thresholds")).get("steps"))
    values = [step.get("value") for step in steps]
    numbers = [value for value in values[1:] if isinstance(value, int | float)]
    if not steps:
        yield Fault(place, "it has no thresholds", "set fieldConfig.defaults.thresholds.steps")
    elif values[0] is not None:
        yield Fault(place, "its first threshold has a value", "the first step is null: the base")
    elif len(numbers) != len(values) - 1 or numbers != sorted(set(numbers)):
        yield Fault(place, "its thresholds do not rise", "order the steps by their values")


def _maps_null(defaults: Mapping[str, Any]) -> bool:
    return any(
        mapping.get("type") == "special"
        and _mapping(mapping.get("options")).get("match") == "null+nan"
        and _mapping(_mapping(mapping.get("options")).get("result")).get("color") != "green"
        for mapping in _mappings(defaults.get("mappings"))
    )


def _check_targets(
    dashboard: Dashboard, panel: Mapping[str, Any], catalogue: Catalogue
) -> Iterator[Fault]:
    place, seen = _place(dashboard, panel), set[object]()
    for target in _mappings(panel.get("targets")):
        ref = target.get("refId")
        if not ref or ref in seen:
            yield Fault(place, f"it has the refId {ref!r} twice, or none", "name each query: A, B")
        seen.add(ref)
        if isinstance(target.get("expr"), str):
            yield from check_expression(without_variables(target["expr"]), place, catalogue)
        elif panel.get("type") in _PLOTTED:
            yield Fault(place, "a query of it has no expr", "write it in PromQL")
    if panel.get("type") in _PLOTTED and not seen:
        yield Fault(place, "it has no query", "add a target")


def _check_variables(dashboard: Dashboard, catalogue: Catalogue) -> Iterator[Fault]:
    for variable in _variables(dashboard.model):
        query = variable.get("query")
        text = query.get("query") if isinstance(query, dict) else query
        found = _VARIABLE_QUERY.fullmatch(text) if isinstance(text, str) else None
        if found and found["selector"]:
            place = f"{dashboard.name}: variable {variable.get('name')}"
            yield from check_expression(without_variables(found["selector"]), place, catalogue)


def without_variables(expression: str) -> str:
    """Return the expression with a duration or a number for each variable that stands for one.

    Variables inside of quotes stay: there they are part of a pattern.
    """
    return _NUMBER_VARIABLE.sub("300", _RANGE_VARIABLE.sub("[5m", expression))


def _variables(model: Mapping[str, Any]) -> list[Model]:
    return _mappings(_mapping(model.get("templating")).get("list"))


def _place(dashboard: Dashboard, panel: Mapping[str, Any]) -> str:
    return f"{dashboard.name}: {_title(panel)}"


def _title(panel: Mapping[str, Any]) -> str:
    return str(panel.get("title") or f"panel {panel.get('id', 'without an id')}")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[Model]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
