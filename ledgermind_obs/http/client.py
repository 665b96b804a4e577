"""HTTP to one destination: authentication, TLS, bounded retries, one deadline for all of it.

The standard library's client does the talking (prometheus_client imports it anyway); it honours
``http_proxy`` and ``no_proxy``. Redirects are refused: a push that lands on a login page would
otherwise count as delivered.
"""

from __future__ import annotations

import http.client
import random
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from email.utils import parsedate_to_datetime

import msgspec

from ledgermind_obs import __version__
from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http import endpoint as endpoints
from ledgermind_obs.http.endpoint import Endpoint, Tls
from ledgermind_obs.secrets import redact

MAX_ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.5
ATTEMPT_SECONDS = 10.0


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
        """The body on one line, redacted and then shortened: half a secret is not recognised."""
        return " ".join(redact(self.body.decode("utf-8", "replace")).split())[:500]

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


def request(
    endpoint: Endpoint, method: str, path: str, body: bytes | None = None, content_type: str = ""
) -> Response:
    """Return the answer to one call, retried where that may help.

    Raises DestinationError where there is no answer within the deadline, or a redirect.
    """
    deadline = time.monotonic() + endpoint.timeout
    call = _prepared(endpoint, method, path, body, content_type)
    for pause in _pauses():
        outcome = _attempt(endpoint, call, deadline)
        if isinstance(outcome, Response) and outcome.status not in endpoint.retried:
            return _checked(endpoint.url, outcome)
        if pause is None:
            break
        asked = outcome.retry_after if isinstance(outcome, Response) else 0.0
        if time.monotonic() + max(pause, asked) >= deadline:
            break
        time.sleep(max(pause, asked))
    if isinstance(outcome, Response):
        return outcome
    raise _unreachable(endpoint.url, outcome)


def _prepared(
    endpoint: Endpoint, method: str, path: str, body: bytes | None, content_type: str
) -> urllib.request.Request:
    headers = {"User-Agent": f"ledgermind-obs/{__version__}"}
    if content_type:
        headers["Content-Type"] = content_type
    call = urllib.request.Request(  # noqa: S310 - the scheme was checked
        endpoint.url + path, data=body, headers=headers, method=method
    )
    if endpoint.authorization:
        call.add_unredirected_header("Authorization", endpoint.authorization)
    return call


def _attempt(
    endpoint: Endpoint, call: urllib.request.Request, deadline: float
) -> Response | Exception:
    seconds = max(0.1, min(ATTEMPT_SECONDS, deadline - time.monotonic()))
    try:
        with _opener(endpoint).open(call, timeout=seconds) as answer:
            return Response(answer.status, _read(answer, deadline), answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return Response(error.code, _read(error, deadline), error.headers)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLError):
            raise _untrusted(endpoint.url, reason) from error
        return reason if isinstance(reason, Exception) else error


def _opener(endpoint: Endpoint) -> urllib.request.OpenerDirector:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if endpoint.url.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=_context(endpoint.tls)))
    return urllib.request.build_opener(*handlers)


def _context(tls: Tls) -> ssl.SSLContext:
    """Return the context; raises ConfigurationError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
    except (OSError, ValueError) as error:
        files = ", ".join(str(f) for f in (tls.ca_file, tls.cert_file, tls.key_file) if f)
        raise ConfigurationError(f"cannot use the TLS files {files}: {error}") from error
    return context


def _checked(url: str, response: Response) -> Response:
    if 300 <= response.status < 400:  # noqa: PLR2004 - HTTP's own classes
        target = endpoints.redact(response.headers.get("Location", "elsewhere"))
        raise DestinationError(f"{url} redirects to {target}", "give the URL that answers itself")
    return response


def _unreachable(url: str, reason: Exception) -> DestinationError:
    words = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return DestinationError(f"{url} cannot be reached: {words}")


def _untrusted(url: str, reason: ssl.SSLError) -> DestinationError:
    words = getattr(reason, "verify_message", "") or reason.reason or str(reason)
    return DestinationError(
        f"{url} cannot be trusted: {words}", "a private CA is given by its PEM file"
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


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
