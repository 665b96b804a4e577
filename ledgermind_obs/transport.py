"""HTTP to one destination: authentication, TLS, bounded retries, one deadline for all of it.

The standard library's client does the talking (prometheus_client imports it anyway); it honours
``http_proxy`` and ``no_proxy``. Redirects are refused: a push that lands on a login page would
otherwise count as delivered.
"""

from __future__ import annotations

import base64
import http.client
import random
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.message import Message
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec

from ledgermind_obs import __version__
from ledgermind_obs.errors import ConfigurationError, DestinationError

MAX_ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.5
ATTEMPT_SECONDS = 10.0
RETRIED_STATUSES = frozenset({502, 503, 504})


class Response(msgspec.Struct, frozen=True):
    """An answer, whatever its status."""

    status: int
    body: bytes
    headers: Message

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own classes

    @property
    def words(self) -> str:
        """The body on one line, shortened for a message."""
        return " ".join(self.body.decode("utf-8", "replace").split())[:500]

    @property
    def retry_after(self) -> float:
        """The seconds that ``Retry-After`` asks for, as a number or as a date; 0 without it."""
        text = self.headers.get("Retry-After", "")
        try:
            return max(0.0, float(text))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            return 0.0

    @property
    def is_html(self) -> bool:
        """Whether a web page came back: a proxy or login form answered instead of an API."""
        return self.headers.get_content_type() == "text/html"


class Tls(msgspec.Struct, frozen=True):
    """Files in PEM format: a private CA, and a client certificate with its key."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return the context; raises ConfigurationError where a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            files = ", ".join(str(f) for f in (self.ca_file, self.cert_file, self.key_file) if f)
            raise ConfigurationError(f"cannot use the TLS files {files}: {error}") from error
        return context


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

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> Response:
        """Return the answer to one call, retried where that may help.

        Raises DestinationError where there is no answer within the deadline, or a redirect.
        """
        deadline = time.monotonic() + self.timeout
        request = self._request(method, path, body, content_type)
        for pause in _pauses():
            outcome = self._attempt(request, deadline)
            if isinstance(outcome, Response) and outcome.status not in self.retried:
                return self._checked(outcome)
            if pause is None:
                break
            asked = outcome.retry_after if isinstance(outcome, Response) else 0.0
            if time.monotonic() + max(pause, asked) >= deadline:
                break
            time.sleep(max(pause, asked))
        if isinstance(outcome, Response):
            return outcome
        raise self._unreachable(outcome)

    def _request(
        self, method: str, path: str, body: bytes | None, content_type: str
    ) -> urllib.request.Request:
        headers = {"User-Agent": f"ledgermind-obs/{__version__}"}
        if content_type:
            headers["Content-Type"] = content_type
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self.url + path, data=body, headers=headers, method=method
        )
        if self.authorization:
            request.add_unredirected_header("Authorization", self.authorization)
        return request

    def _attempt(self, request: urllib.request.Request, deadline: float) -> Response | Exception:
        seconds = max(0.1, min(ATTEMPT_SECONDS, deadline - time.monotonic()))
        try:
            with self._opener().open(request, timeout=seconds) as answer:
                return Response(answer.status, _read(answer, deadline), answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Response(error.code, _read(error, deadline), error.headers)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLError):
                raise self._untrusted(reason) from error
            return reason if isinstance(reason, Exception) else error

    def _opener(self) -> urllib.request.OpenerDirector:
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if self.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=self.tls.context()))
        return urllib.request.build_opener(*handlers)

    def _checked(self, response: Response) -> Response:
        if 300 <= response.status < 400:  # noqa: PLR2004 - HTTP's own classes
            target = redact(response.headers.get("Location", "elsewhere"))
            raise DestinationError(
                f"{self.url} redirects to {target}", "give the URL that answers itself"
            )
        return response

    def _unreachable(self, reason: Exception) -> DestinationError:
        words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return DestinationError(f"{self.url} cannot be reached: {words}")

    def _untrusted(self, reason: ssl.SSLError) -> DestinationError:
        words = getattr(reason, "verify_message", "") or reason.reason or str(reason)
        return DestinationError(
            f"{self.url} cannot be trusted: {words}", "a private CA is given by its PEM file"
        )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def redact(url: str) -> str:
    """Return the URL with the credentials in it shown as ``***``."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if not separator or "@" not in authority:
        return url
    return f"{scheme}://***@{authority.rpartition('@')[2]}{slash}{path}"


def _pauses() -> Iterator[float | None]:
    """Yield the seconds to wait after each attempt; None after the last."""
    for attempt in range(MAX_ATTEMPTS - 1):
        yield FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311
    yield None


def _read(answer: http.client.HTTPResponse | urllib.error.HTTPError, deadline: float) -> bytes:
    """Return the body; raises TimeoutError where it does not end before the deadline."""
    chunks = []
    while chunk := answer.read1():
        chunks.append(chunk)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    return b"".join(chunks)
