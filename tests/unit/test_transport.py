import base64
import socket
import ssl
import time
from pathlib import Path

import pytest
import trustme

from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http import client
from ledgermind_obs.http.client import request
from ledgermind_obs.http.endpoint import Endpoint, Tls, basic_auth, bearer_auth, redact
from tests.unit.servers import Answer, web

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
        with pytest.raises(DestinationError, match="cannot be reached: timed out"):
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
    with web(Answer(status, headers={"Location": "https://me:secret@login.example/"})) as server:
        with pytest.raises(DestinationError, match=r"redirects to https://\*\*\*@login") as raised:
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
    with web(Answer(503)) as server:
        url = server.url.replace("http://", "http://me:p%40ss@") + "/gateway/"
        found = endpoint(url, timeout=0.1)
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
