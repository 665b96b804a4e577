"""HTTP to one destination: authentication, bounded retries, one deadline for all of it.

urllib3 does the talking, in ``exchange``. Redirects are refused: a push that lands on a login page
would otherwise count as delivered.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

from ledgermind_obs import __version__
from ledgermind_obs.durations import format_age
from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.http.exchange import Call, Response, Route, exchange, route_to
from ledgermind_obs.http.words import FAILURES, is_final, reason_of

__all__ = ["Response", "request"]

MAX_ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.5


def request(
    endpoint: Endpoint, method: str, path: str, body: bytes | None = None, content_type: str = ""
) -> Response:
    """Return the whole answer to one call, retried where that may help.

    ``endpoint.timeout`` bounds everything: looking up the name, TLS, headers, body, retries.
    Raises DestinationError where there is no whole answer in time, or a redirect, and
    ConfigurationError for a proxy, TLS file or credential that cannot be used.
    """
    deadline = time.monotonic() + endpoint.timeout
    headers = _headers(endpoint, content_type)
    call = Call(method, endpoint.url + path, body, headers, route_to(endpoint.url, endpoint.tls))
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
    raise _unreachable(endpoint, call.route, outcome)


def _headers(endpoint: Endpoint, content_type: str) -> dict[str, str]:
    """Return the headers; raises ConfigurationError for credentials that are no header's value."""
    headers = {"User-Agent": f"ledgermind-obs/{__version__}"}
    if content_type:
        headers["Content-Type"] = content_type
    if endpoint.tenant:
        headers["X-Scope-OrgID"] = endpoint.tenant
    if endpoint.authorization:
        if not (endpoint.authorization.isascii() and endpoint.authorization.isprintable()):
            raise ConfigurationError(
                f"the credentials for {endpoint.url} hold a character that HTTP cannot carry",
                "see whether the token or its file has a line break or an accent in it",
            )
        headers["Authorization"] = endpoint.authorization
    return headers


def _attempt(endpoint: Endpoint, call: Call, deadline: float) -> Response | Exception:
    """Return the answer, or the failure where another attempt may help."""
    try:
        return exchange(call, deadline)
    except FAILURES as error:
        if is_final(error):
            raise _unreachable(endpoint, call.route, error) from None
        return error


def _checked(url: str, response: Response) -> Response:
    if 300 <= response.status < 400:  # noqa: PLR2004 - HTTP's own classes
        raise DestinationError(f"{url} redirects to {_place(response)}", "use the URL of the end")
    return response


def _place(response: Response) -> str:
    """Return where a redirect leads, without what may be secret in it."""
    try:
        parts = urlsplit(response.headers.get("Location", ""))
        host = parts.hostname or ""
    except ValueError:
        host = ""
    return f"{parts.scheme}://{host}{parts.path}" if host else "another place"


def _unreachable(endpoint: Endpoint, route: Route, error: Exception) -> DestinationError:
    reason = reason_of(error)
    limit = f" (limit {format_age(endpoint.timeout)})" if isinstance(error, TimeoutError) else ""
    through = f" through the proxy {route.proxy_place}" if route.proxy else ""
    return DestinationError(
        f"{endpoint.url} {reason.verb}{through}: {reason.words}{limit}", reason.next_step
    )


def _pauses() -> Iterator[float | None]:
    """Yield the seconds to wait after each attempt; None after the last."""
    for attempt in range(MAX_ATTEMPTS - 1):
        yield FIRST_PAUSE_SECONDS * 2**attempt * random.uniform(0.8, 1.2)  # noqa: S311
    yield None
