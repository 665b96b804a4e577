"""A TLS end in front of a PostgreSQL server that has none."""

from __future__ import annotations

import select
import socket
import socketserver
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from services.postgres import Postgres
from services.serving import serving

# Sent in plain: "shall we speak TLS?", and the answer "yes".
_SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
_YES = b"S"


@dataclass
class Secured:
    """A database behind TLS, and the certificate that each client showed, empty where none."""

    database: Postgres
    shown: list[Any] = field(default_factory=list)


@contextmanager
def secured(database: Postgres, tls: ssl.SSLContext) -> Iterator[Secured]:
    """Speak TLS in front of ``database``, on a port of its own."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            asked = self.request.recv(len(_SSL_REQUEST), socket.MSG_WAITALL)
            if asked != _SSL_REQUEST:
                return
            self.request.sendall(_YES)
            with suppress(OSError), tls.wrap_socket(self.request, server_side=True) as client:
                found.shown.append(client.getpeercert())
                with socket.create_connection((database.host, database.port)) as server:
                    _relay(client, server)

    server = socketserver.ThreadingTCPServer((database.host, 0), Handler)
    found = Secured(replace(database, port=server.server_address[1]))
    with serving(server):
        yield found


def _relay(client: ssl.SSLSocket, server: socket.socket) -> None:
    """Carry what either end says to the other, until one of them has gone."""
    other = {client: server, server: client}
    while True:
        # What TLS has already taken in is nothing that select could see.
        ready = [client] if client.pending() else select.select([*other], [], [])[0]
        for end in ready:
            said = end.recv(65536)
            if not said:
                return
            other[end].sendall(said)
