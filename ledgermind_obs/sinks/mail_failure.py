"""Why a letter was not taken, in words of our own and in the server's."""

from __future__ import annotations

import os
import smtplib
import socket
import ssl

from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import DestinationError
from ledgermind_obs.secrets import redact
from ledgermind_obs.sinks.mail_server import MailServer

_TEMPORARY = range(400, 500)
_MOST_WORDS = 300


class RefusedError(Exception):
    """What a server refused; ``words`` is its code and its answer on one line, redacted."""

    def __init__(self, what: str, code: int, answer: bytes | str) -> None:
        """Take the answer as it came; a code of -1 is no answer of SMTP at all."""
        super().__init__()
        self.what, self.code = what, code
        text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
        shown = "".join(sign if sign.isprintable() else " " for sign in redact(text))
        self.words = " ".join(f"{code} {shown}".split())[:_MOST_WORDS]


class NotOfferedError(Exception):
    """The server does not offer what is needed: ``STARTTLS`` or ``AUTH``."""


class OverError(Exception):
    """The time is up."""


class FateUnknownError(Exception):
    """The letter was handed over, and what became of it is not known; with the cause."""


def failure_of(server: MailServer, error: Exception) -> DestinationError:
    """Return the error for the user: what failed, where, and what to do."""
    if isinstance(error, FateUnknownError):
        cause = error.args[0]
        return DestinationError(
            f"{server.place} was given the mail and did not say that it takes it: "
            f"{_reason(server, cause)}",
            "look into the mailbox before you send it again: it may have arrived",
        )
    if isinstance(error, RefusedError) and error.code > 0:
        return DestinationError(
            f"{server.place} refused {error.what}: {error.words}", _after_refusal(error)
        )
    if isinstance(error, NotOfferedError):
        return _not_offered(server, str(error))
    if isinstance(error, ssl.SSLCertVerificationError):
        return DestinationError(
            f"{server.place} cannot be trusted: {error.verify_message}",
            "give a private CA with --smtp-ca-file",
        )
    return DestinationError(
        f"the mail was not sent: {server.place}: {_reason(server, error)}",
        "see whether the server and its port are right; nothing was delivered",
    )


def _after_refusal(error: RefusedError) -> str:
    if error.code in _TEMPORARY:
        return (
            "the server asks to try again later: do so in some minutes, or send through a relay "
            "that does it by itself"
        )
    if error.what == "the login":
        return "check --smtp-username and the password"
    if error.what.startswith("the sender"):
        return "name a sender that the server accepts: --mail-from"
    return "check the addresses, and whether this host may send through that server"


def _not_offered(server: MailServer, what: str) -> DestinationError:
    if what == "AUTH":
        return DestinationError(
            f"{server.place} offers no login", "leave out the user and the password"
        )
    return DestinationError(
        f"{server.place} offers no STARTTLS, and nothing is sent unencrypted",
        "use smtps://HOST; or smtp://HOST without a password, if the network may read the mail",
    )


def _reason(server: MailServer, error: Exception) -> str:
    """Return why a conversation broke off."""
    if isinstance(error, OverError | TimeoutError):
        return f"timed out (limit {format_age(server.timeout)})"
    for kind, words in _REASONS.items():
        if isinstance(error, kind):
            return words
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "it does not speak SMTP"


_REASONS: dict[type[Exception], str] = {
    smtplib.SMTPServerDisconnected: "it closed the connection",
    socket.gaierror: "the host name cannot be resolved",
    ssl.SSLError: "TLS failed",
}
