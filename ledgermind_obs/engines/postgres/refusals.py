"""What only dbt can measure as dbt does, refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ledgermind_obs.dbt.manifest import LookupManifest, Source
from ledgermind_obs.engines.postgres.lookups import _THIS, _filter
from ledgermind_obs.errors import ConfigurationError

_JINJA = re.compile(r"\{[{%#]")


_DECIDING_MACROS = frozenset(
    f"{prefix}{name}"
    for prefix in ("", "default__", "postgres__")
    for name in (
        "collect_freshness",
        "collect_freshness_custom_sql",
        "current_timestamp",
        "statement",
    )
)


_ON_START = "on-run-start"


# The default of source_freshness_run_project_hooks is False up to dbt 1.9, True from 1.10 on
# (dbt/contracts/project.py).
_BEFORE_HOOKS = re.compile(r"1\.[0-9]\.")


_DBTS_OWN = frozenset({"dbt", "dbt_postgres"})


def check_manifest(manifest: LookupManifest, *, selected: bool) -> None:
    """Raise ConfigurationError where the project changes how, or what, dbt measures.

    A default selector counts unless something was ``selected`` by hand.
    """
    adapter = manifest.metadata.adapter_type
    if adapter != "postgres":
        raise _refusal(f"the manifest is of adapter {adapter or 'unknown'}")
    for macro in (manifest.macros or {}).values():
        if macro.name in _DECIDING_MACROS and macro.package_name not in _DBTS_OWN:
            place = f"{macro.package_name}'s {macro.original_file_path}"
            raise _refusal(f"macro {macro.name} is overridden in {place}")
    for name, selector in (manifest.selectors or {}).items():
        if selector.default and not selected:
            raise _refusal(f"selectors.yml has a default selector, {name}")


def check_selectors(settings: Mapping[str, Any]) -> None:
    """Raise ConfigurationError if ``selectors.yml`` has a default selector."""
    for selector in settings.get("selectors") or ():
        if isinstance(selector, Mapping) and selector.get("default"):
            raise _refusal(f"selectors.yml has a default selector, {selector.get('name')}")


def check_clock(places: Iterable[tuple[str, int]]) -> None:
    """Raise ConfigurationError if a source is what it is by the time at which dbt parses it.

    ``places`` are the files and lines that ask for that time.
    """
    for file, line in places:
        raise _refusal(f"{file} line {line} depends on when dbt parses it")


def check_hooks(manifest: LookupManifest, runs_hooks: bool | None) -> None:
    """Raise ConfigurationError where dbt would run a hook first, which may change what it measures.

    ``runs_hooks`` is what the project says of that; without a word it depends on dbt's version.
    """
    for package in hooks_that_run(manifest, runs_hooks):
        raise ConfigurationError(
            f"--engine postgres runs no hooks, and {package} has an on-run-start hook, which dbt "
            "would run before it measures",
            "use --engine dbt, or set source_freshness_run_project_hooks: false in the flags of "
            "dbt_project.yml",
        )


def hooks_that_run(manifest: LookupManifest, runs_hooks: bool | None) -> list[str]:
    """Return the package of each hook that dbt runs before it measures; see ``check_hooks``."""
    if runs_hooks is None:
        runs_hooks = not _BEFORE_HOOKS.match(manifest.metadata.dbt_version)
    return list(_starting_hooks(manifest)) if runs_hooks else []


def _starting_hooks(manifest: LookupManifest) -> Iterator[str]:
    """Yield the package of each hook that dbt may run before it measures."""
    for unique_id, node in (manifest.nodes or {}).items():
        if unique_id.startswith("operation.") and _ON_START in (node.tags or ()):
            yield node.package_name or "a package"


def check_sources(sources: Iterable[Source]) -> None:
    """Raise ConfigurationError that names the sources which only dbt can measure, and why."""
    reasons: dict[str, list[str]] = {}
    for source in sources:
        if reason := obstacle(source):
            reasons.setdefault(reason, []).append(source.label)
    for reason, names in reasons.items():
        others = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004
        raise _refusal(f"{reason}: {', '.join(names[:3])}{others}")


def obstacle(source: Source) -> str:
    """Return why the source cannot be asked exactly as dbt does, or an empty text."""
    query, field = source.loaded_at_query, source.loaded_at_field
    if query is None and field is None:
        return "freshness by the table's metadata"
    if not source.relation_name:
        return "no relation_name in the manifest"
    if query is not None and _JINJA.search(_THIS.sub("", query)):
        return "a loaded_at_query with more Jinja than {{ this }}"
    if any(";" in (text or "") for text in (query, field, _filter(source), source.relation_name)):
        return "a semicolon, which may begin a second statement"
    return ""


def _refusal(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"--engine postgres cannot measure as dbt does: {reason}", "use --engine dbt"
    )
