"""Numbers of things, as people say them."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return the number with the word for one or for several, ``many`` or ``one`` with an s."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
