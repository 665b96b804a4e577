"""One mail or a clear error, whatever a mail server does; never two."""

from __future__ import annotations

import ssl
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
import trustme

from ledgermind_obs import secrets
from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.sinks.letter import Letter, checked_address, content_of
from ledgermind_obs.sinks.mail import send
from ledgermind_obs.sinks.mail_server import Encryption, MailServer, mail_server
from tests.mail_server import Answers, Post, post

LETTER = Letter(
    "obs@example.org",
    ("team@example.org",),
    "shop prod: all 3 sources are fresh",
    "All 3 sources are fresh\n.\n.. → ü",
    "<!DOCTYPE html><p>All 3 sources are fresh → ü</p>",
)
TWO = Letter(LETTER.sender, ("a@example.org", "b@example.org"), "subject", "text", "html")
SECONDS = 0.6


def server_of(kept: Post, encryption: Encryption = Encryption.NONE, **more: object) -> MailServer:
    known = {"timeout": 5.0, **more}
    return MailServer("127.0.0.1", kept.port, encryption, **known)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def part(letter: EmailMessage, kind: str) -> str:
    found = letter.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


def test_a_letter_arrives_once_as_text_and_html() -> None:
    with post() as kept:
        send(server_of(kept), LETTER)

    (letter,) = kept.letters
    assert letter["Subject"] == LETTER.subject
    assert letter["To"] == "team@example.org"
    assert letter.get_content_type() == "multipart/alternative"
    assert part(letter, "plain") == f"{LETTER.text}\n"
    assert part(letter, "html") == f"{LETTER.html}\n"
    assert kept.connections == 1
    assert kept.said[-1].upper() == "QUIT"


REFUSALS: dict[str, tuple[Answers, str, str]] = {
    "the connection": ({"CONNECT": "554 no"}, "refused the connection: 554 no", "may send"),
    "the sender": (
        {"MAIL": "550 who?"},
        r"refused the sender obs@example.org: 550 who\?",
        "--mail-from",
    ),
    "the recipient": (
        {"RCPT": "550 5.1.1 no such user"},
        "refused the recipient team@example.org: 550 5.1.1 no such user",
        "check the addresses",
    ),
    "greylisted": (
        {"RCPT": "450 4.2.0 greylisted, come back in 300 s"},
        "450 4.2.0 greylisted, come back in 300 s",
        "later",
    ),
    "data": ({"DATA": "554 no valid recipients"}, "refused the mail: 554", "check"),
    "content": ({"BODY": "552 too large"}, "refused the mail: 552 too large", "check"),
    "full": ({"BODY": "452 disk full"}, "refused the mail: 452 disk full", "later"),
    "two lines": ({"BODY": "550-first\r\n550 second"}, "550 first second", "check"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_an_error_with_the_servers_words(name: str) -> None:
    answers, words, step = REFUSALS[name]
    with post(answers) as kept, pytest.raises(DestinationError, match=words) as raised:
        send(server_of(kept), LETTER)

    assert step in raised.value.next_step
    assert kept.letters == []
    assert kept.connections == 1


@pytest.mark.parametrize("where", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("end", [None, ""], ids=["hangs", "closes"])
def test_a_server_that_ends_before_the_letter_has_none_and_the_error_says_so(
    where: str, end: str | None
) -> None:
    began = time.monotonic()
    with post({where: end, "HELO": end}) as kept, pytest.raises(DestinationError) as raised:
        send(server_of(kept, timeout=SECONDS), LETTER)

    assert str(raised.value).startswith("the mail was not sent: 127.0.0.1:")
    assert "nothing was delivered" in raised.value.next_step
    assert kept.letters == []
    assert kept.connections == 1
    assert time.monotonic() - began < 10 * SECONDS


@pytest.mark.parametrize(
    ("end", "words"),
    [(None, "timed out"), ("", "closed the connection"), ("what?", "does not speak SMTP")],
)
def test_a_server_that_ends_after_the_letter_may_have_it_and_it_is_not_sent_again(
    end: str | None, words: str
) -> None:
    with post({"BODY": end}) as kept, pytest.raises(DestinationError, match=words) as raised:
        send(server_of(kept, timeout=SECONDS), LETTER)

    assert "it may have arrived" in raised.value.next_step
    assert kept.connections == 1
    assert len(kept.letters) <= 1


def test_answers_that_drip_end_with_the_limit() -> None:
    began = time.monotonic()
    with (
        post(drip=SECONDS / 3) as kept,
        pytest.raises(DestinationError, match="timed out"),
    ):
        send(server_of(kept, timeout=SECONDS), LETTER)

    assert kept.letters == []
    assert time.monotonic() - began < 10 * SECONDS


def test_a_server_that_does_not_say_goodbye_has_the_letter() -> None:
    with post({"QUIT": None}) as kept:
        send(server_of(kept), LETTER)

    assert len(kept.letters) == 1


def test_who_is_not_refused_gets_the_letter_and_the_error_names_who_is() -> None:
    with (
        post({"RCPT b@example.org": "550 moved away"}) as kept,
        pytest.raises(DestinationError, match=r"but not for b@example\.org: 550 moved away"),
    ):
        send(server_of(kept), TWO)

    assert kept.recipients == [["a@example.org"]]


def test_a_port_on_which_nobody_listens_is_named() -> None:
    with post() as kept:
        pass

    with pytest.raises(DestinationError, match=f"127.0.0.1:{kept.port}: Connection refused"):
        send(server_of(kept), LETTER)


def test_another_protocol_is_told() -> None:
    with (
        post({"CONNECT": "HTTP/1.1 400 Bad Request"}) as kept,
        pytest.raises(DestinationError, match="does not speak SMTP"),
    ):
        send(server_of(kept), LETTER)


@pytest.mark.parametrize("from_the_start", [False, True])
def test_a_letter_goes_encrypted_with_a_login(
    tls: ssl.SSLContext, ca_file: Path, from_the_start: bool
) -> None:
    how = Encryption.FROM_THE_START if from_the_start else Encryption.STARTTLS
    with post(tls=tls, from_the_start=from_the_start, extensions=("AUTH PLAIN",)) as kept:
        send(server_of(kept, how, ca_file=ca_file, username="me", password="tiger"), LETTER)

    assert kept.encrypted == [True]
    assert kept.logins == [("me", "tiger")]


@pytest.mark.parametrize("from_the_start", [False, True])
def test_a_certificate_that_nobody_vouches_for_gets_nothing(
    tls: ssl.SSLContext, from_the_start: bool
) -> None:
    how = Encryption.FROM_THE_START if from_the_start else Encryption.IF_OFFERED
    with (
        post(tls=tls, from_the_start=from_the_start) as kept,
        pytest.raises(DestinationError, match="cannot be trusted") as raised,
    ):
        send(server_of(kept, how), LETTER)

    assert "--smtp-ca-file" in raised.value.next_step
    assert kept.letters == []


def test_without_starttls_nothing_is_sent_not_even_the_login() -> None:
    with (
        post(extensions=("AUTH PLAIN",)) as kept,
        pytest.raises(DestinationError, match="offers no STARTTLS"),
    ):
        send(server_of(kept, Encryption.STARTTLS, username="me", password="tiger"), LETTER)

    assert (kept.letters, kept.logins) == ([], [])


def test_encryption_that_is_refused_is_no_leave_to_go_without(tls: ssl.SSLContext) -> None:
    with (
        post({"STARTTLS": "454 not now"}, tls=tls) as kept,
        pytest.raises(DestinationError, match="refused STARTTLS: 454 not now"),
    ):
        send(server_of(kept, Encryption.IF_OFFERED), LETTER)

    assert kept.letters == []


def test_a_refused_login_shows_no_password() -> None:
    secrets.register("tiger")
    with (
        post({"AUTH": "535 tiger is wrong"}, extensions=("AUTH PLAIN",)) as kept,
        pytest.raises(DestinationError, match=r"refused the login: 535 \*\*\* is wrong"),
    ):
        send(server_of(kept, username="me", password="tiger"), LETTER)


def test_a_server_without_login_is_told_apart_from_a_refusal() -> None:
    with post() as kept, pytest.raises(DestinationError, match="offers no login"):
        send(server_of(kept, username="me", password="tiger"), LETTER)


def test_no_secret_is_in_a_letter() -> None:
    secrets.register("tiger-in-the-tank")
    letter = Letter(LETTER.sender, LETTER.recipients, *["a tiger-in-the-tank"] * 3)

    assert b"tiger" not in content_of(letter)
    assert content_of(letter).count(b"***") == 3


def test_a_line_break_in_a_subject_makes_no_header() -> None:
    letter = Letter(LETTER.sender, LETTER.recipients, "a\r\nBcc: x@example.org", "t", "h")

    assert b"\r\nBcc:" not in content_of(letter)


@pytest.mark.parametrize(
    "text", ["", "team", "a b@example.org", "a@b\r\nBcc: x@y", "ü@example.org", "@x", "x@", "<a@b"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a mail address"):
        checked_address(text)


@pytest.mark.parametrize(
    ("url", "password", "port", "encryption"),
    [
        ("smtp://localhost", "", 25, Encryption.NONE),
        ("smtp://localhost", "pw", 587, Encryption.NONE),
        ("smtp://127.0.0.1:2525", "", 2525, Encryption.NONE),
        ("smtp://[::1]", "", 25, Encryption.NONE),
        ("smtp://mail.example.org", "", 25, Encryption.IF_OFFERED),
        ("smtp://mail.example.org", "pw", 587, Encryption.STARTTLS),
        ("mail.example.org", "", 587, Encryption.STARTTLS),
        ("mail.example.org:25", "", 25, Encryption.STARTTLS),
        ("smtps://mail.example.org", "pw", 465, Encryption.FROM_THE_START),
        ("smtp://localhost.example.org", "", 25, Encryption.IF_OFFERED),
    ],
)
def test_the_url_says_how_a_letter_may_travel(
    url: str, password: str, port: int, encryption: Encryption
) -> None:
    found = mail_server(url, "me" if password else "", password, None, 1.0)

    assert (found.port, found.encryption) == (port, encryption)


def test_credentials_in_a_url_are_used_and_never_shown() -> None:
    found = mail_server("smtps://me%40x:se%2Fcret@mail.example.org", "", "", None, 1.0)

    assert (found.username, found.password) == ("me@x", "se/cret")
    assert "cret" not in secrets.redact(f"{found} se/cret se%2Fcret")


@pytest.mark.parametrize(
    "url", ["", "http://mail", "smtp://", "smtp://a b", "smtp://host:port", "smtp://h/path?x"]
)
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address of a mail server"):
        mail_server(url, "", "", None, 1.0)
