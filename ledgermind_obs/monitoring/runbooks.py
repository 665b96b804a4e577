"""Whether the section that an alert links to is in the runbook."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import msgspec

from ledgermind_obs.errors import nearest

_FENCE = re.compile(r" {0,3}(```|~~~)")
_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(.*)")
_EXPLICIT = re.compile(r"""<a\s+(?:id|name)=["']([^"'<>]+)["']""")


class Page(msgspec.Struct, frozen=True):
    """A page's anchors, or why it cannot be read."""

    anchors: frozenset[str] = frozenset()
    fault: str = ""


class Link(msgspec.Struct, frozen=True):
    """What a ``runbook_url`` leads to: a page's file name, and a section in it."""

    url: str
    page: str = ""
    anchor: str = ""

    @property
    def is_markdown(self) -> bool:
        """Whether the page is one whose sections can be read in a file."""
        return self.page.lower().endswith((".md", ".markdown"))


def link_of(url: str) -> Link:
    """Return what a ``runbook_url`` leads to; the page is empty if the URL names none."""
    address, _, anchor = url.partition("#")
    return Link(url, address.partition("?")[0].rpartition("/")[2], anchor)


def read_page(content: bytes) -> Page:
    """Return the page with the anchors that GitHub gives to its headings."""
    try:
        return Page(anchors(content.decode("utf-8-sig")))
    except UnicodeDecodeError:
        return Page(fault="it is not UTF-8")


def anchors(page: str) -> frozenset[str]:
    """Return the anchors that GitHub gives to a Markdown page's headings, and explicit ones."""
    seen: Counter[str] = Counter()
    found = set(_EXPLICIT.findall(page))
    for heading in _headings(page):
        words = re.sub(r"<[^<>]*>", "", heading).strip().rstrip("#").strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return frozenset(found)


def _headings(page: str) -> Iterator[str]:
    fence = ""
    for line in page.splitlines():
        if opened := _FENCE.match(line):
            fence = {"": opened[1], opened[1]: ""}.get(fence, fence)
        elif not fence and (heading := _HEADING.fullmatch(line)):
            yield heading[1]


def missing_section(link: Link, page: Page) -> tuple[str, str] | None:
    """Return what is wrong with a link's section and what to do; None if it is in the page."""
    if link.anchor in page.anchors:
        return None
    if not link.anchor:
        return f"links to {link.page} and to no section of it", "add #section to the link"
    message = f"links to {link.page}#{link.anchor}, and the page has no such section"
    return message, nearest(link.anchor, page.anchors)
