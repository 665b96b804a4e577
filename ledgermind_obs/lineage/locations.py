"""Where in a YAML file of dbt a source or an exposure is declared."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import yaml

from ledgermind_obs.dbt import yaml_files
from ledgermind_obs.dbt.manifest import Exposure, Source
from ledgermind_obs.lineage.findings import Finding
from ledgermind_obs.lineage.graph import Lineage


def line_of(text: str, resource: str, names: Sequence[str]) -> int:
    """Return the line, from 1, that declares a resource; 0 where the text does not tell.

    ``resource`` is dbt's key, such as ``sources``; ``names`` the names on the way to it, such as
    source and table.
    """
    try:
        root = yaml_files.compose(text)
    except yaml.YAMLError:
        return 0
    line, scope, key = 0, root, resource
    for name in names:
        found = [item for item in _items(scope, key) if _scalar(item, "name") == name]
        if not found:
            return 0
        scope, key = found[0], "tables"
        line = scope.start_mark.line + 1
    return line


def _items(node: yaml.Node | None, key: str) -> Iterator[yaml.Node]:
    value = _value(node, key)
    if isinstance(value, yaml.SequenceNode):
        yield from value.value


def _scalar(node: yaml.Node, key: str) -> str:
    value = _value(node, key)
    return str(value.value) if isinstance(value, yaml.ScalarNode) else ""


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


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
