"""The HTML report as a browser shows it: on a phone and a desk, in the light and in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ledgermind_obs.freshness import State
from ledgermind_obs.render.digest import Digest, NodeFacts
from ledgermind_obs.render.report_html import as_html, as_mail_html
from tests.browser.chromium import BrowserError, Page, browser, find_chromium
from tests.unit.digests import TRAINING_VIEW, digest, digest_of_sources
from tests.unit.reports import DAY, HOUR, NOW, source, unmeasured

WIDTHS = (390, 800, 1280)
LONG_NAME = "events_of_the_mobile_application_by_device_and_version_2026_backfill"

# The contrast of each text with what is behind it, as WCAG computes it; the lowest comes first.
CONTRASTS = """
(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
      if (colour[3] > 0) throw new Error("a text on glass: " + e.className);
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("main *")) {
    const texts = [...element.childNodes].filter(n => n.nodeType === 3 && n.textContent.trim());
    if (!texts.length || element.closest("title")) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement;
    const [a, b] = [light(rgb(drawn ? style.fill : style.color)), light(behind(element))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), texts[0].textContent.trim()]);
  }
  return found.sort((a, b) => a[0] - b[0]).slice(0, 3);
})()
"""
# What sticks out of the page, and what is too small to read.
OUTSIDE = """
[...document.querySelectorAll("main *")]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.outerHTML.slice(0, 80))
"""
SMALLEST = """
Math.min(...[...document.querySelectorAll("main *")]
  .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()))
  .filter(e => e.getClientRects().length && !e.closest("title"))
  .map(e => parseFloat(getComputedStyle(e).fontSize) * (
     e.closest("svg") ? e.closest("svg").getBoundingClientRect().width /
                        e.closest("svg").viewBox.baseVal.width : 1)))
"""
# Texts that stick out of their drawing.
CUT = """
[...document.querySelectorAll("svg text")]
  .filter(t => t.getBBox().x + t.getBBox().width > t.closest("svg").viewBox.baseVal.width)
  .map(t => t.textContent)
"""
NARROWEST_BAR = """
Math.min(...[...document.querySelectorAll(".bar")].map(b => b.getBoundingClientRect().width))
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    try:
        find_chromium()
    except BrowserError as error:
        pytest.fail(str(error), pytrace=False)
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


def usual(number: int) -> Digest:
    nodes = {TRAINING_VIEW: NodeFacts("build failed", NOW - timedelta(days=2))}
    return digest(number, past=True, nodes=nodes)


def odd() -> Digest:
    """Return a report of everything that can be: every state, long names, long messages."""
    message = f'column "{LONG_NAME}" of relation "{LONG_NAME}" does not exist ' * 4
    return digest_of_sources(
        source(LONG_NAME, age=0.0),
        source("slightly_ahead", age=-60.0),
        source("no_limit", warn_after_seconds=None, error_after_seconds=None),
        source("only_error", warn_after_seconds=None),
        source("only_warn", State.WARN, 9 * DAY, error_after_seconds=None),
        source("ancient", State.ERROR, 5000 * DAY),
        source("ahead", State.FUTURE, -9 * HOUR),
        source("empty", State.EMPTY, None),
        source(f"{LONG_NAME}_too", State.QUERY_ERROR, None, message=message),
        unmeasured("missing", State.MISSING),
    )


CASES: dict[str, Callable[[], str]] = {
    "3": lambda: as_html(usual(3)),
    "40": lambda: as_html(usual(40)),
    "1000": lambda: as_html(usual(1000)),
    "odd": lambda: as_html(odd()),
    "mail": lambda: as_mail_html(usual(1000)),
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("case", CASES)
def test_a_page_is_readable_at_every_width_in_light_and_dark(
    page: Page, tmp_path: Path, case: str, width: int, dark: bool
) -> None:
    file = tmp_path / "report.html"
    file.write_text(CASES[case]())
    page.requests.clear()
    page.open(file.as_uri(), width, dark=dark)
    unfold(page)
    page.screenshot(tmp_path / f"{case}_{width}_{'dark' if dark else 'light'}.png")

    assert page.complaints == []
    assert set(page.requests) == {file.as_uri()}
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(CUT) == []
    assert page.evaluate(NARROWEST_BAR) >= 60
    lowest: list[Any] = page.evaluate(CONTRASTS)
    assert lowest[0][0] >= 4.5, lowest
    assert page.evaluate(SMALLEST) >= 10.5
    dark_ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark_ground == "rgb(18, 22, 27)") is dark


def unfold(page: Page) -> None:
    """Open what is folded, and wait until it is laid out."""
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.evaluate("document.body.getBoundingClientRect().height") > 0


@pytest.mark.parametrize("number", [3, 7, 1000])
def test_a_report_prints_on_one_page(page: Page, tmp_path: Path, number: int) -> None:
    file = tmp_path / "report.html"
    file.write_text(as_html(usual(number)))
    page.open(file.as_uri(), 1280, dark=True)

    assert pages_of(page.printed()) == 1


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_a_screen_reader_is_told_the_tables_and_the_drawings(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(as_html(usual(7)))
    page.open(file.as_uri(), 390, dark=False)
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    told = {
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"]
    }

    assert ("heading", "2 of 7 sources need somebody, and 1 model failed") in told
    headers = {"".join(name.split()) for role, name in told if role == "rowheader"}
    assert "app.transactions" in headers, headers
    assert ("columnheader", "Limits") in told
    roles = [role for role, _ in told]
    assert roles.count("table") == 2
    drawings = [name for role, name in told if role in {"img", "image"}]
    assert any(name.startswith("Lineage of ml_training_pipeline.") for name in drawings)
    assert any(name.startswith("Days: 1 ") or "within its limit" in name for name in drawings)
    assert ("link", "Runbook for app.ml_features") in told
