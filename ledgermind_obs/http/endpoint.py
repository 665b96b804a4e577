"""Where HTTP goes: a base URL, who asks, and whom to trust. ``client`` does the talking."""

from __future__ import annotations

import base64
import urllib.parse
from pathlib import Path

import msgspec

from ledgermind_obs.errors import ConfigurationError

# A gateway or proxy in between says so when its other side is not there just now.
RETRIED_STATUSES = frozenset({502, 503, 504})


class Tls(msgspec.Struct, frozen=True):
    """Files in PEM format: a private CA, and a client certificate with its key."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def basic_auth(username: str, password: str) -> str:
    """Return the value of an ``Authorization`` header for HTTP basic authentication."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def bearer_auth(token: str) -> str:
    """Return the value of an ``Authorization`` header for a bearer token."""
    return f"Bearer {token}"


class Endpoint(msgspec.Struct, frozen=True):
    """A base URL and how to talk to it; ``timeout`` is seconds for a call with all its retries."""

    url: str
    authorization: str = ""
    tls: Tls = Tls()
    timeout: float = 30.0
    retried: frozenset[int] = RETRIED_STATUSES

    def __repr__(self) -> str:
        """Return the URL alone: the authorization is a secret."""
        return f"Endpoint({self.url!r})"

    @classmethod
    def parse(cls, url: str, *, authorization: str = "", tls: Tls, timeout: float) -> Endpoint:
        """Return the endpoint of a URL; credentials inside it become its authorization.

        Raises ConfigurationError where the URL is not http or https, or has no host.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
        except ValueError as error:
            raise ConfigurationError(f"{redact(url)} is not a URL: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname or " " in url:
            raise ConfigurationError(f"{redact(url)} is not an http:// or https:// URL")
        if parts.username is not None:
            user, password = parts.username, parts.password or ""
            unquote = urllib.parse.unquote
            authorization = authorization or basic_auth(unquote(user), unquote(password))
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        base = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        return cls(base, authorization, tls, timeout)

    @property
    def exposes_credentials(self) -> bool:
        """Whether credentials would cross a network that others can read."""
        host = urllib.parse.urlsplit(self.url).hostname or ""
        local = host in {"localhost", "::1"} or host.startswith("127.")
        return self.url.startswith("http:") and bool(self.authorization) and not local


def redact(url: str) -> str:
    """Return the URL with the credentials in it shown as ``***``."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not separator or "@" not in authority:
        return url
    return f"{scheme}://***@{authority.rpartition('@')[2]}{slash}{path}"
