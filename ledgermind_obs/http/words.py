"""Why an exchange failed, in words of our own: those of a library hold URLs and headers."""

from __future__ import annotations

import errno
import http.client
import os
import re
import socket
import ssl
from typing import NamedTuple

from urllib3 import exceptions as urllib3

from ledgermind_obs.http.exchange import MAX_BODY_BYTES, DeadlineError, TooLargeError

_UNREACHABLE, _UNUSABLE = "cannot be reached", "gave no whole answer"
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
_NOT_THERE = "nothing listens there: start it, or correct the URL"
_CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)

FAILURES = (urllib3.HTTPError, OSError, http.client.HTTPException, TooLargeError)


class Reason(NamedTuple):
    """What a server did not do, why, and what to do next (often nothing that is known)."""

    verb: str
    words: str
    next_step: str = ""


def is_final(error: Exception) -> bool:
    """Return whether the same call would only fail in the same way again."""
    cause = _cause(error)
    untrusted = isinstance(cause, ssl.SSLError) and not isinstance(cause, _CUT)
    return untrusted or isinstance(cause, TooLargeError | urllib3.LocationValueError)


def reason_of(error: Exception) -> Reason:
    """Return why an exchange failed; nothing of the exception's own text is in it."""
    cause = _cause(error)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, _CUT):
        return _untrusted(cause)
    if isinstance(cause, TooLargeError):
        return Reason(_UNUSABLE, f"it is larger than {MAX_BODY_BYTES // 2**20} MiB")
    if isinstance(cause, urllib3.LocationValueError):
        return Reason(_UNREACHABLE, "its host name is not valid", "correct the URL")
    if isinstance(cause, TimeoutError | urllib3.TimeoutError):
        return Reason(_UNUSABLE if _was_connected(error, cause) else _UNREACHABLE, "timed out")
    if isinstance(cause, socket.gaierror):
        return Reason(_UNREACHABLE, "the host name cannot be resolved", "see whether it is right")
    return _broken(cause)


def _broken(cause: BaseException) -> Reason:
    """Return why a connection, or what came over it, was no good."""
    if isinstance(cause, http.client.RemoteDisconnected):
        return Reason(_UNUSABLE, "it closed the connection")
    if isinstance(cause, http.client.IncompleteRead | ssl.SSLError):
        return Reason(_UNUSABLE, "it was cut short")
    if isinstance(cause, OSError) and cause.errno:
        step = _NOT_THERE if cause.errno == errno.ECONNREFUSED else ""
        return Reason(_UNREACHABLE, os.strerror(cause.errno), step)
    if isinstance(cause, OSError) and (refused := _TUNNEL.match(str(cause))):
        return Reason(_UNREACHABLE, f"the proxy refuses with {refused[1]}")
    return Reason(_UNUSABLE, "it is not HTTP", "see whether the URL and its port are right")


def _untrusted(error: ssl.SSLError) -> Reason:
    if error.reason in _NO_TLS:
        return Reason(_UNREACHABLE, "there is no TLS on that port", "write http:// for https://")
    words = getattr(error, "verify_message", "") or (error.reason or "TLS failed")
    words = words.replace("_", " ").lower() if words.isupper() else words
    return Reason("cannot be trusted", words, "a private CA is given by its PEM file")


def _cause(error: BaseException) -> BaseException:
    """Return the failure that a library's wrappers are about."""
    if isinstance(error, urllib3.ProxyError):
        return _cause(error.original_error)
    if isinstance(error, urllib3.NewConnectionError) and error.__cause__:
        return error.__cause__
    inner = error.args[-1] if error.args else None
    if isinstance(error, urllib3.ProtocolError | urllib3.SSLError) and isinstance(
        inner, BaseException
    ):
        return _cause(inner)
    return error


def _was_connected(error: Exception, cause: BaseException) -> bool:
    if isinstance(cause, DeadlineError):
        return cause.connected
    return isinstance(cause, urllib3.ReadTimeoutError) or isinstance(error, urllib3.ProtocolError)
