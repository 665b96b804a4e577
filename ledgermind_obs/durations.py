"""Ages and limits as people write and read them: ``5d`` in, ``2 d 10 h`` out."""

from __future__ import annotations

import re

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

_TERM = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_MINUTE, _HOUR, _DAY = SECONDS["m"], SECONDS["h"], SECONDS["d"]


def parse_age(text: str) -> float:
    """Return the seconds that ``5d``, ``1h30m`` or ``90s`` stand for (Prometheus' notation).

    Raises ValueError where the text is not such a duration.
    """
    compact = text.strip().lower()
    if not re.fullmatch(rf"(?:{_TERM.pattern}\s*)+", compact):
        raise ValueError(f"{text!r} is not a duration such as 90s, 45m, 12h, 5d or 1d12h")
    return sum(float(count) * SECONDS[unit] for count, unit in _TERM.findall(compact))


def format_age(seconds: float) -> str:
    """Return seconds in the two largest units that matter: ``45 s``, ``12 min``, ``2 d 10 h``."""
    if seconds < 0:
        return f"-{format_age(-seconds)}"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < _DAY:
        return _pair(seconds, _HOUR, "h", _MINUTE, "min")
    return _pair(seconds, _DAY, "d", _HOUR, "h")


def _pair(seconds: float, large: int, large_name: str, small: int, small_name: str) -> str:
    whole, rest = divmod(int(seconds), large)
    minor = rest // small
    return f"{whole} {large_name} {minor} {small_name}" if minor else f"{whole} {large_name}"
