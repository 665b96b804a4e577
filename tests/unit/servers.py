"""An HTTP server on loopback that answers as told and remembers what it was asked."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from services.serving import serving


@dataclass
class Answer:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain"})


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    url: str
    answers: list[Answer]
    asked: list[Asked] = field(default_factory=list)

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def web(*answers: Answer, tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serve ``answers`` one after the other; the last one is repeated."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
            served.asked.append(asked)
            answer = served.next_answer()
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    scheme = "https" if tls else "http"
    served = Web(f"{scheme}://127.0.0.1:{server.server_address[1]}", list(answers) or [Answer()])
    with serving(server):
        yield served


@dataclass
class Raw:
    url: str
    connections: int = 0
    left: threading.Event = field(default_factory=threading.Event)


@contextmanager
def raw(
    behave: Callable[[socket.socket], None],
    *,
    tls: ssl.SSLContext | None = None,
    reads: bool = True,
) -> Iterator[Raw]:
    """Serve each connection by ``behave``, which need not speak HTTP; ``left`` when one has ended.

    ``behave`` may go on for ever: it ends with the first byte that nobody takes.
    """

    open_sockets: list[socket.socket] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            served.connections += 1
            plain = self.request
            copy = plain.dup()
            open_sockets.append(copy)
            with (
                suppress(OSError),
                tls.wrap_socket(plain, server_side=True) if tls else plain as wrapped,
            ):
                if reads:
                    read_request(wrapped)
                behave(wrapped)
            with suppress(OSError):  # the copy keeps open what is closed
                copy.shutdown(socket.SHUT_RDWR)
            served.left.set()

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    scheme = "https" if tls else "http"
    served = Raw(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    with serving(server):
        try:
            yield served
        finally:
            for each in open_sockets:  # nobody is waited for who was not left
                with each, suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


def read_request(connection: socket.socket) -> bytes:
    """Return a request with its body, as far as it comes."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += _some(connection)
    head, _, body = said.partition(b"\r\n\r\n")
    length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while length and len(body) < int(length[0].split(b":")[1]):
        body += _some(connection)
    return head + b"\r\n\r\n" + body


def _some(connection: socket.socket) -> bytes:
    found = connection.recv(65536)
    if not found:
        raise ConnectionError
    return found


def dripped(first: bytes, then: bytes, seconds: float) -> Callable[[socket.socket], None]:
    """Return a behaviour: say ``first`` at once, then a byte of ``then`` at a time, for ever."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(first)
        ended = threading.Event()
        while not ended.wait(seconds):
            for byte in then:
                connection.sendall(bytes([byte]))
                ended.wait(seconds)

    return behave
