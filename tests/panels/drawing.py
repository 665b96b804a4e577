"""Grafana's own code in a headless Chromium: fetched, bundled, and asked to draw panels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.binaries import TOOLS
from tests.browser.chromium import Page, browser

HERE = Path(__file__).parent
BUNDLE = TOOLS / "panels"
PACKAGE = ("package.json", "package-lock.json", ".npmrc")
WIDTH = 1600

Json = dict[str, Any]


class DrawingError(Exception):
    """Grafana's code could not be fetched, bundled or run; the message says what to do."""


@contextmanager
def artist(profile: Path) -> Iterator[Artist]:
    """Run a browser that draws panels; it ends with the block."""
    _fetch()
    _bundle()
    with browser(profile) as page:
        yield Artist(page)


class Artist:
    """Draws a board of panels and says what can be read on it."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.open((BUNDLE / "page.html").as_uri(), WIDTH, dark=False)

    def draw(self, board: Json, picture: Path) -> list[Json]:
        """Draw a board, write its picture, and return what each of its panels says."""
        size = {"width": board["width"], "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._page.call("Emulation.setDeviceMetricsOverride", **size)
        found = self._page.call(
            "Runtime.evaluate",
            expression=f"draw({json.dumps(board)})",
            awaitPromise=True,
            returnByValue=True,
        )
        if "exceptionDetails" in found:
            raise DrawingError(found["exceptionDetails"]["exception"]["description"])
        picture.parent.mkdir(parents=True, exist_ok=True)
        self._page.screenshot(picture)
        drawn: list[Json] = found["result"]["value"]
        return drawn


def _fetch() -> None:
    """Fetch the packages of the lock file; nothing is done if they are there already."""
    stamp = BUNDLE / "fetched"
    wanted = "".join((HERE / name).read_text() for name in PACKAGE)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    BUNDLE.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for name in PACKAGE:
        shutil.copy(HERE / name, BUNDLE)
    _run(_program("npm"), "ci", "--loglevel=error", cwd=BUNDLE)
    stamp.write_text(wanted)


def _bundle() -> None:
    """Make one script and one style sheet of the page, and put them beside it."""
    loaders = (f"--loader:.{ending}=dataurl" for ending in ("svg", "ttf", "woff", "woff2"))
    _run(
        *(_program("node"), str(BUNDLE / "node_modules/esbuild/bin/esbuild")),
        *(str(HERE / "page.tsx"), f"--outfile={BUNDLE / 'page.js'}", "--bundle"),
        *('--define:process.env.NODE_ENV="production"', "--log-level=warning", *loaders),
        cwd=HERE,
    )
    shutil.copy(HERE / "page.html", BUNDLE)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DrawingError(f"there is no {name}: install it with apt-get install nodejs npm")
    return found


def _run(*command: str, cwd: Path) -> None:
    env = {**os.environ, "NODE_PATH": str(BUNDLE / "node_modules")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DrawingError(f"{' '.join(command[:2])} failed: {done.stderr.strip()[-2000:]}")
