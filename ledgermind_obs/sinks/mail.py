"""One letter to one mail server, once: taken, refused in the server's words, or of unknown fate.

Nothing is tried again. All that is said to a server ends at one moment, whatever it does. A letter
that was handed over and not acknowledged may have arrived, and the error says so.
"""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
import threading
from contextlib import suppress

from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.sinks.letter import Letter, content_of
from ledgermind_obs.sinks.mail_failure import (
    FateUnknownError,
    NotOfferedError,
    OverError,
    RefusedError,
    failure_of,
)
from ledgermind_obs.sinks.mail_server import Encryption, MailServer

_READY, _TAKEN, _FORWARDED, _GO_ON = 220, 250, 251, 354
_REFUSALS = range(400, 600)
# How long a server may take to say goodbye: the letter has been taken by then.
_GOODBYE_SECONDS = 2.0


def send(server: MailServer, letter: Letter) -> None:
    """Hand a letter over, once; raises DestinationError unless every recipient was taken."""
    conversation = _Conversation(server, letter)
    thread = threading.Thread(target=conversation.run, daemon=True)
    thread.start()
    conversation.decided.wait(server.timeout)
    error = conversation.end()
    thread.join(_GOODBYE_SECONDS)
    if error is not None:
        raise failure_of(server, error)
    if conversation.refused:
        address, refusal = next(iter(conversation.refused.items()))
        raise DestinationError(
            f"{server.place} took the mail, but not for {address}: {refusal.words}",
            "correct that address; the other recipients have the mail",
        )


class _Conversation:
    """All that is said, in a thread of its own: nothing else can leave a name look-up."""

    def __init__(self, server: MailServer, letter: Letter) -> None:
        self.decided = threading.Event()
        self.refused: dict[str, RefusedError] = {}
        self._server, self._letter = server, letter
        self._content = content_of(letter)
        self._context = _context(server)
        self._lock = threading.Lock()
        self._client: smtplib.SMTP | None = None
        self._over = self._handed_over = self._taken = False
        self._error: Exception | None = None

    def run(self) -> None:
        """Deliver the letter, and keep what came of it."""
        try:
            client = self._connected()
            self._secure(client)
            self._log_in(client)
            self._hand_over(client)
        except Exception as error:
            self._error = error
        self.decided.set()
        self._take_leave()

    def end(self) -> Exception | None:
        """Let nothing more be handed over; return why the letter was not taken, if it was not."""
        with self._lock:
            self._over = True
            taken, handed_over, error = self._taken, self._handed_over, self._error
        if taken:
            return None
        sock = self._client.sock if self._client else None
        if sock:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        cause = error or OverError()
        return FateUnknownError(cause) if handed_over else cause

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        patience = 2 * server.timeout  # it is the deadline that ends a silence, and says so
        if server.encryption is Encryption.FROM_THE_START:
            client: smtplib.SMTP = smtplib.SMTP_SSL(timeout=patience, context=self._context)
        else:
            client = smtplib.SMTP(timeout=patience)
        self._client = client
        client._host = server.host  # type: ignore[attr-defined]  # what a certificate must name
        _check(client.connect(server.host, server.port), _READY, "the connection")
        self._greet(client)
        return client

    def _greet(self, client: smtplib.SMTP) -> None:
        if client.ehlo()[0] != _TAKEN:
            _check(client.helo(), _TAKEN, "the greeting")

    def _secure(self, client: smtplib.SMTP) -> None:
        wanted, offered = self._server.encryption, client.has_extn("starttls")
        if wanted is Encryption.STARTTLS and not offered:
            raise NotOfferedError("STARTTLS")
        if wanted is Encryption.STARTTLS or (wanted is Encryption.IF_OFFERED and offered):
            try:
                client.starttls(context=self._context)
            except smtplib.SMTPResponseException as error:
                raise RefusedError("STARTTLS", error.smtp_code, error.smtp_error) from None
            self._greet(client)

    def _log_in(self, client: smtplib.SMTP) -> None:
        if not self._server.username:
            return
        if not client.has_extn("auth"):
            raise NotOfferedError("AUTH")
        try:
            client.login(self._server.username, self._server.password)
        except smtplib.SMTPResponseException as error:
            raise RefusedError("the login", error.smtp_code, error.smtp_error) from None

    def _hand_over(self, client: smtplib.SMTP) -> None:
        sender, recipients = self._letter.sender, self._letter.recipients
        _check(client.mail(sender), _TAKEN, f"the sender {sender}")
        for recipient in recipients:
            code, words = client.rcpt(recipient)
            if code not in {_TAKEN, _FORWARDED}:
                self.refused[recipient] = RefusedError(f"the recipient {recipient}", code, words)
        if len(self.refused) == len(recipients):
            raise self.refused[recipients[0]]
        _check(client.docmd("DATA"), _GO_ON, "the mail")
        client.send(re.sub(rb"(?m)^\.", b"..", self._content))
        self._begin_handing_over()
        client.send(b".\r\n")  # the mail is the server's from here on
        answer = client.getreply()
        with self._lock:
            self._handed_over = answer[0] not in {_TAKEN, *_REFUSALS}
            self._taken = answer[0] == _TAKEN
        _check(answer, _TAKEN, "the mail")

    def _begin_handing_over(self) -> None:
        with self._lock:
            if self._over:
                raise OverError
            self._handed_over = True

    def _take_leave(self) -> None:
        client = self._client
        if client is None:
            return
        with suppress(Exception):
            if client.sock:
                client.sock.settimeout(_GOODBYE_SECONDS)
            if self._taken:
                client.quit()
        with suppress(Exception):
            client.close()


def _check(answer: tuple[int, bytes], wanted: int, what: str) -> None:
    code, words = answer
    if code != wanted:
        raise RefusedError(what, code, words)


def _context(server: MailServer) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=server.ca_file)
    except (OSError, ValueError):
        raise ConfigurationError(
            f"cannot use {server.ca_file}: it is no file of certificates in PEM format",
            "give the private CA of the mail server with --smtp-ca-file",
        ) from None
