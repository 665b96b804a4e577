"""A server on loopback in front of a real one: it relays, or misbehaves at the moment it is told.

It speaks HTTP by hand, because what it has to do no library does: cut an answer in the middle of a
header, drip, never end, answer with somebody else's words.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from services.server import HOST, free_port

BUFFER = 1 << 16
PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_REQUEST_SECONDS = 10.0


@dataclass(frozen=True)
class Request:
    """What was asked, also as the bytes that came."""

    method: str
    path: str
    head: bytes
    body: bytes


@dataclass(frozen=True)
class Reply:
    """What the real server answered, or what is to be answered in its place."""

    body: bytes = b""
    status: str = "200 OK"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain; version=0.0.4"),)

    def __bytes__(self) -> bytes:
        """Return it as it goes over the line, with its length."""
        return self.head(f"Content-Length: {len(self.body)}") + self.body

    def head(self, *more: str) -> bytes:
        """Return status line and headers, with more of these."""
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, *more, "", ""]).encode()


class Exchange:
    """One request, the line on which it came, and the server it was meant for."""

    def __init__(self, line: socket.socket, request: Request, front: Front) -> None:
        """Take the connection, what was asked on it, and where it came to."""
        self.line, self.request, self._front = line, request, front

    def signal(self, number: int) -> None:
        """Send a signal to the program that asks."""
        os.kill(self._front.client, number)

    def forward(self) -> Reply:
        """Ask the real server, and return its answer."""
        session = http.client.HTTPConnection(HOST, self._front.behind, timeout=_REQUEST_SECONDS)
        kind = {"Content-Type": "text/plain; version=0.0.4"} if self.request.body else {}
        try:
            session.request(self.request.method, self.request.path, self.request.body, kind)
            answer = session.getresponse()
            headers = (("Content-Type", answer.headers.get("Content-Type", "text/plain")),)
            return Reply(answer.read(), f"{answer.status} {answer.reason}", headers)
        finally:
            session.close()

    def send(self, content: bytes) -> None:
        """Send bytes as they are; raises OSError if the client has gone."""
        self.line.sendall(content)

    def gone(self) -> bool:
        """Return whether the client has closed its end, after a short while."""
        ready, _, _ = select.select([self.line], [], [], _POLL_SECONDS)
        return bool(ready) and not self.line.recv(BUFFER)

    def hold(self) -> None:
        """Say nothing until the client goes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.gone() and time.monotonic() < deadline:
            pass

    def repeat(self, content: bytes, most: int = 1 << 28) -> None:
        """Send the same without end; after 256 MB, for the machine's sake, drip it."""
        sent = 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            self.send(content)
            sent += len(content)
            if sent > most and self.gone():
                return

    def drip(self, content: bytes) -> None:
        """Send a byte every twentieth of a second."""
        for number in range(len(content)):
            self.send(content[number : number + 1])
            if self.gone():
                return

    def reset(self) -> None:
        """End the connection so that the client sees a reset."""
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.line.close()


Action = Callable[[Exchange], None]


def relay(exchange: Exchange) -> None:
    """Answer as the real server does."""
    exchange.send(bytes(exchange.forward()))


@dataclass
class Plan:
    """What to do with the requests of a method: how often, and before or instead of relaying."""

    method: str
    action: Action
    times: int = 1_000_000
    happened: int = 0

    def takes(self, request: Request) -> bool:
        """Return whether this request is to be met so, and count it."""
        if request.method != self.method or self.happened >= self.times:
            return False
        self.happened += 1
        return True


@dataclass
class Front:
    """The server; ``plan`` may change at any time, ``asked`` are the methods of what came."""

    port: int
    behind: int
    plan: Plan | None = None
    client: int = 0  # the process id of the program that asks
    asked: list[str] = field(default_factory=list)
    _server: socketserver.ThreadingTCPServer | None = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://{HOST}:{self.port}"

    def up(self) -> None:
        """Listen."""
        if self._server is None:
            self._server = _Server((HOST, self.port), self)
            self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
            self._thread.start()

    def down(self) -> None:
        """Listen no more, so that connections are refused."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def serve(self, line: socket.socket) -> None:
        """Answer what comes on one connection until either end closes it."""
        with suppress(OSError, ValueError):
            while request := read_request(line):
                self.asked.append(request.method)
                exchange = Exchange(line, request, self)
                plan = self.plan
                if plan and plan.takes(request):
                    plan.action(exchange)
                    return
                relay(exchange)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], front: Front) -> None:
        self.front = front
        super().__init__(address, _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.front.serve(self.request)


@contextmanager
def front(behind: int) -> Iterator[Front]:
    """Run a front of the server that listens on this port of loopback."""
    server = Front(free_port(), behind)
    server.up()
    try:
        yield server
    finally:
        server.down()


def read_request(line: socket.socket) -> Request | None:
    """Return the next request, None if the client has closed; raises ValueError for no HTTP."""
    line.settimeout(_REQUEST_SECONDS)
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = line.recv(BUFFER)
        if not chunk:
            return None
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    method, path, _ = head.decode("latin-1").split("\r\n", 1)[0].split(" ", 2)
    length = _length(head)
    while len(body) < length:
        body += line.recv(BUFFER)
    return Request(method, path, head, body)


def _length(head: bytes) -> int:
    for text in head.decode("latin-1").split("\r\n")[1:]:
        name, _, value = text.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0
