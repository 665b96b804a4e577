"""The alert rules, runbooks and dashboards on disk."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.dashboard import MAX_BYTES, Model, read_model
from ledgermind_obs.monitoring.promql import Selector
from ledgermind_obs.monitoring.runbooks import Page, read_page

RULES = Path("prometheus/rules")
DASHBOARDS = Path("ops/grafana/dashboards")
RUNBOOKS = Path("docs")
# What every project's dashboard is made from.
_TEMPLATE = Path(__file__).parent / "shipped" / "dashboard.json"


def rule_files(given: Iterable[Path]) -> list[Path]:
    """Return the rule files that are named, or lie in the directories that are named.

    Raises ConfigurationError if there is none.
    """
    places = list(given)
    found = dict.fromkeys(path for place in places for path in _rules_in(place))
    if not found:
        raise ConfigurationError(
            f"no rule file in {_listed(places)}", "name the files, or their directory"
        )
    return list(found)


def dashboard_files(given: Iterable[Path]) -> list[Path]:
    """Return the dashboards that are named, or lie anywhere below the directories that are named.

    Raises ConfigurationError if there is none.
    """
    places = list(given)
    found = dict.fromkeys(path for place in places for path in _dashboards_in(place))
    if not found:
        raise ConfigurationError(
            f"no .json file in {_listed(places)}", "name the files, or their directory"
        )
    return list(found)


def shipped_template() -> Model:
    """Return the template of a dashboard that comes with obs."""
    template: Model = json.loads(_TEMPLATE.read_bytes())
    return template


def read_file(path: Path) -> bytes:
    """Return what a regular file holds.

    Raises ConfigurationError if it is none, cannot be read, or is larger than MAX_BYTES.
    """
    try:
        if path.is_symlink() and not path.exists():
            raise ConfigurationError(
                f"cannot read {path}: it is a link to a file that does not exist", "remove the link"
            )
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a directory" if path.is_dir() else "not a regular file"
            raise ConfigurationError(f"cannot read {path}: it is {kind}", "name another file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    return not_too_large(content, str(path))


def not_too_large(content: bytes, name: str) -> bytes:
    """Return the content; raises ConfigurationError if it is larger than MAX_BYTES."""
    if len(content) > MAX_BYTES:
        raise ConfigurationError(
            f"{name} is larger than {MAX_BYTES // 1_000_000} MB", "is it the right file?"
        )
    return content


def runbook_pages(folder: Path, wanted: Iterable[str]) -> dict[str, Page]:
    """Return those of the wanted pages that the folder has, also the ones that cannot be read."""
    found: dict[str, Page] = {}
    for name in sorted(set(wanted)):
        path = folder / name
        if os.path.lexists(path):
            found[name] = _page(path)
    return found


def _page(path: Path) -> Page:
    try:
        return read_page(read_file(path))
    except ConfigurationError as error:
        return Page(fault=str(error))


def rule_selectors(given: Path | None) -> list[Selector] | None:
    """Return what the alert rules select; None if there are none and none were named.

    Raises ConfigurationError if a file cannot be read.
    """
    if given is None and not RULES.is_dir():
        return None
    from ledgermind_obs.monitoring.coverage import covered_by_rules
    from ledgermind_obs.monitoring.rules import read_rules

    return covered_by_rules(
        rule
        for path in _rules_in(given or RULES)
        for rule in read_rules(read_file(path), str(path))
    )


def dashboard_selectors(given: Path | None) -> list[Selector] | None:
    """Return what the dashboards select; None if there are none and none were named.

    Raises ConfigurationError if a file cannot be read.
    """
    if given is None and not DASHBOARDS.is_dir():
        return None
    from ledgermind_obs.monitoring.coverage import covered_by_dashboard

    models = (read_model(read_file(p), str(p)) for p in _dashboards_in(given or DASHBOARDS))
    return [selector for model in models for selector in covered_by_dashboard(model)]


def _rules_in(place: Path) -> list[Path]:
    """Return a file itself, or the rule files that Prometheus would find in a directory."""
    if not os.path.isdir(place):
        return [place]
    return sorted(p for p in _entries(place) if p.suffix in {".yml", ".yaml"} and not p.is_dir())


def _dashboards_in(place: Path) -> Iterator[Path]:
    """Yield a file itself, or every dashboard below a directory; hidden directories are left out.

    A volume of Kubernetes keeps each file a second time in a hidden directory.
    """
    if not os.path.isdir(place):
        yield place
        return
    for path in sorted(_entries(place)):
        if path.is_dir():
            hidden_or_link = path.name.startswith(".") or path.is_symlink()
            yield from () if hidden_or_link else _dashboards_in(path)
        elif path.suffix == ".json":
            yield path


def _entries(place: Path) -> list[Path]:
    try:
        return list(place.iterdir())
    except OSError as error:
        raise ConfigurationError(f"cannot read {place}: {error.strerror}") from error


def _listed(places: Iterable[Path]) -> str:
    return ", ".join(map(str, places))
