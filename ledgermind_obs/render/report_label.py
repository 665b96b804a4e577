"""What stands beside a node in a drawing: its name, its state or kind, and of when its data is."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import msgspec

from ledgermind_obs.lineage.subgraph import UNKNOWN, GraphNode
from ledgermind_obs.render.digest import NodeFacts, moment_in_words
from ledgermind_obs.render.report import age_of
from ledgermind_obs.render.report_style import glyph_of, tone_of

_LONGEST_NAME = 34
# What fits beside the lines on a phone, in characters of name and facts together.
_LONGEST_LINE = 32
# Upper bounds in pixels, for a wide font: of a character of a name, and of one in small type.
_WIDE, _SMALL, _GAP = 8.2, 7.1, 8


class Label(msgspec.Struct, frozen=True):
    """A node's name, what stands beside it, and what stands below, each with how it looks."""

    name: str
    beside: tuple[str, str]
    below: tuple[tuple[str, str], ...]

    @property
    def lines(self) -> int:
        """How many lines it takes."""
        return 1 + len(self.below)

    @property
    def shown(self) -> str:
        """The name, shortened if it is very long."""
        name = self.name
        return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"

    @property
    def width(self) -> float:
        """How many pixels it takes at most."""
        first = len(self.shown) * _WIDE + _GAP + len(self.beside[0]) * _SMALL
        return max([first, *(len(text) * _SMALL for text, _ in self.below)])

    def drawn(self, x: int, y: int, line: int) -> str:
        """Return it as SVG, its first line at ``y`` and the next ones ``line`` pixels below."""
        return "".join(self._parts(x, y, line))

    def _parts(self, x: int, y: int, line: int) -> Iterator[str]:
        beside, look = self.beside
        yield f'<text x="{x}" y="{y}"><title>{escape(self.name)}</title>'
        yield f'<tspan class="name">{escape(self.shown)}</tspan>'
        if beside:
            yield f'<tspan class="small {look} t" dx="{_GAP}">{escape(beside)}</tspan>'
        yield "</text>"
        for number, (text, its_look) in enumerate(self.below, 1):
            at = y + number * line
            yield f'<text class="small {its_look} t" x="{x}" y="{at}">{escape(text)}</text>'


def label_of(node: GraphNode, known: NodeFacts) -> Label:
    """Return what stands beside a node."""
    facts = _facts(node, known)
    fits = len(node.name) + len(facts[0]) <= _LONGEST_LINE
    below = [] if fits else [facts]
    if known.as_of:
        below.append((f"data as of {moment_in_words(known.as_of)}", "soft"))
    return Label(node.name, facts if fits else ("", ""), tuple(below))


def _facts(node: GraphNode, known: NodeFacts) -> tuple[str, str]:
    if known.fault:
        fault = known.fault if len(known.fault) <= _LONGEST_NAME else "test failed"
        return f"✕ {fault}", "bad"
    if node.kind == "source":
        age = f" {age_of(node.age_seconds)}" if node.age_seconds is not None else ""
        state = "not measured" if node.state in {"", UNKNOWN} else node.state.replace("_", " ")
        return f"{glyph_of(node.state)} {state}{age}", tone_of(node.state)
    return node.kind, "soft"
