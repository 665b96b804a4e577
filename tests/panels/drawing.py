"""Grafana's own code in a headless Chromium: fetched, bundled, and asked to draw panels."""

from __future__ import annotations

import base64
import json
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.binaries import TOOLS
from tests.browser.chromium import Page, browser

HERE = Path(__file__).parent
BUNDLE = TOOLS / "panels"
PACKAGE = ("package.json", "package-lock.json", ".npmrc")
# Where the style sheet of Grafana looks for its font, and which file of the package it is.
FONTS = {"Regular": "400", "Medium": "500"}

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
        page.open((BUNDLE / "page.html").as_uri(), width=1280, dark=False)

    def draw(self, board: Json, picture: Path) -> list[Json]:
        """Draw a board, write its picture, and return what each of its panels says.

        The window is as high as the board: what is outside of it would not be drawn.
        """
        size = {"width": board["width"], "height": board["height"]}
        self._page.call(
            "Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False
        )
        drawn: list[Json] = self._answer(f"draw({json.dumps(board)})")
        picture.parent.mkdir(parents=True, exist_ok=True)
        self._page.screenshot(picture)
        return drawn

    def slim(self, picture: Path, slimmed: Path) -> None:
        """Write a copy of a picture that is small enough for a README."""
        data = base64.b64encode(picture.read_bytes()).decode()
        slim: Json = self._answer(f"slim('data:image/png;base64,{data}')")
        slimmed.write_bytes(_png(slim["width"], slim["height"], base64.b64decode(slim["rows"])))

    def _answer(self, expression: str) -> Any:
        """Return what a promise of the page comes to; raise DrawingError for any complaint."""
        found = self._page.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise DrawingError(found["exceptionDetails"]["exception"]["description"])
        if self._page.complaints:
            raise DrawingError("\n".join(self._page.complaints))
        return found["result"]["value"]


def _png(width: int, height: int, rows: bytes) -> bytes:
    """Return the file of a picture in red, green and blue whose rows are already packed."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(zlib.decompress(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


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
    fonts = BUNDLE / "public/fonts/inter"
    fonts.mkdir(parents=True, exist_ok=True)
    for name, weight in FONTS.items():
        file = f"node_modules/@fontsource/inter/files/inter-latin-{weight}-normal.woff2"
        shutil.copy(BUNDLE / file, fonts / f"Inter-{name}.woff2")


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
