"""Where mail goes out: the server, the account, and whether a mail may be readable on its way.

A connection is encrypted: from the start if the URL begins with ``smtps://``, else by STARTTLS.
Without STARTTLS there is no mail. Two kinds of server are exempt: one on this machine, and
one whose URL begins with ``smtp://``, if there is no password.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from ledgermind_obs import secrets
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.http.endpoint import register_credentials

_HOW = "write it as smtp://HOST:PORT, smtps://HOST:PORT, or HOST:PORT to insist on STARTTLS"


class Encryption(StrEnum):
    """When a connection is encrypted: from the start, by STARTTLS, if offered, or not."""

    FROM_THE_START = "tls"
    STARTTLS = "starttls"
    IF_OFFERED = "if offered"
    NONE = "none"


class MailServer(msgspec.Struct, frozen=True):
    """A mail server; ``timeout`` is seconds for everything that is said to it."""

    host: str
    port: int
    encryption: Encryption
    username: str = ""
    password: str = ""
    ca_file: Path | None = None
    timeout: float = 60.0

    def __repr__(self) -> str:
        """Return the place alone: the password is a secret."""
        return f"MailServer({self.place!r})"

    @property
    def place(self) -> str:
        """Its host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def mail_server(
    url: str, username: str, password: str, ca_file: Path | None, timeout: float
) -> MailServer:
    """Return the server of a URL; a user and password inside it count where none are given.

    Raises ConfigurationError if it is no URL of a mail server, or a password has no user.
    """
    register_credentials(url)
    scheme, host, port, user, inside = _parts(url)
    username, password = username or user, password or inside
    if password and not username:
        raise ConfigurationError("there is a password for mail and no user", "add --smtp-username")
    secrets.register(password)
    encryption = _encryption(scheme, host, has_password=bool(password))
    usual = {"smtps": 465, "smtp": 587 if password else 25}.get(scheme, 587)
    return MailServer(host, port or usual, encryption, username, password, ca_file, timeout)


def has_password(url: str) -> bool:
    """Return whether a password is inside a URL."""
    return ":" in url.rpartition("@")[0].partition("//")[2]


def _parts(url: str) -> tuple[str, str, int | None, str, str]:
    try:
        parts = urlsplit(url if "://" in url else f"starttls://{url}")
        port = parts.port
    except ValueError:
        raise _no_server() from None
    if parts.scheme not in {"smtp", "smtps", "starttls"} or not parts.hostname:
        raise _no_server()
    if parts.path.strip("/") or parts.query or parts.fragment or " " in url:
        raise _no_server()
    credentials = (unquote(parts.username or ""), unquote(parts.password or ""))
    return parts.scheme, parts.hostname, port, *credentials


def _no_server() -> ConfigurationError:
    return ConfigurationError("SMTP_URL or --smtp is not the address of a mail server", _HOW)


def _encryption(scheme: str, host: str, *, has_password: bool) -> Encryption:
    if scheme == "smtps":
        return Encryption.FROM_THE_START
    if _is_here(host):
        return Encryption.NONE
    if scheme == "smtp" and not has_password:
        return Encryption.IF_OFFERED
    return Encryption.STARTTLS


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
