"""An HTTP proxy on loopback that does something at the n-th request it is asked for."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from services.serving import serving


@dataclass
class Proxy:
    """What passes through, and what happens ``before`` or ``after`` a request was handed on."""

    url: str
    before: Callable[[int], None] = lambda _: None
    after: Callable[[int], None] = lambda _: None
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
            number = served.number(f"{self.command} {urlsplit(self.path).path}")
            served.before(number)
            status, headers, content = self._handed_on(body)
            served.after(number)
            with suppress(OSError):  # whoever asked may have left
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        def _handed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            parts = urlsplit(self.path)
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection = http.client.HTTPConnection(parts.netloc, timeout=10)
            try:
                kept = {"Content-Type": self.headers.get("Content-Type", "")} if body else {}
                connection.request(self.command, path, body, kept)
                answer = connection.getresponse()
                content = answer.read()
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
