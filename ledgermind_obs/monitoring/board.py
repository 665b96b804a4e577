"""From a manifest to a dashboard that can be read with 5 sources and with 500.

The template has every panel that there can be. A few tables get a tile each, with their own limits.
Of many, the dashboard counts the states and shows the oldest; the rows of the sources are closed.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.monitoring.alerts import DOCUMENT_RUNBOOK
from ledgermind_obs.monitoring.dashboard import GRID_COLUMNS, MAX_UID_LENGTH, Model, as_file
from ledgermind_obs.monitoring.generate import escaped, quoted
from ledgermind_obs.monitoring.template import ABSENT, filled

MOST_TILES = 6
# The template's panels that not every project has, or has in another form, by their id.
_TILE, _TREND = 1, 4
_OF_MANY = (21, 22)
_OF_EXPOSURES = frozenset({12, 13, 14})
_SOURCE_ROW = 8
_OF_TABLES = frozenset({9, 10, 11})

_MOST_TABLES = 25
_MOST_OPEN_ROWS = 4
_TILES_IN_A_ROW = 3
_HOUR = 3600
_TENTHS, _MINUTES = 10, 60
_ABOVE_A_LINE = 13 / 12
_NUMBERS = ("", "", "two ", "three ", "four ", "five ", "six ")

Limits = tuple[float | None, float | None]


class Board(msgspec.Struct, frozen=True):
    """What a dashboard is written from; without a project it is one for any.

    ``sources`` are those with freshness, ``tiles`` the ones among them that get a tile each.
    ``ml`` says whether ML training reads all of these. ``starts_with`` names the project and the
    target that are chosen at first, empty for all.
    """

    project: str = ""
    sources: tuple[Source, ...] = ()
    tiles: tuple[Source, ...] = ()
    exposures: bool = True
    ml: bool = False
    title: str = ""
    uid: str = ""
    runbook: str = DOCUMENT_RUNBOOK
    starts_with: tuple[str, str] = ("", "")

    @property
    def limits(self) -> Limits:
        """The limits in seconds that all sources share, as far as they do."""
        found = {limits_of(source) for source in self.sources}
        return found.pop() if len(found) == 1 else (None, None)

    @property
    def has_large_source(self) -> bool:
        """Whether a source may have more tables than can be shown side by side."""
        tables = Counter((each.package_name, each.source_name) for each in self.sources)
        return not self.sources or max(tables.values()) > _MOST_TABLES

    @property
    def has_many_sources(self) -> bool:
        """Whether there may be more sources than rows that can be open."""
        names = {source.source_name for source in self.sources}
        return not names or len(names) > _MOST_OPEN_ROWS


def model(board: Board, template: Model) -> Model:
    """Return the dashboard's model; raises KeyError if the template asks for what is not known."""
    words = _words(board)
    frame = {key: value for key, value in template.items() if key != "panels"}
    panels = _panels(board, template["panels"], words)
    return {key: panels if key == "panels" else filled(frame[key], words) for key in template}


def config_map(made: Model) -> dict[str, Any]:
    """Return a dashboard as the manifest that Grafana's sidecar loads it from."""
    slug = re.sub(r"[^a-z0-9]+", "-", made["uid"].lower()).strip("-") or "dbt-freshness"
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"grafana-dashboard-{slug}",
            "labels": {"app.kubernetes.io/name": "ledgermind-obs", "grafana_dashboard": "1"},
        },
        "data": {f"{slug}.json": as_file(made).rstrip()},
    }


def uid_of(project: str) -> str:
    """Return the uid of a project's dashboard: the same each time, and one that Grafana takes."""
    wanted = f"dbt-freshness-{project}" if project else "dbt-freshness"
    if len(wanted) <= MAX_UID_LENGTH and re.fullmatch(r"[a-zA-Z0-9_-]+", wanted):
        return wanted
    mark = hashlib.sha256(project.encode()).hexdigest()[:8]
    kept = re.sub(r"[^a-zA-Z0-9_-]+", "-", wanted)[: MAX_UID_LENGTH - len(mark) - 1]
    return f"{kept}-{mark}"


def chosen_tiles(candidates: Iterable[Collection[str]]) -> list[str]:
    """Return the first of the sets of ids that is small enough for tiles, in order."""
    for found in candidates:
        if 0 < len(found) <= MOST_TILES:
            return sorted(found)
    return []


def limits_of(source: Source) -> Limits:
    """Return the ages in seconds from which on a source is yellow, and red; None for never."""
    freshness = source.freshness
    if freshness is None:
        return None, None
    warn, error = freshness.warn_after_seconds, freshness.error_after_seconds
    # A warning that would come after the error never comes.
    return (None if warn is not None and error is not None and warn >= error else warn), error


def _words(board: Board) -> dict[str, Any]:
    """Return the words that the frame and the panels of all sources have."""
    warn, error = board.limits
    title = "dbt source freshness" + (f": {board.project}" if board.project else "")
    tags = [board.project, "dbt", "freshness", "ml" if board.ml else ""]
    return {
        "title": board.title or title,
        "uid": board.uid or uid_of(board.project),
        "tags": list(dict.fromkeys(tag for tag in tags if tag)),
        "runbook": board.runbook,
        "fresh": "transparent" if warn is None and error is None else "green",
        "highest": f": the {_MOST_TABLES} highest" if board.has_large_source else "",
        "every_table": f"the {_MOST_TABLES} oldest tables"
        if board.has_large_source
        else "every table",
        **_rounding(board.sources),
        **_steps((warn, error)),
        **_chosen("project", board.starts_with[0]),
        **_chosen("target", board.starts_with[1]),
    }


def _chosen(variable: str, value: str) -> dict[str, list[str]]:
    """Return what a variable is set to at first."""
    return {f"{variable}_text": [value or "All"], f"{variable}_value": [value or "$__all"]}


def _panels(board: Board, template: Sequence[Model], words: Mapping[str, Any]) -> list[Model]:
    """Return the panels from top to bottom: tables that matter most, all sources, each source."""
    by_id = {panel["id"]: panel for panel in template}
    top = _tiles(board, by_id[_TILE], words)
    if top:
        top.append(
            _moved(_trend(board, by_id[_TREND], words), _bottom(top) - _top([by_id[_TREND]]))
        )
    else:
        top = [filled(by_id[number], words) for number in _OF_MANY]
    rest = [panel for panel in template if panel["id"] not in {_TILE, _TREND, *_OF_MANY}]
    if not board.exposures:
        rest = _without(rest, _OF_EXPOSURES)
    moved = [_moved(filled(panel, words), _bottom(top) - _top(rest)) for panel in rest]
    if board.has_large_source:
        moved = [_of_the_oldest(p) if p["id"] in _OF_TABLES else p for p in moved]
    return top + (_closed(moved) if board.has_many_sources else moved)


def _tiles(board: Board, template: Model, words: Mapping[str, Any]) -> list[Model]:
    """Return a tile per table, three or four side by side."""
    count = len(board.tiles)
    columns = count if 0 < count <= _TILES_IN_A_ROW + 1 else _TILES_IN_A_ROW
    width, height = GRID_COLUMNS // columns, template["gridPos"]["h"]
    made = []
    for index, source in enumerate(board.tiles):
        place = {"x": index % columns * width, "y": index // columns * height}
        tile = filled(template, {**words, **_tile_words(source, board)})
        number = index + 1 if index + 1 < _TREND else 100 + index
        grid = {**tile["gridPos"], **place, "w": width}
        made.append({**tile, "id": number, "gridPos": grid})
    return made


def _tile_words(source: Source, board: Board) -> dict[str, Any]:
    labels = _telling(source, board.sources)
    return {
        "table": ".".join(labels.values()),
        "matchers": ", ".join(f"{name}={_string(text)}" for name, text in labels.items()),
        "limits": _told(limits_of(source)),
        **_rounding([source]),
        **_steps(limits_of(source)),
    }


def _telling(source: Source, sources: Iterable[Source]) -> dict[str, str]:
    """Return the labels that tell a source from all others: as few as it takes."""
    same = [each for each in sources if each.name == source.name]
    labels = {"table": source.name}
    if len(same) > 1:
        labels = {"source": source.source_name, **labels}
    if len([each for each in same if each.source_name == source.source_name]) > 1:
        labels = {"package": source.package_name, **labels}
    return labels


def _trend(board: Board, template: Model, words: Mapping[str, Any]) -> Model:
    """Return the ages of the tables that have a tile, with the limits if they share them."""
    found = {limits_of(source) for source in board.tiles}
    shared = found.pop() if len(found) == 1 else (None, None)
    tables = dict.fromkeys(source.name for source in board.tiles)
    which = "ML training reads" if board.ml else "shown above"
    count = len(board.tiles)
    number = _NUMBERS[count] if count < len(_NUMBERS) else f"{count} "
    own = {
        "matchers": f"table=~{_pattern(tables)}",
        "tables": f"the {number}table{'s' if count > 1 else ''} {which}",
        "limits": _lines(shared),
        "lines": "off" if shared == (None, None) else "dashed",
        "ceiling": _ceiling(shared),
        **_steps(shared),
    }
    filled_in: Model = filled(template, {**words, **own})
    return filled_in


def _string(text: str) -> str:
    """Return a text as a string of PromQL in which Grafana sees no variable."""
    return quoted(text).replace("$", "\\x24")


def _pattern(names: Iterable[str]) -> str:
    """Return a pattern, as a string of PromQL, that matches these names and no others."""
    return quoted("|".join(map(escaped, names)).replace("\\$", "\\x24"))


def _steps(limits: Limits) -> dict[str, Any]:
    """Return limits in hours, as a panel's thresholds have them."""
    return {
        name: ABSENT if limit is None else _number(limit / _HOUR)
        for name, limit in zip(("warn", "error"), limits, strict=True)
    }


def _number(value: float) -> float:
    rounded = round(value, 4)
    return int(rounded) if rounded.is_integer() else rounded


def _hours(limit: float) -> str:
    return f"{_number(limit / _HOUR):.15g}"


def _told(limits: Limits) -> str:
    """Return what the colours of a tile mean."""
    colours = [("yellow", limits[0]), ("red", limits[1])]
    steps = [
        (colour, f"{_number(limit / _HOUR):g}") for colour, limit in colours if limit is not None
    ]
    if not steps:
        return "Green: a row is known."
    parts = [f"Green below {steps[0][1]} hours"]
    parts += [f"{steps[0][0]} below {steps[1][1]}"] if len(steps) > 1 else []
    return ", ".join([*parts, f"{steps[-1][0]} from there on."])


def _lines(limits: Limits) -> str:
    hours = [_hours(limit) for limit in limits if limit is not None]
    if not hours:
        return ""
    if len(hours) == 1:
        return f" The dashed line is the limit of {hours[0]} hours."
    return f" The dashed lines are the limits of {' and '.join(hours)} hours."


def _ceiling(limits: Limits) -> float | None:
    """Return up to where a chart's axis must reach in hours, so that its lines are seen."""
    found = [limit for limit in limits if limit is not None]
    return _number(max(found) * _ABOVE_A_LINE / _HOUR) if found else None


def _rounding(sources: Iterable[Source]) -> dict[str, float]:
    """Return into how many parts of an hour ages are rounded down, and what depends on that.

    Every limit is then a whole number of parts, so that no age is on the wrong side of it. Above
    ``just_now`` an age is no longer less than none.
    """
    limits = [limit for source in sources for limit in limits_of(source) if limit is not None]
    if all((limit * _TENTHS / _HOUR).is_integer() for limit in limits):
        return {"parts": _TENTHS, "decimals": 1, "just_now": -0.5 / _TENTHS}
    return {"parts": _MINUTES, "decimals": 2, "just_now": round(-0.5 / _MINUTES, 4)}


def _of_the_oldest(panel: Model) -> Model:
    """Return a panel that shows the highest values only, the highest first."""

    def highest(target: Model) -> str:
        found = f"topk by (project, target) ({_MOST_TABLES},\n  {target['expr']}\n)"
        return f"sort_desc({found})" if target["instant"] else found

    targets = [{**target, "expr": highest(target)} for target in panel["targets"]]
    return {**panel, "targets": targets}


def _closed(panels: Sequence[Model]) -> list[Model]:
    """Return the panels with the sources' row closed, and what is below it folded into it."""
    (row,) = [panel for panel in panels if panel["id"] == _SOURCE_ROW]
    inside = [panel for panel in panels if panel["gridPos"]["y"] > row["gridPos"]["y"]]
    kept = [panel for panel in panels if panel not in inside and panel is not row]
    return [*kept, {**row, "collapsed": True, "panels": inside}]


def _without(panels: Sequence[Model], ids: Collection[int]) -> list[Model]:
    """Return the panels without these, and those below moved up into their place."""
    gone = [panel for panel in panels if panel["id"] in ids]
    height = _bottom(gone) - _top(gone)
    kept = [panel for panel in panels if panel["id"] not in ids]
    return [_moved(p, -height if p["gridPos"]["y"] >= _bottom(gone) else 0) for p in kept]


def _moved(panel: Model, down: int) -> Model:
    grid = panel["gridPos"]
    return {**panel, "gridPos": {**grid, "y": grid["y"] + down}}


def _top(panels: Iterable[Model]) -> int:
    return min(int(panel["gridPos"]["y"]) for panel in panels)


def _bottom(panels: Iterable[Model]) -> int:
    return max(int(panel["gridPos"]["y"] + panel["gridPos"]["h"]) for panel in panels)
