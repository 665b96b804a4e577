"""A line to PostgreSQL that can be cut, stalled or spoilt while somebody talks over it."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from services.server import HOST, free_port
from services.serving import serving

BUFFER = 1 << 16
PATIENCE_SECONDS = 60.0


@dataclass
class Wire:
    """The line; ``spoil``: ``refuse``, ``silence``, ``garbage``, or later ``cut`` or ``stall``."""

    port: int
    behind: int
    spoil: str = ""
    after: int = 0  # of the server's bytes, for ``cut`` and ``stall``
    happened: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, line: socket.socket) -> None:
        """Carry bytes both ways, or do what is told."""
        how = self.spoil
        self.happened += bool(how)
        if how == "refuse":
            return
        if how == "garbage":
            line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3)
            return
        if how == "silence":
            _hold(line)
            return
        with socket.create_connection((HOST, self.behind)) as server:
            _carry(line, server, self.after if how else 1 << 40, stall=how == "stall")


def _carry(client: socket.socket, server: socket.socket, left: int, *, stall: bool) -> None:
    """Carry bytes both ways until either closes, or the server has sent ``left`` of them."""
    while True:
        ready, _, _ = select.select([client, server], [], [])
        for source, target in ((client, server), (server, client)):
            if source not in ready:
                continue
            chunk = source.recv(BUFFER)
            if not chunk:
                return
            if source is server:
                chunk, left = chunk[:left], left - len(chunk)
            target.sendall(chunk)
            if left <= 0:
                if stall:
                    _hold(client)
                return


def _hold(line: socket.socket) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    line.settimeout(PATIENCE_SECONDS)
    while time.monotonic() < deadline and line.recv(BUFFER):
        pass


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with suppress(OSError):
            self.server.wire.serve(self.request)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        super().__init__((HOST, wire.port), _Handler)


@contextmanager
def wire(behind: int) -> Iterator[Wire]:
    """Run a line to the server that listens on this port of loopback."""
    line = Wire(free_port(), behind)
    with serving(_Server(line)):
        yield line
