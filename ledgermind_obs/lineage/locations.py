"""Where in a YAML file of dbt a source or an exposure is declared."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from ledgermind_obs.dbt.manifest import Exposure, Source
from ledgermind_obs.dbt.positions import line_of
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.monitoring.findings import Finding


def located(finding: Finding, lineage: Lineage, project_dir: Path | None) -> Finding:
    """Return the finding with its file as seen from here, and the line that declares its node."""
    if not finding.file or finding.line or project_dir is None:
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
    node = lineage.nodes[finding.node]
    if path.suffix not in {".yml", ".yaml"} or not path.is_file():
        return 0
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return 0
    if isinstance(node, Source):
        return line_of(text, "sources", [node.source_name, node.name])
    return line_of(text, "exposures", [node.name]) if isinstance(node, Exposure) else 0
