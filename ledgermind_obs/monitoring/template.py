"""A template of JSON: ``@name@`` in a text stands for a word; as the whole text, for any value.

An entry of a list is left out if it, or a value in it, is ABSENT.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_PLACE = re.compile(r"@([a-z_]+)@")


class _Absent:
    """What stands in the place of a value that there is not."""


ABSENT = _Absent()


def filled(value: Any, words: Mapping[str, Any]) -> Any:
    """Return the value with every place filled in; raises KeyError for one that has no word."""
    if isinstance(value, dict):
        return {key: filled(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        made = [filled(inner, words) for inner in value]
        return [inner for inner in made if not _is_absent(inner)]
    if not isinstance(value, str):
        return value
    if whole := _PLACE.fullmatch(value):
        return words[whole[1]]
    return _PLACE.sub(lambda found: str(words[found[1]]), value)


def _is_absent(value: Any) -> bool:
    return value is ABSENT or (isinstance(value, dict) and ABSENT in value.values())
