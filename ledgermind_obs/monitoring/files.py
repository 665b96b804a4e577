"""What stands around a project on disk: alert rules, dashboards, the last run, line numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from ledgermind_obs.dbt.manifest import Exposure, Source
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.freshness import Artifact, FreshnessReport, read_artifact, report_of_artifact
from ledgermind_obs.lineage.findings import Finding
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.lineage.upstream import Upstream
from ledgermind_obs.monitoring.promql import Selector

RULES = Path("prometheus/rules")
DASHBOARDS = Path("ops/grafana/dashboards")


def rule_selectors(given: Path | None) -> list[Selector] | None:
    """Return what the alert rules select; None where there are none and none were named.

    Raises ConfigurationError where a file cannot be read.
    """
    files = _contents(given, RULES, (".yml", ".yaml"))
    if files is None:
        return None
    from ledgermind_obs.monitoring.coverage import covered_by_rules
    from ledgermind_obs.monitoring.rules import read_rules

    return covered_by_rules(
        rule for path, content in files for rule in read_rules(content, str(path))
    )


def dashboard_selectors(given: Path | None) -> list[Selector] | None:
    """Return what the dashboards select; None where there are none and none were named.

    Raises ConfigurationError where a file cannot be read.
    """
    files = _contents(given, DASHBOARDS, (".json",))
    if files is None:
        return None
    from ledgermind_obs.monitoring.coverage import covered_by_dashboard

    documents = (_decoded(path, content) for path, content in files)
    return [selector for document in documents for selector in covered_by_dashboard(document)]


def _contents(
    given: Path | None, default: Path, suffixes: tuple[str, ...]
) -> list[tuple[Path, bytes]] | None:
    if given is None and not default.is_dir():
        return None
    try:
        return [(path, path.read_bytes()) for path in _files(given or default, suffixes)]
    except OSError as error:
        raise ConfigurationError(f"cannot read {error.filename}: {error.strerror}") from error


def _decoded(path: Path, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from error


def _files(place: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    if place.is_dir():
        yield from (path for path in sorted(place.iterdir()) if path.name.endswith(suffixes))
    else:
        yield place


def last_artifact(given: Path | None, target_path: Path | None) -> tuple[Path, Artifact] | None:
    """Return the newest freshness artifact of the project, or the one that was named.

    Raises ConfigurationError where that cannot be read, ArtifactError where it cannot be used.
    """
    names = (
        [target_path / "obs" / "sources.json", target_path / "sources.json"] if target_path else []
    )
    existing = [path for path in names if path.is_file()]
    path = given or max(existing, key=lambda path: path.stat().st_mtime, default=None)
    if path is None:
        return None
    return path, open_artifact(path)


def open_artifact(path: Path) -> Artifact:
    """Return the freshness artifact at ``path``.

    Raises ConfigurationError where it cannot be read, ArtifactError where it cannot be used.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {path}: {error.strerror}", "write it with: dbt source freshness"
        ) from error
    return read_artifact(content, str(path))


def last_run(given: Path | None, target_path: Path | None) -> frozenset[str] | None:
    """Return the ids of the sources that the last freshness run holds; None without a run."""
    found = last_artifact(given, target_path)
    return frozenset(result.unique_id for result in found[1].results) if found else None


def last_report(
    given: Path | None, target_path: Path | None, upstream: Upstream
) -> FreshnessReport:
    """Return what the last freshness run says of the sources above an exposure.

    Raises ConfigurationError where there was no run, ArtifactError where it cannot be used.
    """
    found = last_artifact(given, target_path)
    if found is None:
        raise ConfigurationError(
            "there is no sources.json of this project",
            "measure first: obs freshness check, or name one with --artifact",
        )
    path, artifact = found
    manifest = upstream.lineage.manifest
    return report_of_artifact(artifact, manifest, upstream.measured, target="", name=str(path))


def located(finding: Finding, lineage: Lineage, project_dir: Path | None) -> Finding:
    """Return the finding with its file as seen from here, and the line that declares its node."""
    if not finding.file or project_dir is None:
        return finding
    path = _path(finding, lineage, project_dir)
    shown = os.path.relpath(path)
    return msgspec.structs.replace(finding, file=shown, line=_line(finding, lineage, path))


def _path(finding: Finding, lineage: Lineage, project_dir: Path) -> Path:
    """Return the file; an installed package's are below ``dbt_packages``."""
    node = lineage.nodes[finding.node]
    installed = project_dir / "dbt_packages" / (node.package_name or "") / finding.file
    own = project_dir / finding.file
    return installed if not own.exists() and installed.exists() else own


def _line(finding: Finding, lineage: Lineage, path: Path) -> int:
    from ledgermind_obs.lineage.locations import line_of

    node = lineage.nodes[finding.node]
    if path.suffix not in {".yml", ".yaml"} or not path.is_file():
        return 0
    text = path.read_text(errors="replace")
    if isinstance(node, Source):
        return line_of(text, "sources", [node.source_name, node.name])
    return line_of(text, "exposures", [node.name]) if isinstance(node, Exposure) else 0
