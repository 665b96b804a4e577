"""The colours of the states outside a terminal."""

from __future__ import annotations

# By the name that a terminal has for the colour; what is no state at all is grey.
HEX = {
    "green": "#2e7d32",
    "yellow": "#f9a825",
    "magenta": "#c62828",
    "red": "#c62828",
    "grey": "#757575",
}
SIGNS = {"green": "🟢", "yellow": "🟡", "magenta": "🔴", "red": "🔴"}
