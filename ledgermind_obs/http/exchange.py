"""One exchange with a server by urllib3, ended at a moment whatever the server does.

urllib3 keeps lengths and TLS in check. What it does not have is here: one deadline for all of an
exchange, and a limit to the size of an answer.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from socket import SHUT_RDWR, socket
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import urllib3
from urllib3.connection import HTTPConnection

from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.http.endpoint import Tls, basic_auth
from ledgermind_obs.secrets import redact

# How long a server may be silent before the call is made again.
SILENCE_SECONDS = 10.0
# A gateway says about 25 MB of 10,000 sources; a header is limited by http.client.
MAX_BODY_BYTES = 64 * 2**20
_CHUNK_BYTES = 2**16
_WORDS_BYTES = 2**16


class Response(msgspec.Struct, frozen=True):
    """A whole answer, whatever its status.

    ``framed`` says whether it told its own length: without that, an answer that was cut looks
    whole.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    framed: bool = True

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's own classes

    @property
    def words(self) -> str:
        """The body on one line, redacted and then shortened: half a secret is not recognised."""
        text = redact(self.body[:_WORDS_BYTES].decode("utf-8", "replace"))[:4096]
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:500]

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
    def media_type(self) -> str:
        """The ``Content-Type`` without its parameters, in lower case; empty without one."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def is_html(self) -> bool:
        """Whether a web page came back: a proxy or login form answered instead of an API."""
        return self.media_type == "text/html"


class TooLargeError(Exception):
    """An answer that is larger than ``MAX_BODY_BYTES``."""


class DeadlineError(TimeoutError):
    """The moment has come; ``connected`` says whether a server had been reached by then."""

    def __init__(self, *, connected: bool) -> None:
        """Remember how far the exchange had come."""
        super().__init__()
        self.connected = connected


class Route(msgspec.Struct, frozen=True):
    """The way to a server: through which proxy, and whom to trust."""

    context: ssl.SSLContext | None = None
    proxy: str = ""
    proxy_headers: Mapping[str, str] = {}

    @property
    def proxy_place(self) -> str:
        """The proxy's host and port."""
        return urlsplit(self.proxy).netloc


class Call(msgspec.Struct, frozen=True):
    """What is sent."""

    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    route: Route


def route_to(url: str, tls: Tls) -> Route:
    """Return the way to ``url`` by ``http_proxy``, ``https_proxy`` and ``no_proxy``.

    Raises ConfigurationError for a proxy or TLS file that cannot be used.
    """
    context = _context(tls) if url.startswith("https:") else None
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or proxy_bypass(parts.netloc):
        return Route(context)
    place, headers = _proxy(f"{parts.scheme}_proxy", proxy)
    return Route(context, place, headers)


def exchange(call: Call, deadline: float) -> Response:
    """Return the answer to a call made once, at the latest at ``deadline`` (monotonic seconds).

    Raises DeadlineError, TooLargeError, or what urllib3, ssl and socket raise.
    """
    attempt = _Attempt(call, deadline)
    thread = threading.Thread(target=attempt.run, daemon=True)
    thread.start()
    try:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            raise DeadlineError(connected=attempt.is_connected)
    finally:
        attempt.end()
    return attempt.outcome()


class _Attempt:
    """One call, made in a thread of its own: looking a name up cannot be interrupted."""

    def __init__(self, call: Call, deadline: float) -> None:
        self.response: Response | None = None
        self.failure: Exception | None = None
        self._call, self._deadline = call, deadline
        self._connection: HTTPConnection | None = None
        self._socket: socket | None = None
        self._over = False

    @property
    def is_connected(self) -> bool:
        """Whether there was a connection to a server."""
        return self._socket is not None

    def outcome(self) -> Response:
        """Return the answer, or raise what came instead of it."""
        if self.response is None:
            raise self.failure or DeadlineError(connected=self.is_connected)
        return self.response

    def run(self) -> None:
        """Make the call, and keep what came of it."""
        try:
            with _manager(self._call.route) as manager:
                pool = manager.connection_from_url(self._call.url)
                pool.ConnectionCls = self._watched(pool.ConnectionCls)
                with closing(self._answer(manager)) as answer:
                    self.response = _read(answer)
        except Exception as error:
            self.failure = error

    def end(self) -> None:
        """Let nothing more be sent or received, however the bytes may drip."""
        self._over = True
        # The connection itself lets go of its socket when an answer does not tell its length, and
        # the socket is not ours yet while a proxy answers.
        sock = self._socket or (self._connection.sock if self._connection else None)
        if sock and self.response is None:
            with suppress(OSError):
                socket.shutdown(sock, SHUT_RDWR)

    def _watched(self, kind: Any) -> Any:
        """Return a class of connections that this attempt can end."""
        attempt = self

        class Watched(kind):  # type: ignore[misc]
            def connect(self) -> None:
                attempt._connection = self
                super().connect()
                attempt._socket = self.sock
                if attempt._over:
                    raise DeadlineError(connected=True)

        return Watched

    def _answer(self, manager: urllib3.PoolManager) -> urllib3.BaseHTTPResponse:
        call = self._call
        return manager.urlopen(
            call.method,
            call.url,
            body=call.body,
            headers=call.headers,
            timeout=max(0.1, min(SILENCE_SECONDS, self._deadline - time.monotonic())),
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )


def _manager(route: Route) -> urllib3.PoolManager:
    if route.proxy:
        return urllib3.ProxyManager(
            route.proxy, proxy_headers=route.proxy_headers, ssl_context=route.context
        )
    return urllib3.PoolManager(ssl_context=route.context)


def _read(answer: urllib3.BaseHTTPResponse) -> Response:
    """Return the answer with its body as it came; raises TooLargeError."""
    chunks, size = [], 0
    while chunk := answer.read(_CHUNK_BYTES):
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise TooLargeError
    headers = answer.headers
    chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
    framed = chunked or headers.get("Content-Length", "").isdigit()
    return Response(answer.status, b"".join(chunks), headers, framed)


def _proxy(variable: str, given: str) -> tuple[str, dict[str, str]]:
    """Return the proxy's URL without credentials, and the headers that carry them."""
    try:
        parts = urlsplit(given if "://" in given else f"http://{given}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        parts, port = urlsplit(""), ""
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"{variable} does not hold the URL of an HTTP proxy", f"correct it, or unset {variable}"
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    headers = {}
    if parts.username is not None:
        credentials = basic_auth(unquote(parts.username), unquote(parts.password or ""))
        headers["Proxy-Authorization"] = credentials
    return f"{parts.scheme}://{host}{port}", headers


def _context(tls: Tls) -> ssl.SSLContext:
    """Return the context; raises ConfigurationError where a file cannot be used."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file:
            # Without a word for the key OpenSSL would ask at the terminal, and wait.
            context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        files = ", ".join(str(f) for f in (tls.ca_file, tls.cert_file, tls.key_file) if f)
        words = getattr(error, "reason", None) or getattr(error, "strerror", None)
        raise ConfigurationError(
            f"cannot use the TLS files {files}: {_lower(words or 'not in PEM format')}",
            "each is a file in PEM format; the key belongs to the certificate and has no password",
        ) from None
    return context


def _lower(words: str) -> str:
    """Return OpenSSL's NAMES_LIKE_THIS as words."""
    return words.replace("_", " ").lower() if words.isupper() else words
