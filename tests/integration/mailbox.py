"""A mail server on loopback that keeps what it is sent."""

from __future__ import annotations

import base64
import email.policy
import itertools
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

from services.serving import serving


class Mailbox(socketserver.ThreadingTCPServer):
    """The server: the letters it took, and the names and passwords that it was shown."""

    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.letters: list[EmailMessage] = []
        self.logins: list[tuple[str, str]] = []

    @property
    def place(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Session(socketserver.StreamRequestHandler):
    server: Mailbox

    def handle(self) -> None:
        self._say("220 mailbox")
        for line in self.rfile:
            verb, _, rest = line.decode().strip().partition(" ")
            match verb.upper():
                case "EHLO":
                    self._say("250-mailbox\r\n250 AUTH PLAIN")
                case "AUTH":
                    self._log_in(rest)
                case "DATA":
                    self._take_letter()
                case "QUIT":
                    self._say("221 bye")
                    break
                case _:
                    self._say("250 yes")

    def _log_in(self, mechanism_and_answer: str) -> None:
        answer = base64.b64decode(mechanism_and_answer.removeprefix("PLAIN "))
        _, name, password = answer.decode().split("\0")
        self.server.logins.append((name, password))
        self._say("235 welcome")

    def _take_letter(self) -> None:
        self._say("354 go on")
        lines = itertools.takewhile(lambda line: line != b".\r\n", self.rfile)
        content = b"".join(line.removeprefix(b".") for line in lines)
        letter = email.message_from_bytes(content, policy=email.policy.default)
        self.server.letters.append(letter)
        self._say("250 taken")

    def _say(self, answer: str) -> None:
        self.wfile.write(f"{answer}\r\n".encode())


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """Run a mail server."""
    server = Mailbox()
    with serving(server):
        yield server
