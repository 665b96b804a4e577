"""Where HTTP goes: a base URL, credentials, trusted certificates. ``client`` sends the requests."""

from __future__ import annotations

import base64
import re
import urllib.parse
from pathlib import Path

import msgspec

from ledgermind_obs import secrets
from ledgermind_obs.errors import ConfigurationError

# A gateway or proxy in between says so when its other side is not there just now.
RETRIED_STATUSES = frozenset({502, 503, 504})

_MASK = secrets.MASK
# The URLs in which it is certain what the credentials are; and those without a scheme or a host.
_SCHEME = r"(?i:https?://)"
_CERTAIN = (
    rf"({_SCHEME})([^/?#@\\\s]*@)?"
    r"((?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:/[^?#@\\\s]*)?)([?#][^@\\\s]*)?"
)
_HOST_AND_PORT = r"[\w.-]+:\d{1,5}"
_TENANT = r"[A-Za-z0-9_!.*'()|-]{1,1024}"
_PARTIAL = r"()()((?:[\w.-]+:\d{1,5})?(?:/[\w./-]*)?)([?#][^@\\\s]*)?"


class Tls(msgspec.Struct, frozen=True):
    """Files in PEM format: a private CA, and a client certificate with its key."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


def basic_auth(username: str, password: str) -> str:
    """Return the value of an ``Authorization`` header for HTTP basic authentication."""
    secrets.register(password)
    return "Basic " + secrets.register(base64.b64encode(f"{username}:{password}".encode()).decode())


def bearer_auth(token: str) -> str:
    """Return the value of an ``Authorization`` header for a bearer token."""
    return f"Bearer {secrets.register(token)}"


class Endpoint(msgspec.Struct, frozen=True):
    """A base URL and how to talk to it; ``timeout`` is seconds for a call with all its retries.

    ``tenant`` is whose data a server of many tenants is asked for, empty for a server of one.
    """

    url: str
    authorization: str = ""
    tls: Tls = Tls()
    timeout: float = 30.0
    retried: frozenset[int] = RETRIED_STATUSES
    tenant: str = ""

    def __repr__(self) -> str:
        """Return the URL alone: the authorization is a secret."""
        return f"Endpoint({self.url!r})"

    @classmethod
    def parse(
        cls, url: str, *, authorization: str = "", tls: Tls, timeout: float, tenant: str = ""
    ) -> Endpoint:
        """Return the endpoint of a URL; credentials inside it become its authorization.

        Raises ConfigurationError where the URL is not http or https, or has no host, and for a
        tenant that cannot be one.
        """
        _check_tenant(tenant)
        register_credentials(url)
        try:
            parts = urllib.parse.urlsplit(url)
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            raise _no_url(url) from None
        if parts.scheme not in {"http", "https"} or not parts.hostname or " " in url:
            raise _no_url(url)
        if "@" in parts.path + parts.query + parts.fragment:  # a / or ? that was in a password
            raise _no_url(url)
        if parts.username is not None:
            user, password = parts.username, parts.password or ""
            unquote = urllib.parse.unquote
            authorization = authorization or basic_auth(unquote(user), unquote(password))
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        base = f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"
        return cls(base, authorization, tls, timeout, tenant=tenant)

    @property
    def exposes_credentials(self) -> bool:
        """Whether credentials would cross a network that others can read."""
        host = urllib.parse.urlsplit(self.url).hostname or ""
        local = host in {"localhost", "::1"} or host.startswith("127.")
        return self.url.startswith("http:") and bool(self.authorization) and not local


def _check_tenant(tenant: str) -> None:
    if tenant and not re.fullmatch(_TENANT, tenant):
        raise ConfigurationError(
            f"{tenant!r} is not the ID of a tenant",
            "Mimir takes letters, digits and !-_.*'() in one, and | between two",
        )


def _no_url(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"{redact(url) or 'an empty text'} is not an http:// or https:// URL",
        "in a user name or password write / @ : as %2F %40 %3A"
        if "@" in url
        else f"write it as http://{url if re.fullmatch(_HOST_AND_PORT, url) else 'HOST:PORT'}",
    )


def register_credentials(url: str) -> None:
    """Remember the credentials in a URL as secrets, also if it cannot be parsed."""
    before, at, _ = url.rpartition("@")
    if not at:
        return
    userinfo = re.split(r"//|\\\\", before, maxsplit=1)[-1]
    user, colon, password = userinfo.partition(":")
    for value in (userinfo, password if colon else user):
        secrets.register(value)
        secrets.register(urllib.parse.unquote(value))


def redact(url: str) -> str:
    """Return what of a URL is certainly no credential; the rest, and its query, is ``***``."""
    if found := re.fullmatch(_CERTAIN, url) or re.fullmatch(_PARTIAL, url):
        scheme, userinfo, place, query = found.groups()
        hidden = f"{_MASK}@" if userinfo else ""
        return f"{scheme}{hidden}{place}" + (f"?{_MASK}" if query else "")
    scheme = re.match(_SCHEME, url)
    return (scheme[0] if scheme else "") + _MASK
