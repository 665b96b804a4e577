"""A mail server on loopback that behaves as a test wants, and keeps every mail it took."""

from __future__ import annotations

import base64
import email.policy
import itertools
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage

from services.serving import serving

# What a server may say to a command, by the command's verb; an answer of "" closes the connection,
# and None leaves the client waiting.
Answers = Mapping[str, str | None]


@dataclass
class Post:
    """The server: the letters that it took, who logged in, and what each connection said."""

    port: int = 0
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    connections: int = 0

    @property
    def place(self) -> str:
        """Its host and port."""
        return f"127.0.0.1:{self.port}"


@contextmanager
def post(
    answers: Answers | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    from_the_start: bool = False,
    extensions: tuple[str, ...] = (),
    drip: float = 0.0,
) -> Iterator[Post]:
    """Run a server that takes mail, but for what ``answers`` say.

    With ``tls`` it offers STARTTLS, or is encrypted ``from_the_start``. With ``drip`` each answer
    comes a byte at a time, so many seconds apart. An answer to ``BODY`` is the one to the mail's
    content, to ``RCPT name@host`` the one to that recipient.
    """
    kept = Post()
    behaviour = _Behaviour(answers or {}, tls, from_the_start, extensions, drip)

    class Session(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            kept.connections += 1
            with suppress(OSError, ValueError), self.request:
                _Conversation(self.request, behaviour, kept).run()

    socketserver.ThreadingTCPServer.allow_reuse_address = True
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
    server.daemon_threads = True
    kept.port = server.server_address[1]
    with serving(server):
        try:
            yield kept
        finally:
            behaviour.over.set()


@dataclass
class _Behaviour:
    answers: Answers
    tls: ssl.SSLContext | None
    from_the_start: bool
    extensions: tuple[str, ...]
    drip: float
    over: threading.Event = field(default_factory=threading.Event)


class _Conversation:
    def __init__(self, connection: socket.socket, behaviour: _Behaviour, kept: Post) -> None:
        self._behaviour, self._kept, self._to = behaviour, kept, list[str]()
        self._take_over(connection, encrypted=behaviour.from_the_start)

    def run(self) -> None:
        self._say(self._answer("CONNECT", "220 here"))
        try:
            while line := self._file.readline():
                text = line.decode().strip()
                self._kept.said.append(text)
                if not self._obey(text):
                    break
        finally:
            self._file.close()
            self._connection.close()

    @property
    def _is_encrypted(self) -> bool:
        return isinstance(self._connection, ssl.SSLSocket)

    def _take_over(self, connection: socket.socket, *, encrypted: bool) -> None:
        tls = self._behaviour.tls
        if encrypted and tls:
            connection = tls.wrap_socket(connection, server_side=True)
        self._connection = connection
        self._file = connection.makefile("rb")

    def _obey(self, text: str) -> bool:
        verb, _, rest = text.partition(" ")
        verb = verb.upper()
        answer = self._answer(self._key(verb, rest), self._usual(verb, rest))
        if not self._say(answer):
            return False
        done = answer is not None and answer[:1] in {"2", "3"}
        if verb == "RCPT" and done:
            self._to.append(_address(rest))
        if verb == "DATA" and done:
            return self._take_letter()
        if verb == "STARTTLS" and done:
            self._file.close()
            self._take_over(self._connection, encrypted=True)
        return verb != "QUIT"

    def _key(self, verb: str, rest: str) -> str:
        exact = f"{verb} {_address(rest)}"
        return exact if exact in self._behaviour.answers else verb

    def _usual(self, verb: str, rest: str) -> str:
        if verb == "EHLO":
            starttls = ["STARTTLS"] if self._behaviour.tls and not self._is_encrypted else []
            *lines, last = ["here", *starttls, *self._behaviour.extensions]
            return "".join(f"250-{line}\r\n" for line in lines) + f"250 {last}"
        if verb == "AUTH" and self._behaviour.extensions:
            _, name, password = base64.b64decode(rest.split(" ")[1]).decode().split("\0")
            self._kept.logins.append((name, password))
            return "235 welcome"
        usual = {"DATA": "354 go on", "QUIT": "221 bye", "STARTTLS": "220 go on"}
        return usual.get(verb, "250 yes")

    def _take_letter(self) -> bool:
        lines = list(itertools.takewhile(lambda line: line != b".\r\n", self._file))
        answer = self._answer("BODY", "250 taken")
        if not answer or answer.startswith("250 "):
            content = b"".join(line.removeprefix(b".") for line in lines)
            letter = email.message_from_bytes(content, policy=email.policy.default)
            self._kept.letters.append(letter)
            self._kept.recipients.append(self._to)
            self._kept.encrypted.append(self._is_encrypted)
        return self._say(answer)

    def _answer(self, key: str, usual: str) -> str | None:
        return self._behaviour.answers.get(key, usual)

    def _say(self, answer: str | None) -> bool:
        if answer is None:
            self._behaviour.over.wait()
            return False
        if answer == "":
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            return False
        drip = self._behaviour.drip
        for part in f"{answer}\r\n" if drip else [f"{answer}\r\n"]:
            self._connection.sendall(part.encode())
            if drip and self._behaviour.over.wait(drip):
                return False
        return True


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]
