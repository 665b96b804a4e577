"""A Grafana dashboard as JSON: read in any of its wrappings, checked, made fit to be sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeGuard

import msgspec

from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.expressions import Catalogue, check_expression, codes_of
from ledgermind_obs.monitoring.findings import Code, Finding, Severity

Model = dict[str, Any]

_E, _W = Severity.ERROR, Severity.WARNING

EXPRESSION = codes_of("D")
NO_EXPRESSION = Code("D108", _E, "query has no expression")
NO_QUERY = Code("D109", _E, "panel has no query")
REF_ID = Code("D110", _E, "queries have no refId of their own")
NO_TITLE = Code("D201", _W, "panel has no title")
NO_UNIT = Code("D202", _W, "panel has no unit")
NO_THRESHOLDS = Code("D203", _E, "panel has no thresholds")
LOST_THRESHOLDS = Code("D204", _E, "thresholds are where Grafana ignores them")
NO_BASE = Code("D205", _E, "thresholds have no base colour")
NOT_RISING = Code("D206", _E, "thresholds do not rise")
GREEN_NOTHING = Code("D207", _E, "missing data would be shown in green")
NO_ID = Code("D301", _W, "panel has no id")
SHARED_ID = Code("D302", _E, "panels share an id")
OFF_GRID = Code("D303", _W, "panel does not fit into the grid")
OVERLAP = Code("D304", _W, "panels overlap")
UNRESOLVED = Code("D401", _E, "data source is not resolved")

CODES = (
    *EXPRESSION.values(),
    *(NO_EXPRESSION, NO_QUERY, REF_ID),
    *(NO_TITLE, NO_UNIT, NO_THRESHOLDS, LOST_THRESHOLDS, NO_BASE, NOT_RISING, GREEN_NOTHING),
    *(NO_ID, SHARED_ID, OFF_GRID, OVERLAP),
    UNRESOLVED,
)

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


def read_model(content: bytes, name: str) -> Mapping[str, Any]:
    """Return the model in a bare file, in the API's envelope, or in an export with ``meta``.

    Raises ConfigurationError if it is none, or of a schema this API does not take.
    """
    return _unwrapped(_decoded(content, name), name)


def read_dashboard(content: bytes, name: str) -> Dashboard:
    """Return a dashboard that Grafana would take, without what Grafana sets itself.

    Raises ConfigurationError if there is no such dashboard in it.
    """
    model = read_model(content, name)
    kept = {key: value for key, value in model.items() if key not in _SERVER_FIELDS}
    check_identity(kept, name)
    return Dashboard(name, kept)


def check_identity(model: Mapping[str, Any], name: str) -> None:
    """Raise ConfigurationError if Grafana would refuse the title or the uid, or there is none."""
    dashboard = Dashboard(name, dict(model))
    for key in ("title", "uid"):
        if not isinstance(model.get(key) or "", str):
            raise ConfigurationError(f"{name} is not a dashboard: its {key} is not a text")
    if not dashboard.title.strip():
        raise ConfigurationError(f"{name} has no title", "Grafana refuses a dashboard without one")
    if not dashboard.uid:
        raise ConfigurationError(
            f"{name} has no uid",
            'give it one, such as "uid": "my-dashboard": a second import finds the first by it',
        )
    if len(dashboard.uid) > MAX_UID_LENGTH or not _UID.fullmatch(dashboard.uid):
        raise ConfigurationError(
            f"{name} has the uid {dashboard.uid!r}, which Grafana refuses",
            f"use at most {MAX_UID_LENGTH} of the characters a-z A-Z 0-9 _ -",
        )


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


def as_file(model: Mapping[str, Any]) -> str:
    """Return the model as the text of a file, as Grafana exports it."""
    return json.dumps(model, indent=2, ensure_ascii=False) + "\n"


def to_send(model: Mapping[str, Any], version: int) -> Model:
    """Return the model for Grafana's API: no numeric id, and the version it is to replace."""
    return {**_comparable(model), "id": None, "version": version}


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return in what the two differ, one line each; what Grafana sets itself does not count."""
    return list(_differences(_comparable(stored), _comparable(wanted), ""))


def check(dashboard: Dashboard, catalogue: Catalogue) -> list[Finding]:
    """Return what is wrong with a dashboard, without asking Grafana."""
    panels = list(_panels(dashboard.model))
    return [
        *_check_inputs(dashboard),
        *_check_ids(dashboard, panels),
        *_check_grid(dashboard),
        *(found for panel in panels for found in _check_panel(dashboard, panel)),
        *(found for panel in panels for found in _check_targets(dashboard, panel, catalogue)),
        *_check_variables(dashboard, catalogue),
    ]


def queries(model: Mapping[str, Any]) -> list[str]:
    """Return every PromQL expression of the panels, its variables as they are."""
    return [
        target["expr"]
        for panel in _panels(model)
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
    """Return the model without what Grafana sets itself, its title trimmed as Grafana trims it."""
    kept = {key: value for key, value in model.items() if key not in _SERVER_FIELDS}
    return kept | ({"title": kept["title"].strip()} if isinstance(kept.get("title"), str) else {})


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


def _panels(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every panel, rows and what is folded into them included."""
    pending = _mappings(model.get("panels"))
    for row in _mappings(model.get("rows")):
        pending += _mappings(row.get("panels"))
    for panel in pending:
        yield panel
        yield from _mappings(panel.get("panels"))


def panel_titles(dashboard: Dashboard) -> list[str]:
    """Return what each panel is called in messages, in the file's order."""
    return [_title(panel) for panel in _panels(dashboard.model)]


def _check_inputs(dashboard: Dashboard) -> Iterator[Finding]:
    for name in dashboard.inputs:
        yield UNRESOLVED.at(
            dashboard.title,
            f"has the unresolved data source ${{{name}}}, which Grafana's API would store as it is",
            'use a variable of type "datasource", or import it with --datasource',
            node=dashboard.uid,
            group=dashboard.title,
            file=dashboard.name,
        )


def _check_ids(dashboard: Dashboard, panels: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    seen: dict[int, str] = {}
    for panel in panels:
        number = panel.get("id")
        if not _is_whole(number):
            message = "has no id that is a whole number"
            yield _at(NO_ID, dashboard, panel, message, "give each panel an id of its own")
        elif number in seen:
            message = f"has the id {number}, and so has {seen[number]}: Grafana mixes them up"
            yield _at(SHARED_ID, dashboard, panel, message, "give each panel an id of its own")
        else:
            seen[number] = _title(panel)


def _check_grid(dashboard: Dashboard) -> Iterator[Finding]:
    placed = []
    for panel in _mappings(dashboard.model.get("panels")):
        box = _box(panel)
        if box is None:
            message = f"has a gridPos that does not fit into the {GRID_COLUMNS} columns"
            next_step = "give it whole numbers x, y, w and h, with x + w at most 24"
            yield _at(OFF_GRID, dashboard, panel, message, next_step)
        else:
            placed.append((panel, box))
    for one, other in _overlaps([box for _, box in placed]):
        message = f"overlaps {_title(placed[one][0])}: Grafana moves one of them"
        yield _at(OVERLAP, dashboard, placed[other][0], message, "move one of them")


def _box(panel: Mapping[str, Any]) -> tuple[int, int, int, int] | None:
    grid = _mapping(panel.get("gridPos"))
    values = [value for key in "xywh" if _is_whole(value := grid.get(key)) and value >= 0]
    if len(values) < len("xywh"):
        return None
    x, y, w, h = values
    return (x, y, w, h) if w and h and x + w <= GRID_COLUMNS else None


def _overlaps(boxes: list[tuple[int, int, int, int]]) -> list[tuple[int, int]]:
    """Return pairs of boxes that overlap, the earlier first, each later box once."""
    found: dict[int, int] = {}
    for column in range(GRID_COLUMNS):
        inside = [i for i, (x, _, w, _) in enumerate(boxes) if x <= column < x + w]
        lowest = -1
        for index in sorted(inside, key=lambda i: (boxes[i][1], i)):
            _, y, _, h = boxes[index]
            if lowest >= 0 and y < boxes[lowest][1] + boxes[lowest][3]:
                found.setdefault(max(lowest, index), min(lowest, index))
            if lowest < 0 or y + h > boxes[lowest][1] + boxes[lowest][3]:
                lowest = index
    return sorted((one, other) for other, one in found.items())


def _check_panel(dashboard: Dashboard, panel: Mapping[str, Any]) -> Iterator[Finding]:
    if not _is_plotted(panel):
        return
    defaults = _mapping(_mapping(panel.get("fieldConfig")).get("defaults"))
    if not panel.get("title"):
        next_step = "give it a title that says what it shows"
        yield _at(NO_TITLE, dashboard, panel, "has no title", next_step)
    if not defaults.get("unit"):
        next_step = "set fieldConfig.defaults.unit, such as h or s: a bare number can be misread"
        yield _at(NO_UNIT, dashboard, panel, "has no unit", next_step)
    if "thresholds" in panel:
        message = "has thresholds where Grafana ignores them"
        next_step = "move them to fieldConfig.defaults.thresholds"
        yield _at(LOST_THRESHOLDS, dashboard, panel, message, next_step)
    for code, message, next_step in _wrong_colours(panel, defaults):
        yield _at(code, dashboard, panel, message, next_step)


def _wrong_colours(
    panel: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[tuple[Code, str, str]]:
    steps = _mappings(_mapping(defaults.get("thresholds")).get("steps"))
    coloured = panel.get("type") in _COLOURED
    if steps:
        yield from _wrong_steps([step.get("value") for step in steps])
    elif coloured:
        next_step = "set fieldConfig.defaults.thresholds.steps to the limits that the alerts use"
        yield NO_THRESHOLDS, "has no thresholds, so its colour says nothing", next_step
    if coloured and not _maps_null(defaults):
        yield (
            GREEN_NOTHING,
            "would show missing data in green",
            'map the special value "null+nan" to a text and a colour other than green',
        )


def _wrong_steps(values: list[Any]) -> Iterator[tuple[Code, str, str]]:
    numbers = [value for value in values[1:] if isinstance(value, int | float)]
    if values[0] is not None:
        message = f"has no base colour: its first threshold has the value {_shown(values[0])}"
        yield NO_BASE, message, "begin with a step whose value is null"
    elif len(numbers) != len(values) - 1 or numbers != sorted(set(numbers)):
        message = f"has thresholds that do not rise: {', '.join(map(_shown, values[1:]))}"
        yield NOT_RISING, message, "give each step a number, and order them from low to high"


def _maps_null(defaults: Mapping[str, Any]) -> bool:
    """Return whether null and NaN both have a colour, and it is not green."""
    found = set[str]()
    for mapping in _mappings(defaults.get("mappings")):
        options = _mapping(mapping.get("options"))
        colour = str(_mapping(options.get("result")).get("color"))
        if mapping.get("type") == "special" and "green" not in colour:
            found.update(str(options.get("match")).split("+"))
    return {"null", "nan"} <= found


def _check_targets(
    dashboard: Dashboard, panel: Mapping[str, Any], catalogue: Catalogue
) -> Iterator[Finding]:
    targets, plotted = _mappings(panel.get("targets")), _is_plotted(panel)
    yield from _check_ref_ids(dashboard, panel, targets)
    for target in targets:
        if isinstance(target.get("expr"), str):
            for fault in check_expression(without_variables(target["expr"]), catalogue):
                code = EXPRESSION[fault.kind]
                yield _at(code, dashboard, panel, fault.message, fault.next_step)
        elif plotted:
            message = "has a query without an expr"
            yield _at(NO_EXPRESSION, dashboard, panel, message, "write it in PromQL, or remove it")
    if plotted and not targets:
        message = "has no query, so it stays empty"
        yield _at(NO_QUERY, dashboard, panel, message, "add a query, or remove the panel")


def _check_ref_ids(
    dashboard: Dashboard, panel: Mapping[str, Any], targets: Iterable[Mapping[str, Any]]
) -> Iterator[Finding]:
    seen = set[str]()
    for target in targets:
        ref = target.get("refId")
        name = ref if isinstance(ref, str) else ""
        if name and name not in seen:
            seen.add(name)
            continue
        same = f"two queries with the refId {name}" if name else "a query without a refId"
        message = f"has {same}: Grafana may show the wrong one"
        yield _at(REF_ID, dashboard, panel, message, "name each query: A, B, C")


def _check_variables(dashboard: Dashboard, catalogue: Catalogue) -> Iterator[Finding]:
    for variable in _variables(dashboard.model):
        query = variable.get("query")
        text = query.get("query") if isinstance(query, dict) else query
        found = _VARIABLE_QUERY.fullmatch(text) if isinstance(text, str) else None
        if not found or not found["selector"]:
            continue
        name = f"variable {variable.get('name')}"
        place = {"node": f"{dashboard.uid}/{name}", "group": dashboard.title}
        for fault in check_expression(without_variables(found["selector"]), catalogue):
            yield EXPRESSION[fault.kind].at(
                name, fault.message, fault.next_step, file=dashboard.name, **place
            )


def without_variables(expression: str) -> str:
    """Return the expression with a duration or a number for each variable that stands for one.

    Variables inside of quotes stay: there they are part of a pattern.
    """
    return _NUMBER_VARIABLE.sub("300", _RANGE_VARIABLE.sub("[5m", expression))


def _variables(model: Mapping[str, Any]) -> list[Model]:
    return _mappings(_mapping(model.get("templating")).get("list"))


def _at(
    code: Code, dashboard: Dashboard, panel: Mapping[str, Any], message: str, next_step: str
) -> Finding:
    """Return a finding about a panel."""
    return code.at(
        _title(panel),
        message,
        next_step,
        node=f"{dashboard.uid}/{panel.get('id')}",
        group=dashboard.title,
        file=dashboard.name,
    )


def _title(panel: Mapping[str, Any]) -> str:
    return str(panel.get("title") or f"panel {panel.get('id', 'without an id')}")


def _is_plotted(panel: Mapping[str, Any]) -> bool:
    kind = panel.get("type")
    return isinstance(kind, str) and kind in _PLOTTED


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[Model]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
