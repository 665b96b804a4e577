"""Where a project's YAML lets the moment of parsing decide what a source is.

dbt renders YAML when it parses, and partial parsing keeps what came of it until the file changes:
a limit that is written as ``{{ modules.datetime… }}`` stays that of the day it was parsed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from ledgermind_obs.dbt import yaml_files

# What differs from one parse to the next in dbt's context for YAML. A var() or env_var() is not
# rendered a second time, and a change of either makes dbt parse anew.
_CHANGING = (
    rb"modules(?!\s*\.\s*(?:re|itertools)\b)|run_started_at|invocation_id|thread_id"
    rb"|invocation_args_dict|random|lipsum"
)
_CLOCK_BYTES = re.compile(rb"\b(?:" + _CHANGING + rb")\b")
_CLOCK = re.compile(_CLOCK_BYTES.pattern.decode())
_JINJA = re.compile(r"\{[{%]")
# Nothing of what a source is and when it is stale.
_SAYS_NOTHING = frozenset({"columns", "data_tests", "description", "docs", "meta", "tests"})


def clock_lines(content: bytes) -> tuple[int, ...]:
    """Return the lines, from 1, of what a YAML file's ``sources`` take from the time of parsing.

    Without Jinja of that kind, and for what is no YAML, there are none.
    """
    if b"sources" not in content or not _CLOCK_BYTES.search(content):
        return ()
    try:
        root = yaml_files.compose(content)
    except yaml_files.FaultyYamlError:
        return ()
    return tuple(sorted({line for node in _sources(root) for line in _lines(node)}))


def _sources(root: yaml.Node | None) -> Iterator[yaml.Node]:
    if isinstance(root, yaml.MappingNode):
        yield from (value for key, value in root.value if key.value == "sources")


def _lines(top: yaml.Node) -> Iterator[int]:
    pending, seen = [top], {id(top)}
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.ScalarNode):
            if _JINJA.search(node.value) and _CLOCK.search(node.value):
                yield yaml_files.line_of(node)
            continue
        for part in _parts(node):
            if id(part) not in seen:
                seen.add(id(part))
                pending.append(part)


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        yield from (value for key, value in node.value if key.value not in _SAYS_NOTHING)
