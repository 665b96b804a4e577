"""The documentation as a site, from the pages as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ledgermind_obs.monitoring.runbooks import anchors

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))


class Html(HTMLParser):
    """The ids of a page, and what it asks the network for when it is opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.fetched: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found["id"]} if "id" in found else set()
        address = found.get("src") or (found.get("href") if tag == "link" else "") or ""
        self.fetched |= {address} if re.match(r"(https?:)?//", address) else set()


def make_site(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "site", f"SITE={directory}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    with TemporaryDirectory(prefix="obs-test-") as directory:
        done = make_site(Path(directory))
        assert (done.returncode, done.stderr) == (0, "")
        yield Path(directory)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_an_anchor_that_works_on_github_works_on_the_site(site: Path, page: Path) -> None:
    html = Html((site / f"{page.stem}.html").read_text())
    spoken_of = {"…"}  # a page explains how to write an anchor
    assert anchors(page.read_text()) - spoken_of <= html.ids


def test_the_site_has_a_search_and_asks_no_other_host(site: Path) -> None:
    assert "freshness" in (site / "searchindex.js").read_text()
    for page in site.glob("*.html"):
        assert Html(page.read_text()).fetched == set(), page.name


def test_the_menu_has_every_page_in_the_order_of_the_index(site: Path) -> None:
    menu = (site / "index.html").read_text().partition('class="sidebar-tree"')[2]
    menu = menu.partition("<article")[0]
    index = (ROOT / "docs/index.md").read_text()
    wanted = re.findall(r"^- \[.+?\]\(([\w-]+)\.md\)", index, re.MULTILINE)
    assert re.findall(r'class="reference internal" href="([\w-]+)\.html"', menu) == wanted
    assert set(wanted) == {page.stem for page in PAGES} - {"index"}


DEAD = ["[a](gone-page.md)", "[b](alerting.md#gone-section)", "[c](#gone-here)", "![d](gone.png)"]


def test_dead_links_fail_the_site_and_each_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with (tmp_path / "docs/secrets.md").open("a") as secrets:
        secrets.write("\n".join(["", *DEAD, ""]))
    done = make_site(tmp_path / "site", f"PAGES={tmp_path / 'docs'}")
    assert done.returncode != 0
    for gone in ("gone-page", "gone-section", "gone-here", "gone.png"):
        assert re.search(rf"secrets\.md.*{gone}", done.stderr)
