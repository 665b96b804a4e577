"""A headless Chromium that is spoken to over a pipe, in Chrome's DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Message = dict[str, Any]
_SECONDS = 60.0
_END = b"\0"


class BrowserError(Exception):
    """The browser did not do what it was told; the message has its words."""


@dataclass
class Page:
    """One tab: what it asked of the network, and what it complained of."""

    pipe: _Pipe
    session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> Message:
        """Return the result of one command."""
        number = self.pipe.send(method, params, self.session)
        deadline = time.monotonic() + _SECONDS
        while (message := self.pipe.receive(deadline)).get("id") != number:
            self._note(message)
        if "error" in message:
            raise BrowserError(f"{method}: {message['error']['message']}")
        result: Message = message.get("result", {})
        return result

    def open(self, url: str, width: int, *, dark: bool, height: int = 900) -> None:
        """Load a page in a window of a width, in the light or in the dark, and wait for it."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + _SECONDS
        while self.evaluate("document.readyState + location.href") != f"complete{url}":
            if time.monotonic() > deadline:
                raise BrowserError(f"{url} is not loaded after {_SECONDS:.0f} s")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise BrowserError(found["exceptionDetails"]["exception"]["description"])
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def printed(self) -> bytes:
        """Return the page as a PDF of A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": False}
        return base64.b64decode(self.call("Page.printToPDF", **size)["data"])

    def _note(self, message: Message) -> None:
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params))


class _Pipe:
    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._number, self._waiting = 0, b""

    def send(self, method: str, params: Message, session: str = "") -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + _END)
        return self._number

    def receive(self, deadline: float) -> Message:
        while _END not in self._waiting:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            said = os.read(self._from, 1 << 16) if ready else b""
            if not said:
                raise BrowserError("the browser ended" if ready else "the browser is silent")
            self._waiting += said
        first, _, self._waiting = self._waiting.partition(_END)
        message: Message = json.loads(first)
        return message


def find_chromium() -> str:
    """Return the program; raise BrowserError with what to do if there is none."""
    found = shutil.which("chromium")
    if found is None:
        raise BrowserError("there is no chromium: install it with apt-get install chromium")
    return found


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Run a browser with one tab; it ends with the block."""
    to_read, to_write = os.pipe()
    back_read, back_write = os.pipe()
    argv = [find_chromium(), "--headless", "--no-sandbox", "--disable-gpu"]
    argv += ["--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars"]
    argv += [f"--user-data-dir={profile}"]
    argv += ["--remote-debugging-pipe", "about:blank"]
    process = subprocess.Popen(
        ["bash", "-c", f'exec "$@" 3<&{to_read} 4>&{back_write}', "bash", *argv],
        pass_fds=(to_read, back_write),
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(back_write)
    try:
        yield _first_tab(_Pipe(to_write, back_read))
    finally:
        os.close(to_write)  # it ends when nobody speaks to it any more
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(back_read)


def _first_tab(pipe: _Pipe) -> Page:
    browser_itself = Page(pipe, "")
    target = browser_itself.call("Target.createTarget", url="about:blank")["targetId"]
    attached = browser_itself.call("Target.attachToTarget", targetId=target, flatten=True)
    page = Page(pipe, attached["sessionId"])
    for domain in ("Page", "Network", "Log", "Runtime"):
        page.call(f"{domain}.enable")
    return page
