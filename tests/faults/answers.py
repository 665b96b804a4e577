"""The ways in which a server can answer wrongly, by name; each is what a front does instead."""

from __future__ import annotations

import functools
import gzip
import re
import time
import zlib
from collections.abc import Callable

from tests.faults.front import Action, Exchange, Reply

HTML = (("Content-Type", "text/html; charset=utf-8"),)
JSON = (("Content-Type", "application/json"),)
PLAIN = (("Content-Type", "text/plain; version=0.0.4; charset=utf-8"),)
LOGIN = b"<!doctype html><html><title>Sign in</title><form method=post></form></html>"
XHTML = b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><p>Hello</p></html>'
MEGABYTE = b"x" * (1 << 20)
DAY_SECONDS = 86_400.0

_SAMPLE = re.compile(
    rb"^(dbt_source_loaded_at_seconds|dbt_source_checked_at_seconds)(\{[^}]*\}) (\S+)$",
    re.MULTILINE,
)


def says(
    body: bytes = b"", status: str = "200 OK", headers: tuple[tuple[str, str], ...] = PLAIN
) -> Action:
    """Return the action that answers so and does not ask the real server."""
    return lambda exchange: exchange.send(bytes(Reply(body, status, headers)))


def changed(change: Callable[[Reply], Reply]) -> Action:
    """Return the action that relays the real answer, changed."""
    return lambda exchange: exchange.send(bytes(change(exchange.forward())))


def rewritten(rewrite: Callable[[bytes], bytes]) -> Action:
    """Return the action that relays the real answer with another body."""
    return changed(lambda reply: Reply(rewrite(reply.body), reply.status, reply.headers))


def with_status(status: str) -> Action:
    """Return the action that relays the real body under another status."""
    return changed(lambda reply: Reply(reply.body, status, reply.headers))


def with_type(kind: str) -> Action:
    """Return the action that relays the real body as another type."""
    return changed(lambda reply: Reply(reply.body, reply.status, (("Content-Type", kind),)))


# Transport.


def reset(exchange: Exchange) -> None:
    """Reset the connection instead of an answer."""
    exchange.reset()


def close(_: Exchange) -> None:
    """Close the connection instead of an answer."""


def silence(exchange: Exchange) -> None:
    """Never answer."""
    exchange.hold()


def cut(where: Callable[[bytes], int]) -> Action:
    """Return the action that sends the beginning of the real answer and closes."""

    def action(exchange: Exchange) -> None:
        content = bytes(exchange.forward())
        exchange.send(content[: where(content)])

    return action


def stalled(where: Callable[[bytes], int]) -> Action:
    """Return the action that sends the beginning of the real answer and then nothing."""

    def action(exchange: Exchange) -> None:
        content = bytes(exchange.forward())
        exchange.send(content[: where(content)])
        exchange.hold()

    return action


def end_of_head(content: bytes) -> int:
    """Return how long status line and headers are."""
    return content.index(b"\r\n\r\n") + 4


def half_of_body(content: bytes) -> int:
    """Return where the middle of the body is."""
    return (end_of_head(content) + len(content)) // 2


def unsized(exchange: Exchange) -> None:
    """Say no length, and close in the middle of the body."""
    reply = exchange.forward()
    exchange.send(reply.head("Connection: close") + reply.body[: len(reply.body) // 2])


def unsized_at_a_line(exchange: Exchange) -> None:
    """Say no length, and close at the end of a line."""
    reply = exchange.forward()
    lines = reply.body.splitlines(keepends=True)
    exchange.send(reply.head("Connection: close") + b"".join(lines[: len(lines) // 2]))


def untold(exchange: Exchange) -> None:
    """Say no length, and send all of the body: nobody can know that it is all."""
    reply = exchange.forward()
    exchange.send(reply.head("Connection: close") + reply.body)


def half_in_chunks(exchange: Exchange) -> None:
    """Send half of the body in chunks, and never the last one."""
    reply = exchange.forward()
    half = reply.body[: len(reply.body) // 2] or b"x"
    exchange.send(reply.head("Transfer-Encoding: chunked") + b"%x\r\n%s\r\n" % (len(half), half))


def odd_chunks(exchange: Exchange) -> None:
    """Send a chunk whose size is no number."""
    reply = exchange.forward()
    exchange.send(reply.head("Transfer-Encoding: chunked") + b"zz\r\n" + reply.body)


def sized(difference: int) -> Action:
    """Return the action that says a length that is off by ``difference``, and closes."""

    def action(exchange: Exchange) -> None:
        reply = exchange.forward()
        length = max(0, len(reply.body) + difference)
        exchange.send(reply.head(f"Content-Length: {length}") + reply.body)

    return action


def sized_twice(exchange: Exchange) -> None:
    """Say two lengths."""
    reply = exchange.forward()
    lengths = (f"Content-Length: {len(reply.body)}", "Content-Length: 7")
    exchange.send(reply.head(*lengths) + reply.body)


def dripping_head(exchange: Exchange) -> None:
    """Send headers a byte at a time, without end."""
    exchange.drip(Reply().head("X-Slow: " + "x" * 10_000))


def dripping_body(exchange: Exchange) -> None:
    """Send the body a byte at a time; it is long."""
    exchange.send(Reply().head("Content-Length: 100000"))
    exchange.drip(b"#" * 100_000)


def dripping_chunks(exchange: Exchange) -> None:
    """Send chunks of one byte, slowly and without end."""
    exchange.send(Reply().head("Transfer-Encoding: chunked"))
    while not exchange.gone():
        exchange.send(b"1\r\n#\r\n")


def endless_continue(exchange: Exchange) -> None:
    """Say ``100 Continue`` for ever."""
    while not exchange.gone():
        exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n")


def one_continue(exchange: Exchange) -> None:
    """Say ``100 Continue`` once, then answer."""
    exchange.send(b"HTTP/1.1 100 Continue\r\n\r\n" + bytes(exchange.forward()))


def endless_headers(exchange: Exchange) -> None:
    """Send headers without end."""
    exchange.send(b"HTTP/1.1 200 OK\r\n")
    exchange.repeat(b"X-More: and more\r\n" * 1000)


def endless_header(exchange: Exchange) -> None:
    """Send one header without end."""
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    exchange.repeat(MEGABYTE)


def endless_status(exchange: Exchange) -> None:
    """Send a status line without end."""
    exchange.repeat(b"HTTP/1.1 200 " + MEGABYTE)


def endless_body(exchange: Exchange) -> None:
    """Send a body without end."""
    exchange.send(Reply().head("Connection: close"))
    exchange.repeat(b"# nothing new\n" * 70_000)


def endless_chunks(exchange: Exchange) -> None:
    """Send chunks without end."""
    exchange.send(Reply().head("Transfer-Encoding: chunked"))
    exchange.repeat(b"100000\r\n" + MEGABYTE + b"\r\n")


def huge_length(exchange: Exchange) -> None:
    """Announce a terabyte, send a little of it, and wait."""
    exchange.send(Reply().head("Content-Length: 1000000000000") + b"# soon\n")
    exchange.hold()


def raw(content: bytes) -> Action:
    """Return the action that sends these bytes, whatever they are."""
    return lambda exchange: exchange.send(content)


def echo(status: str) -> Action:
    """Return the action that sends the request back, headers and all."""

    def action(exchange: Exchange) -> None:
        body = exchange.request.head + b"\n" + exchange.request.body
        exchange.send(bytes(Reply(body, status, PLAIN)))

    return action


# Encodings.


def zipped(encode: Callable[[bytes], bytes], name: str) -> Action:
    """Return the action that relays the body in an encoding nobody asked for."""
    return changed(
        lambda reply: Reply(
            encode(reply.body), reply.status, (*reply.headers, ("Content-Encoding", name))
        )
    )


def bomb(exchange: Exchange) -> None:
    """Answer with half a megabyte that unpacks to half a gigabyte."""
    packed = _packed_nothing()
    exchange.send(bytes(Reply(packed, "200 OK", (*PLAIN, ("Content-Encoding", "gzip")))))


@functools.cache
def _packed_nothing() -> bytes:
    """Return it, made in pieces: what this process takes, its children seem to have taken."""
    packer = zlib.compressobj(wbits=31)
    pieces = [packer.compress(b"#" * len(MEGABYTE)) for _ in range(512)]
    return b"".join([*pieces, packer.flush()])


# Another answer than the true one, in the gateway's own form.


def without_group(body: bytes) -> bytes:
    """Return the metrics of a replica that has not had our push."""
    lines = body.splitlines(keepends=True)
    return b"".join(line for line in lines if b'project="shop"' not in line)


def of_another_project(body: bytes) -> bytes:
    """Return our series as another project's."""
    return body.replace(b'project="shop"', b'project="shed"')


def a_day_ago(body: bytes) -> bytes:
    """Return what a cache would have kept from yesterday."""
    return _each_time(body, lambda value: value - DAY_SECONDS)


def times(number: bytes) -> Callable[[bytes], bytes]:
    """Return the rewriting that makes this of every source's times."""
    return lambda body: _SAMPLE.sub(rb"\1\2 " + number, body)


def a_day_ahead(body: bytes) -> bytes:
    """Return times that have not come yet."""
    return _each_time(body, lambda value: value + DAY_SECONDS)


def doubled(body: bytes) -> bytes:
    """Return each source's times twice, once true and once a day back."""
    return _SAMPLE.sub(
        lambda found: (
            found[0] + b"\n" + found[1] + found[2] + b" %r" % (float(found[3]) - DAY_SECONDS)
        ),
        body,
    )


def with_timestamps(body: bytes) -> bytes:
    """Return each time with the moment of a sample from yesterday."""
    moment = b" %d" % ((time.time() - DAY_SECONDS) * 1000)
    return _SAMPLE.sub(lambda found: found[0] + moment, body)


def first_half(body: bytes) -> bytes:
    """Return the first half of the lines, with a length that fits."""
    lines = body.splitlines(keepends=True)
    return b"".join(lines[: len(lines) // 2])


def without_times(body: bytes) -> bytes:
    """Return everything but the sources' times."""
    return _SAMPLE.sub(b"", body)


def without(name: bytes) -> Callable[[bytes], bytes]:
    """Return the rewriting that leaves a metric out."""
    return lambda body: b"".join(
        line for line in body.splitlines(keepends=True) if not line.startswith(name)
    )


def _each_time(body: bytes, change: Callable[[float], float]) -> bytes:
    return _SAMPLE.sub(
        lambda found: found[1] + found[2] + b" %r" % change(float(found[3])),
        body,
    )


# After the real server has done what it was asked.


def applied_then(action: Action) -> Action:
    """Return the action that lets the real server do it, then answers otherwise."""

    def both(exchange: Exchange) -> None:
        exchange.forward()
        action(exchange)

    return both


def applied_twice(exchange: Exchange) -> None:
    """Let the real server do it twice."""
    exchange.forward()
    exchange.send(bytes(exchange.forward()))


TRANSPORT: dict[str, Action] = {
    "reset": reset,
    "closed": close,
    "silence": silence,
    "cut in the status line": cut(lambda _: 7),
    "cut in the headers": cut(lambda _: 30),
    "stalled in the status line": stalled(lambda _: 7),
    "stalled in the headers": stalled(lambda _: 30),
    "chunk size is no number": odd_chunks,
    "dripping headers": dripping_head,
    "dripping body": dripping_body,
    "dripping chunks": dripping_chunks,
    "100 Continue for ever": endless_continue,
    "endless status line": endless_status,
    "endless headers": endless_headers,
    "endless header": endless_header,
    "endless body": endless_body,
    "endless chunks": endless_chunks,
    "a terabyte announced": huge_length,
    "two lengths": sized_twice,
    "length too long": sized(+100),
    "no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "status is no number": raw(b"HTTP/1.1 OK fine\r\n\r\n"),
    "status 999": raw(b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"),
    "status 099": raw(b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n"),
    "TLS": raw(b"\x15\x03\x01\x00\x02\x02\x46"),
    "zeros": raw(b"\x00" * 500),
}

# Of an answer that has a body; a PUT's has none.
CUT_BODY: dict[str, Action] = {
    "cut before the body": cut(end_of_head),
    "cut after one byte": cut(lambda content: end_of_head(content) + 1),
    "cut in the middle": cut(half_of_body),
    "cut before the last byte": cut(lambda content: len(content) - 1),
    "stalled in the middle": stalled(half_of_body),
    "no length, cut in a line": unsized,
    "no length, cut after a line": unsized_at_a_line,
    "chunks without the last": half_in_chunks,
    "length too short": sized(-500),
}

STATUSES: dict[str, Action] = {
    "200 OK in words": says(b"OK"),
    "200 JSON": says(b'{"status":"success"}', headers=JSON),
    "200 login page": says(LOGIN, headers=HTML),
    "200 XHTML": says(XHTML, headers=(("Content-Type", "application/xhtml+xml"),)),
    "200 login page as text": says(LOGIN),
    "201": says(b"", "201 Created"),
    "203": says(b"", "203 Non-Authoritative Information"),
    "204": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "205": says(b"", "205 Reset Content"),
    "206": says(b"", "206 Partial Content"),
    "207": says(b"", "207 Multi-Status"),
    "300": says(b"", "300 Multiple Choices"),
    "301": says(b"", "301 Moved", (("Location", "http://127.0.0.1:9/elsewhere"),)),
    "302": says(b"", "302 Found", (("Location", "/login"),)),
    "303": says(b"", "303 See Other", (("Location", "/login"),)),
    "304": raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "307": says(b"", "307 Temporary Redirect", (("Location", "/other"),)),
    "308": says(b"", "308 Permanent Redirect", (("Location", "//127.0.0.1:9/x"),)),
    "308 without a place": says(b"", "308 Permanent Redirect"),
    "400": says(b"pushed metrics are invalid", "400 Bad Request"),
    "401": says(b"", "401 Unauthorized", (("WWW-Authenticate", 'Basic realm="x"'),)),
    "403": says(LOGIN, "403 Forbidden", HTML),
    "404": says(b"404 page not found\n", "404 Not Found"),
    "405": says(b"", "405 Method Not Allowed", (("Allow", "GET"),)),
    "407": says(b"", "407 Proxy Authentication Required"),
    "408": says(b"", "408 Request Timeout"),
    "409": says(b"", "409 Conflict"),
    "413": says(b"", "413 Content Too Large"),
    "418": says(b"short and stout", "418 I'm a teapot"),
    "429": says(b"", "429 Too Many Requests"),
    "429, wait a year": says(b"", "429 Too Many Requests", (("Retry-After", "31536000"),)),
    "500": says(b"panic: runtime error", "500 Internal Server Error"),
    "501": says(b"", "501 Not Implemented"),
    "502": says(b"<html>Bad Gateway</html>", "502 Bad Gateway", HTML),
    "503": says(b"", "503 Service Unavailable"),
    "503, wait a second": says(b"", "503 Service Unavailable", (("Retry-After", "1"),)),
    "503, wait till 2099": says(
        b"", "503 Unavailable", (("Retry-After", "Fri, 31 Dec 2099 23:59:59 GMT"),)
    ),
    "503, wait for what": says(b"", "503 Unavailable", (("Retry-After", "soon"),)),
    "503, wait without end": says(b"", "503 Unavailable", (("Retry-After", "1e400"),)),
    "504": says(b"", "504 Gateway Timeout"),
    "511": says(LOGIN, "511 Network Authentication Required", HTML),
    "200, the request echoed": echo("200 OK"),
    "400, the request echoed": echo("400 Bad Request"),
    "500, the request echoed": echo("500 Internal Server Error"),
    "a bomb": bomb,
}

# Answers with content that is not to be believed, whatever is remembered.
UNPROVEN: dict[str, Action] = {
    "200 with nothing": says(b""),
    "no length": untold,
    "201, the true body": with_status("201 Created"),
    "202, the true body": with_status("202 Accepted"),
    "203, the true body": with_status("203 Non-Authoritative Information"),
    "206, half of the body": changed(
        lambda reply: Reply(first_half(reply.body), "206 Partial Content", reply.headers)
    ),
    "half, as if whole": changed(
        lambda reply: Reply(without(b"pushgateway_")(first_half(reply.body)), "200 OK", PLAIN)
    ),
    "gzip": zipped(gzip.compress, "gzip"),
    "deflate": zipped(zlib.compress, "deflate"),
    "gzip that is none": zipped(lambda body: body, "gzip"),
    "unknown encoding": zipped(lambda body: body, "br"),
    "as HTML": with_type("text/html"),
    "as JSON": with_type("application/json"),
    "as bytes": with_type("application/octet-stream"),
    "in UTF-16": changed(
        lambda reply: Reply(
            reply.body.decode().encode("utf-16"), "200 OK", (("Content-Type", "text/plain"),)
        )
    ),
    "not a gateway's metrics": rewritten(
        lambda body: without(b"push_")(without(b"pushgateway_")(without_group(body)))
    ),
    "NaN": rewritten(times(b"NaN")),
    "+Inf": rewritten(times(b"+Inf")),
    "-Inf": rewritten(times(b"-Inf")),
    "no number": rewritten(times(b"yesterday")),
    "1e300": rewritten(times(b"1e+300")),
    "negative": rewritten(times(b"-1.5")),
    "a day ahead": rewritten(a_day_ahead),
    "each time twice": rewritten(doubled),
}

# Whole and plain answers of a gateway, which only a memory shows to be of another moment or place.
FOREIGN: dict[str, Action] = {
    "another, empty replica": rewritten(without_group),
    "another project's group": rewritten(of_another_project),
    "a cache of yesterday": rewritten(a_day_ago),
    "no times": rewritten(without_times),
    "zero": rewritten(times(b"0")),
    "one cut number": rewritten(times(b"1.79")),
}

# The gateway has done it, and the answer does not say so.
APPLIED: dict[str, Action] = {
    "applied, then reset": applied_then(reset),
    "applied, then closed": applied_then(close),
    "applied, then silence": applied_then(silence),
    "applied, then 500": applied_then(says(b"", "500 Internal Server Error")),
    "applied, then 502": applied_then(says(LOGIN, "502 Bad Gateway", HTML)),
    "applied, then cut": applied_then(raw(b"HTTP/1.1 20")),
    "applied, then a login page": applied_then(says(LOGIN, headers=HTML)),
    "applied, then 302": applied_then(says(b"", "302 Found", (("Location", "/"),))),
}

# Odd, and right.
HARMLESS: dict[str, Action] = {
    "one 100 Continue": one_continue,
    "applied twice": applied_twice,
}
