"""Where in a YAML file of dbt a source or an exposure is declared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

from ledgermind_obs.dbt import yaml_files


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
