import base64
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http import client, exchange
from ledgermind_obs.http.client import request
from ledgermind_obs.http.endpoint import Endpoint, Tls, basic_auth, bearer_auth, redact
from tests.unit.servers import Answer, dripped, raw, web

HTML = {"Content-Type": "text/html; charset=utf-8"}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.01)


def endpoint(
    url: str, timeout: float = 5.0, authorization: str = "", tls: Tls | None = None
) -> Endpoint:
    return Endpoint.parse(url, authorization=authorization, tls=tls or Tls(), timeout=timeout)


@pytest.mark.parametrize("status", [502, 503, 504])
def test_what_may_pass_is_tried_again(status: int) -> None:
    with web(Answer(status), Answer(status), Answer(200, b"done")) as server:
        response = request(endpoint(server.url), "PUT", "/metrics", b"x 1\n")

    assert (response.status, response.body) == (200, b"done")
    assert [asked.body for asked in server.asked] == [b"x 1\n"] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
def test_what_will_not_pass_is_asked_once_and_its_words_are_kept(status: int) -> None:
    with web(Answer(status, b"pushed metrics are\n invalid")) as server:
        response = request(endpoint(server.url), "PUT", "/metrics")

    assert (response.ok, response.words) == (False, "pushed metrics are invalid")
    assert len(server.asked) == 1


def test_retries_are_bounded() -> None:
    with web(Answer(503)) as server:
        response = request(endpoint(server.url), "GET", "/")

    assert response.status == 503
    assert len(server.asked) == client.MAX_ATTEMPTS


def test_one_deadline_holds_for_all_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.2)
    with web(Answer(503)) as server:
        began = time.monotonic()
        request(endpoint(server.url, timeout=0.5), "GET", "/")

    assert time.monotonic() - began < 1.5
    assert len(server.asked) < client.MAX_ATTEMPTS


def test_a_server_that_says_nothing_does_not_hold_the_run_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DestinationError, match=r"gave no whole answer: timed out \(limit"):
            request(endpoint(url, timeout=0.3), "GET", "/")


def test_an_address_where_nothing_listens_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(
        DestinationError, match=f"127.0.0.1:{port} cannot be reached: Connection ref"
    ):
        request(endpoint(f"http://127.0.0.1:{port}"), "GET", "/")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_a_redirect_is_refused(status: int, method: str) -> None:
    with web(
        Answer(status, headers={"Location": "https://me:secret@login.example/?token=secret"})
    ) as server:
        with pytest.raises(
            DestinationError, match=r"redirects to https://login.example/"
        ) as raised:
            request(endpoint(server.url), method, "/")

        assert "secret" not in str(raised.value)
        assert len(server.asked) == 1


def test_a_web_page_is_known_as_one() -> None:
    with web(Answer(200, b"<h1>Log in</h1>", HTML)) as server:
        assert request(endpoint(server.url), "GET", "/").is_html


@pytest.mark.parametrize(
    ("authorization", "sent"),
    [
        (basic_auth("me", "pä:ss"), "Basic " + base64.b64encode("me:pä:ss".encode()).decode()),
        (bearer_auth("token"), "Bearer token"),
    ],
)
def test_credentials_travel_in_the_authorization_header(authorization: str, sent: str) -> None:
    with web() as server:
        request(endpoint(server.url, authorization=authorization), "GET", "/")

    assert server.asked[0].headers["Authorization"] == sent


def test_credentials_in_a_url_are_used_and_never_shown() -> None:
    with web() as server:
        url = server.url.replace("http://", "http://me:p%40ss@") + "/gateway/"
        found = endpoint(url)
        request(found, "GET", "/metrics")

    assert server.asked[0].headers["Authorization"] == basic_auth("me", "p@ss")
    assert server.asked[0].path == "/gateway/metrics"
    assert "p%40ss" not in repr(found)
    assert "p@ss" not in repr(found)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@host:9091/path", "http://***@host:9091/path"),
        ("https://token@host", "https://***@host"),
        ("HTTP://me:secret@host/path?token=secret", "HTTP://***@host/path?***"),
        ("gw:9091", "gw:9091"),
        ("/login?next=secret", "/login?***"),
        ("http://host/a@b", "http://***"),
        ("http://user:pa/SECRET@gw", "http://***"),
        ("user:SECRET@gw:9091", "***"),
        ("https//user:SECRET@gw", "***"),
        ("http://user:SEC RET@gw", "http://***"),
        ("http:\\\\user:SECRET@gw", "***"),
        ("http://user:SEC@RET@gw", "http://***"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    "url",
    [
        "localhost:9091",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://a b",
        "http://h:70000",
        "",
    ],
)
def test_what_is_no_url_is_one_clear_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a"):
        endpoint(url)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


def test_a_private_ca_is_trusted_when_it_is_given(
    server_context: ssl.SSLContext, ca_file: Path
) -> None:
    with web(tls=server_context) as server:
        assert request(endpoint(server.url, tls=Tls(ca_file)), "GET", "/").ok


def test_a_certificate_of_an_unknown_authority_is_refused_at_once(
    server_context: ssl.SSLContext,
) -> None:
    with (
        web(tls=server_context) as server,
        pytest.raises(DestinationError, match="cannot be trusted: unable to get local issuer"),
    ):
        request(endpoint(server.url), "GET", "/")

    assert not server.asked


def test_a_client_certificate_is_shown_where_the_server_asks(
    authority: trustme.CA,
    server_context: ssl.SSLContext,
    ca_file: Path,
    tmp_path: Path,
) -> None:
    authority.configure_trust(server_context)
    server_context.verify_mode = ssl.CERT_REQUIRED
    client = authority.issue_cert("obs@localhost")
    client.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    client.private_key_pem.write_to_path(tmp_path / "key.pem")
    tls = Tls(ca_file, tmp_path / "cert.pem", tmp_path / "key.pem")

    with web(tls=server_context) as server:
        assert request(endpoint(server.url, tls=tls), "GET", "/").ok
        with pytest.raises(DestinationError):
            request(endpoint(server.url, tls=Tls(ca_file), timeout=0.5), "GET", "/")


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")

    with pytest.raises(ConfigurationError, match=r"cannot use the TLS files .*ca\.pem"):
        request(endpoint("https://127.0.0.1", tls=Tls(tmp_path / "ca.pem")), "GET", "/")


LIMIT = 0.8
DRIP = 0.1
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def assert_ends_at_the_limit(
    url: str, words: str, body: bytes | None = None, tls: Tls | None = None
) -> None:
    began = time.monotonic()
    with pytest.raises(DestinationError, match=words):
        request(endpoint(url, timeout=LIMIT, tls=tls), "PUT" if body else "GET", "/", body)
    assert time.monotonic() - began < LIMIT + 1


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b"HTTP/1.1 200 OK" + b" " * 1000),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (HEAD + b"\r\n", b"x"),
    ],
    ids=["status line", "header", "headers", "100 Continue", "body", "chunks", "body without end"],
)
def test_a_server_that_drips_for_ever_is_left_at_the_limit(first: bytes, then: bytes) -> None:
    with raw(dripped(first, then, DRIP)) as server:
        assert_ends_at_the_limit(server.url, "gave no whole answer: timed out")

        assert server.left.wait(5)
        assert server.connections == 1


def test_continue_without_end_as_fast_as_it_goes_is_left_at_the_limit() -> None:
    with raw(dripped(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10, 0.0)) as server:
        assert_ends_at_the_limit(server.url, "gave no whole answer: timed out")

        assert server.left.wait(5)


def test_a_body_that_drips_inside_tls_is_left_at_the_limit(
    server_context: ssl.SSLContext, ca_file: Path
) -> None:
    drip = dripped(HEAD + b"\r\n", b"x", DRIP)
    with raw(drip, tls=server_context) as server:
        assert_ends_at_the_limit(server.url, "gave no whole answer: timed out", tls=Tls(ca_file))

        assert server.left.wait(5)


def test_a_server_that_does_not_read_what_it_is_sent_is_left_at_the_limit() -> None:
    ended = threading.Event()

    def deaf(_: socket.socket) -> None:
        ended.wait(10)

    with raw(deaf, reads=False) as server:
        assert_ends_at_the_limit(server.url, "gave no whole answer: timed out", b"x" * 2**26)
        ended.set()


@pytest.mark.parametrize("said", [b"", b"\x16"])
def test_a_tls_handshake_without_end_is_left_at_the_limit(said: bytes, ca_file: Path) -> None:
    with raw(dripped(said, b"\x03\x01\x00", DRIP), reads=False) as server:
        url = server.url.replace("http:", "https:")
        words = "timed out|cannot be trusted|no TLS"
        assert_ends_at_the_limit(url, words, tls=Tls(ca_file))


def test_a_name_that_is_looked_up_for_ever_is_left_at_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = threading.Event()
    resolve = socket.getaddrinfo

    def slowly(*asked: object, **more: object) -> object:
        found.wait(10)
        return resolve(*asked, **more)  # type: ignore[arg-type]

    with web() as server:
        monkeypatch.setattr(socket, "getaddrinfo", slowly)
        assert_ends_at_the_limit(server.url, "cannot be reached: timed out")
        found.set()
        wait_for_attempts()

        assert not server.asked  # a push that was called undelivered is not sent afterwards


def wait_for_attempts() -> None:
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(5)


def answering(said: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(said)


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"Content-Length: 10\r\n\r\nx 1\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nA\r\nx 1\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nx 1\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["length", "chunk", "between chunks", "no chunk"],
)
def test_an_answer_that_is_cut_short_is_none(said: bytes) -> None:
    with (
        raw(answering(said)) as server,
        pytest.raises(DestinationError, match="gave no whole answer: it was cut short"),
    ):
        request(endpoint(server.url), "GET", "/")

    assert server.connections == client.MAX_ATTEMPTS


@pytest.mark.parametrize(
    ("said", "framed"),
    [
        (b"Content-Length: 4\r\n\r\nx 1\n", True),
        (b"Transfer-Encoding: chunked\r\n\r\n4\r\nx 1\n\r\n0\r\n\r\n", True),
        (b"\r\nx 1\n", False),
        (b"Content-Length: many\r\n\r\nx 1\n", False),
    ],
)
def test_it_is_known_whether_an_answer_told_its_length(said: bytes, framed: bool) -> None:
    with raw(answering(HEAD + said)) as server:
        response = request(endpoint(server.url), "GET", "/")

    assert (response.body, response.framed) == (b"x 1\n", framed)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "it closed the connection"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "it is not HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "it is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", "it is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "it is not HTTP"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "it is not HTTP"),
    ],
)
def test_what_does_not_speak_http_is_named(said: bytes, words: str) -> None:
    with (
        raw(answering(said)) as server,
        pytest.raises(DestinationError, match=f"gave no whole answer: {words}"),
    ):
        request(endpoint(server.url), "GET", "/")


def test_a_body_without_end_is_left_at_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "MAX_BODY_BYTES", 2**20)

    def endless(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    with raw(endless) as server:
        with pytest.raises(DestinationError, match="gave no whole answer: it is larger than"):
            request(endpoint(server.url, timeout=30), "GET", "/")
        assert server.left.wait(5)

    assert server.connections == 1


def test_nothing_is_decoded_that_was_not_asked_for() -> None:
    packed = Answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})
    with web(packed) as server:
        response = request(endpoint(server.url), "GET", "/")

    assert server.asked[0].headers["Accept-Encoding"] == "identity"
    assert (response.body, response.headers["content-encoding"]) == (b"\x1f\x8b", "gzip")


@pytest.mark.parametrize("secret", ["se\ncret", "se\rcret", "se\0cret", "sécret", "se\x7fcret"])
def test_credentials_that_no_header_can_carry_are_refused_without_being_shown(secret: str) -> None:
    with web() as server, pytest.raises(ConfigurationError, match="the credentials") as raised:
        request(endpoint(server.url, authorization=bearer_auth(secret)), "GET", "/")

    assert "cret" not in f"{raised.value!r} {raised.value.next_step} {raised.value.__context__!r}"
    assert not server.asked


def test_a_name_that_does_not_resolve_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DestinationError, match="the host name cannot be resolved"):
        request(endpoint("http://gw.example"), "GET", "/")


def test_a_proxy_carries_what_is_not_to_go_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    with web(Answer(200, b"through the proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("://", "://me:p%40ss@"))
        response = request(endpoint("http://gw.example:9091"), "PUT", "/metrics", b"x 1\n")

    asked = proxy.asked[0]
    assert response.body == b"through the proxy"
    assert (asked.path, asked.body) == ("http://gw.example:9091/metrics", b"x 1\n")
    assert asked.headers["Proxy-Authorization"] == basic_auth("me", "p@ss")


@pytest.mark.parametrize("spelt", ["127.0.0.1", "*"])
def test_no_proxy_goes_directly(monkeypatch: pytest.MonkeyPatch, spelt: str) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", spelt)
    with web() as server:
        assert request(endpoint(server.url), "GET", "/").ok


def test_a_tunnel_that_the_proxy_refuses_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch, ca_file: Path
) -> None:
    with raw(answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("://", "://me:secret@"))
        with pytest.raises(DestinationError, match="the proxy refuses with 407") as raised:
            request(endpoint("https://gw.example", tls=Tls(ca_file)), "GET", "/")

    assert f"through the proxy {proxy.url.removeprefix('http://')}" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_tunnel_that_drips_for_ever_is_left_at_the_limit(
    monkeypatch: pytest.MonkeyPatch, ca_file: Path
) -> None:
    with raw(dripped(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", DRIP)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        assert_ends_at_the_limit("https://gw.example", "timed out", tls=Tls(ca_file))
        assert proxy.left.wait(5)


@pytest.mark.parametrize("proxy", ["socks5://me:secret@h:1080", "http://", "http://h:port"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(ConfigurationError, match="http_proxy does not hold the URL") as raised:
        request(endpoint("http://gw.example"), "GET", "/")

    assert "secret" not in str(raised.value)


def test_tls_where_there_is_none_is_said(ca_file: Path) -> None:
    with web() as server, pytest.raises(DestinationError, match="there is no TLS on that port"):
        request(endpoint(server.url.replace("http:", "https:"), tls=Tls(ca_file)), "GET", "/")


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA, ca_file: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    with (
        web(tls=context) as server,
        pytest.raises(DestinationError, match="cannot be trusted: IP address mismatch"),
    ):
        request(endpoint(server.url, tls=Tls(ca_file)), "GET", "/")


def test_a_key_with_a_password_is_refused_and_asks_nobody(
    authority: trustme.CA, ca_file: Path, tmp_path: Path
) -> None:
    from cryptography.hazmat.primitives import serialization as pem

    issued = authority.issue_cert("obs@localhost")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    key = pem.load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = pem.BestAvailableEncryption(b"secret")
    form = pem.PrivateFormat.TraditionalOpenSSL
    (tmp_path / "key.pem").write_bytes(key.private_bytes(pem.Encoding.PEM, form, locked))

    with pytest.raises(ConfigurationError, match=r"cannot use the TLS files .*key\.pem"):
        request(
            endpoint(
                "https://127.0.0.1:9", tls=Tls(ca_file, tmp_path / "cert.pem", tmp_path / "key.pem")
            ),
            "GET",
            "/",
        )
