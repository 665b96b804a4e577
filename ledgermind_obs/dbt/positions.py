"""At which line of a YAML file of dbt a source or an exposure, or a key of it, is declared."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import yaml

from ledgermind_obs.dbt import yaml_files


def line_of(text: str, resource: str, names: Sequence[str]) -> int:
    """Return the line, from 1, that declares a resource; 0 if the text does not tell.

    ``resource`` is dbt's key, such as ``sources``; ``names`` the names on the way to it, such as
    source and table.
    """
    found = _declared(text, resource, names)
    return yaml_files.line_of(found[-1]) if len(found) == len(names) and found else 0


def line_of_key(text: str, resource: str, names: Sequence[str], ways: Iterable[list[str]]) -> int:
    """Return the line of a value below a resource; that of the resource if no way leads there.

    Each of the ``ways`` is the keys from the resource to the value. What a source says for all its
    tables counts for each of them.
    """
    for scope in reversed(_declared(text, resource, names)):
        for way in ways:
            found: yaml.Node | None = scope
            for key in way:
                found = yaml_files.value_of(found, key)
            if found is not None:
                return yaml_files.line_of(found)
    return line_of(text, resource, names)


def _declared(text: str, resource: str, names: Sequence[str]) -> list[yaml.Node]:
    """Return the nodes on the way to a resource, as far as they are there."""
    way, scope, key = list[yaml.Node](), _composed(text), resource
    for name in names:
        found = [item for item in yaml_files.items_of(scope, key) if _name(item) == name]
        if not found:
            break
        scope, key = found[0], "tables"
        way.append(found[0])
    return way


@functools.lru_cache(maxsize=8)
def _composed(text: str) -> yaml.Node | None:
    """Return a document's nodes; many findings are about one file."""
    try:
        return yaml_files.compose(text)
    except yaml_files.FaultyYamlError:
        return None


def _name(node: yaml.Node) -> str | None:
    return yaml_files.text_of(yaml_files.value_of(node, "name"))
