"""An HTTP proxy on loopback that acts at the n-th request, or changes an answer."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from services.serving import serving


@dataclass
class Proxy:
    """What passes through, and what happens ``before`` or ``after`` a request was handed on.

    ``change`` makes of a request and the content of its answer what is answered in its place;
    ``ahead`` are seconds by which every server's clock is ahead.
    """

    url: str
    before: Callable[[int], None] = lambda _: None
    after: Callable[[int], None] = lambda _: None
    change: Callable[[str, bytes], bytes] = lambda _, content: content
    ahead: float = 0.0
    passed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def number(self, request: str) -> int:
        """Return how many requests there were, with this one."""
        with self.lock:
            self.passed.append(request)
            return len(self.passed)


@contextmanager
def proxy() -> Iterator[Proxy]:
    """Serve as the proxy that ``http_proxy`` names."""

    class Handler(BaseHTTPRequestHandler):
        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = f"{self.command} {urlsplit(self.path).path}"
            number = served.number(request)
            served.before(number)
            status, headers, content = self._handed_on(request, body)
            served.after(number)
            with suppress(OSError):  # whoever asked may have left
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) + served.ahead)

        def _handed_on(self, request: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            parts = urlsplit(self.path)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection = http.client.HTTPConnection(parts.netloc, timeout=10)
            try:
                passed = ("Content-Type", "Authorization", "Accept")
                kept = {name: self.headers[name] for name in passed if self.headers[name]}
                connection.request(self.command, path, body, kept)
                answer = connection.getresponse()
                content = served.change(request, answer.read())
            finally:
                connection.close()
            framing = {"transfer-encoding", "content-length", "connection", "date", "server"}
            headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in framing]
            return answer.status, [*headers, ("Content-Length", str(len(content)))], content

        do_GET = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Proxy(f"http://127.0.0.1:{server.server_port}")
    with serving(server):
        yield served
