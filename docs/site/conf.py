"""The documentation as a site: `make site`.

The pages are those that GitHub shows; their order is that of the links in index.md. Anchors that
work on GitHub work here, since MyST gives each heading the id that GitHub gives to it.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

from ledgermind_obs import __version__

REPOSITORY = "https://github.com/leok974/ai-finance-agent-oss/blob/main/"

project = "obs"
author = "LedgerMind"
version = release = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["site"]

myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 4
myst_heading_anchors_html_ids = True

html_theme = "furo"
html_title = f"obs {version}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

_PAGE = re.compile(r"^- \[.+?\]\((\w[\w-]*)\.md\)", re.MULTILINE)
_SECTION = re.compile(r"^## (.+)\n", re.MULTILINE)


def setup(app: Sphinx) -> None:
    """Let the pages of GitHub become those of the site."""
    app.connect("source-read", _adapt)


def _adapt(_: Sphinx, name: str, content: list[str]) -> None:
    """Send links to files outside of docs/ to GitHub, and make the menu of index.md's links."""
    content[0] = content[0].replace("](../", f"]({REPOSITORY}")
    if name == "index":
        content[0] += _menu(content[0])


def _menu(index: str) -> str:
    """Return a table of contents for each section of the index."""
    _, *parts = _SECTION.split(index)
    sections = zip(parts[::2], parts[1::2], strict=True)
    return "".join(_toctree(title, _PAGE.findall(text)) for title, text in sections)


def _toctree(title: str, pages: list[str]) -> str:
    lines = ["```{toctree}", ":hidden:", f":caption: {title}", "", *pages, "```"]
    return "\n".join(["", *lines, ""])
