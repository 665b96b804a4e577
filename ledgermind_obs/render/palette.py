"""The colours of the states outside a terminal."""

from __future__ import annotations

from typing import NamedTuple


class Paint(NamedTuple):
    """A colour of a terminal as others have it: on a page, in a chat, in Grafana."""

    hex: str
    sign: str
    grafana: str


# By the name that a terminal has for the colour; what is no state at all is grey.
PALETTE = {
    "green": Paint("#2e7d32", "🟢", "green"),
    "yellow": Paint("#f9a825", "🟡", "yellow"),
    "magenta": Paint("#c62828", "🔴", "purple"),
    "red": Paint("#c62828", "🔴", "red"),
    "grey": Paint("#757575", "⚪", "text"),
}
