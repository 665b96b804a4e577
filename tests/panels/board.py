"""The dashboard's file as a page shows it: panels in their places, queries with their variables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from services.prometheus import Prometheus

ROOT = Path(__file__).parents[2]
FILE = ROOT / "ops/grafana/dashboards/ml-source-freshness.json"
DAY = 86400
STEP = 300
# In pixels: a row of the grid with its margin, and what is above the first one.
ROW, HEADING = 38, 60

Json = dict[str, Any]


def board(
    prometheus: Prometheus, now: float, project: str, *, width: int = 1600, theme: str = "light"
) -> Json:
    """Return the dashboard of the projects that match, with Prometheus' answers."""
    model = json.loads(FILE.read_text())
    variables = {"project": project, "target": ".*"}
    known = {"expr": _query_of(model, "source"), "instant": True}
    found = _ask(prometheus, known, variables, now)
    sources = sorted({series["metric"]["source"] for series in found})
    placed = list(_placed(model["panels"], sources or ["All"]))
    return {
        "title": model["title"],
        "theme": theme,
        "width": width,
        "height": max(box["y"] + box["h"] for _, box, _ in placed) * ROW + HEADING,
        "from": now - DAY,
        "to": now,
        "panels": [
            {
                "panel": _titled(panel, own),
                "box": box,
                "answers": [
                    {"query": target, "result": _ask(prometheus, target, {**variables, **own}, now)}
                    for target in panel.get("targets", ())
                ],
            }
            for panel, box, own in placed
        ],
    }


def _placed(
    panels: list[Json], sources: list[str]
) -> Iterator[tuple[Json, dict[str, int], Mapping[str, str]]]:
    """Yield each panel with its place and variables; a row that repeats takes its panels along."""
    first = next(i for i, panel in enumerate(panels) if panel.get("repeat"))
    for panel in panels[:first]:
        yield panel, panel["gridPos"], {}
    repeated = panels[first:]
    top = repeated[0]["gridPos"]["y"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in repeated) - top
    for number, source in enumerate(sources):
        for panel in repeated:
            place = panel["gridPos"]
            box = {**place, "y": place["y"] + number * height}
            yield panel, box, {"source": source}


def _titled(panel: Json, variables: Mapping[str, str]) -> Json:
    return {**panel, "title": _filled(panel["title"], variables)}


def _query_of(model: Json, name: str) -> str:
    """Return the series that a variable takes its values from."""
    variables = {each["name"]: each for each in model["templating"]["list"]}
    query: str = variables[name]["query"]["query"]
    return query.removeprefix("label_values(").rpartition(",")[0]


def _filled(text: str, variables: Mapping[str, str]) -> str:
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    return text


def _ask(
    prometheus: Prometheus, target: Json, variables: Mapping[str, str], now: float
) -> list[Json]:
    expression = _filled(target["expr"], variables)
    if target["instant"]:
        path, query = "query", {"query": expression, "time": now}
    else:
        path = "query_range"
        query = {"query": expression, "start": now - DAY, "end": now, "step": STEP}
    answer = json.loads(prometheus.request(f"/api/v1/{path}?{urlencode(query)}"))
    result: list[Json] = answer["data"]["result"]
    return result
