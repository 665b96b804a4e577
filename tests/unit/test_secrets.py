import base64
import html
import json
import time
import urllib.parse
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledgermind_obs import secrets
from ledgermind_obs.dbt import profile_secrets
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.http.endpoint import Endpoint, Tls, basic_auth, bearer_auth, redact
from ledgermind_obs.render.report_html import breakable, in_ascii
from ledgermind_obs.secrets import Outflow

ODD = "pä\"ss<wö'rd>\\ %x/y+z=?&"
VALUES = ["hunter2", "table_of.secrets", "correct horse  battery", ODD, "日本🦆語"]

# How servers, libraries and documents repeat what they were given.
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64": lambda v: base64.b64encode(v.encode()).decode(),
    "base64 for URLs": lambda v: base64.urlsafe_b64encode(v.encode()).decode().rstrip("="),
    "basic authentication": lambda v: basic_auth("me", v),
    "a bearer token": bearer_auth,
    "quoted": urllib.parse.quote,
    "quoted whole": lambda v: urllib.parse.quote(v, safe=""),
    "quoted in a form": urllib.parse.quote_plus,
    "JSON": json.dumps,
    "JSON in Unicode": lambda v: json.dumps(v, ensure_ascii=False),
    "repr": repr,
    "ascii": ascii,
    "bytes": lambda v: repr(v.encode()),
    "HTML": html.escape,
    "a page in ASCII": lambda v: in_ascii(html.escape(v)),
    "a name on a page": lambda v: in_ascii(breakable(v)),
    "a message in JSON": lambda v: json.dumps({"error": f"{v!r} is wrong"}),
    "one line": lambda v: " ".join(v.split()),
    "read as Latin-1": lambda v: v.encode().decode("latin-1"),
}


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    secrets.forget()
    yield
    secrets.forget()


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))
def test_a_secret_is_hidden_in_every_way_to_repeat_it(
    way: Callable[[str], str], value: str
) -> None:
    secrets.register(value)
    repeated = way(value)

    shown = secrets.redact(f"Authorization: {repeated}; and so on")

    assert repeated not in shown
    assert value not in shown
    assert secrets.MASK in shown
    assert shown.endswith("; and so on")


@pytest.mark.parametrize("user", ["", "a", "ab", "me", "somebody"])
def test_a_password_is_hidden_in_the_base64_of_something_longer(user: str) -> None:
    secrets.register("correct-horse-battery")

    shown = secrets.redact(base64.b64encode(f"{user}:correct-horse-battery\n".encode()).decode())

    before, _, after = shown.partition(secrets.MASK)
    assert len(before) <= len(user) * 4 // 3 + 4
    assert len(after) <= 4


def test_ordinary_text_is_left_alone() -> None:
    secrets.register("hunter2")
    secrets.register(ODD)
    text = "3 sources of shop (target prod) in 0.0 s: 3 pass\n"

    assert secrets.redact(text) == text


def test_a_secret_that_is_the_projects_name_is_hidden_only_where_it_is_a_credential() -> None:
    secrets.register("shop")
    secrets.name_publicly("shop", "prod")

    assert (
        secrets.redact('{"project": "shop", "sources": 3}') == '{"project": "shop", "sources": 3}'
    )
    assert secrets.redact("password=shop host=db") == "password=*** host=db"
    assert secrets.redact("http://shop:shop@gw") == "http://shop:***@gw"
    assert secrets.redact("Authorization: Bearer shop") == "Authorization: Bearer ***"
    assert secrets.redact('{"token": "shop"}') == '{"token": "***"}'
    assert secrets.redact(basic_auth("me", "shop")) == "Basic ***"


@pytest.mark.parametrize("value", ["a", "1", "xyz", "postgres", "pass", "error"])
def test_a_short_or_common_word_does_not_blot_out_the_output(value: str) -> None:
    secrets.register(value)
    text = json.dumps({"state": "pass", "engine": "postgres", "value": 1.1, "xyz": "error a 1"})

    assert secrets.redact(text) == text
    assert secrets.redact(f"password: {value}") == "password: ***"


def passed_in_pieces(text: str, cuts: list[int]) -> str:
    flow = Outflow("utf-8", "strict")
    content = text.encode()
    places = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    pieces = [content[a:b] for a, b in pairwise(places)]
    return (b"".join(map(flow.passed, pieces)) + flow.rest()).decode()


@given(before=st.text(max_size=20), after=st.text(max_size=20), cuts=st.lists(st.integers(0, 99)))
def test_a_secret_is_hidden_wherever_the_text_is_cut_in_pieces(
    before: str, after: str, cuts: list[int]
) -> None:
    secrets.forget()
    secrets.register("sösecret-sosecret")
    secrets.register("secret-so")

    shown = passed_in_pieces(f"{before}sösecret-sosecret{after}", cuts)

    assert "secret" not in shown
    assert secrets.MASK in shown


@given(text=st.text(), cuts=st.lists(st.integers(0, 99)))
def test_what_is_no_secret_arrives_whole_wherever_it_is_cut(text: str, cuts: list[int]) -> None:
    secrets.forget()
    secrets.register("0000 1111 2222")
    assume("0000" not in text)

    assert passed_in_pieces(text, cuts) == text


def test_what_may_be_the_beginning_of_a_secret_waits_for_the_rest() -> None:
    flow = Outflow("ascii", "strict")
    secrets.register("hunter2")

    assert flow.passed(b"hun") == b""
    assert flow.passed(b"dred\nhunt") == b"hundred\n"
    assert flow.passed(b"er2") + flow.rest() == b"***"


def test_a_long_text_takes_no_longer_than_its_length_asks_for() -> None:
    for value in [*VALUES, "postgres", "x" * 3000]:
        secrets.register(value)
    line = '  "name": "app.orders", "engine": "postgres", "loaded_at": "2026-11-24T00:00:00Z",\n'

    def seconds(lines: int) -> float:
        flow, began = Outflow("utf-8", "strict"), time.perf_counter()
        for _ in range(lines):
            flow.passed(line.encode())
        flow.passed((line * lines).encode())
        return time.perf_counter() - began

    seconds(10)
    few = min(seconds(500) for _ in range(3))
    assert seconds(5000) < 40 * few


def test_nothing_is_looked_at_while_there_is_no_secret() -> None:
    data = b"hunter2"

    assert Outflow("utf-8", "strict").passed(data) is data


def told_of(url: str) -> str:
    """Return what is said of a URL: the address in it, or what is wrong with it."""
    try:
        return Endpoint.parse(url, tls=Tls(), timeout=1.0).url
    except ConfigurationError as error:
        return f"{error}\n{error.next_step}"


URL_PARTS = st.text(
    st.characters(codec="utf-8", exclude_characters="@", min_codepoint=33), min_size=4
)
NAMES = st.from_regex(r"[a-z]{2,8}", fullmatch=True)


@settings(max_examples=2 * settings().max_examples)
@given(
    scheme=st.sampled_from(
        ["http://", "https://", "HTTP://", "http:/", "https//", "http:\\\\", ""]
    ),
    user=NAMES,
    password=URL_PARTS.filter(lambda text: not text.isdigit()),
    host=NAMES,
    noise=st.lists(st.tuples(st.integers(0, 60), st.sampled_from(" /\\:@#?%[]\t\n\0é"))),
)
def test_a_broken_url_never_shows_its_password(
    scheme: str, user: str, password: str, host: str, noise: list[tuple[int, str]]
) -> None:
    assume(password not in told_of(f"@{host}") + f"{user}:9091/metrics***")
    url = f"{scheme}{user}:{password}"
    for place, sign in noise:
        url = url[: place % len(url)] + sign + url[place % len(url) :]
    url += f"@{host}:9091/metrics"

    shown = redact(url)

    assert shown.lower() in {
        *("***", "http://***", "https://***"),
        *(f"{known}***@{host}:9091/metrics" for known in ("http://", "https://")),
    }
    assert password not in told_of(url)


def remembered(profiles: str, **environ: str) -> str:
    """Return what is shown of the profile's own lines, after it was looked at."""
    profile_secrets.remember(profiles.encode(), environ)
    return secrets.redact(profiles)


@pytest.mark.parametrize(
    "setting",
    [
        "password: SWORDFISH",
        "pass: 'SWORDFISH'",
        'password: "SWORDFISH"',
        "password: !SWORDFISH",
        "password: !!SWORDFISH x",
        "password: '{{ SWORDFISH'",
        "password: ab{{SWORDFISH}",
        "password: \"{{ env_var('X', 'SWORDFISH') }}\"",
        "private_key_passphrase: SWORDFISH",
        "token: SWORDFISH # the old one",
        "aws_secret_access_key: SWORDFISH",
        "password: %SWORDFISH",
        "password: *SWORDFISH",
        "password: |\n        SWORDFISH",
        "password: [SWORDFISH",
        "password: &SWORDFISH",
        "password: #SWORDFISH",
        'password: "SWORDFISH',
        "password: SWORDFISH: x",
        "keyfile_json: {private_key: SWORDFISH}",
    ],
)
def test_what_is_secret_in_a_profile_is_known_though_the_file_is_broken(setting: str) -> None:
    profiles = (
        f"shop:\n  outputs:\n    prod:\n      type: postgres\n      {setting}\n      port: 1\n"
    )

    shown = remembered(profiles)

    assert "SWORDFISH" not in shown
    assert "SWORDFISH" not in secrets.redact("got 'SWORDFISH'")
    assert "type: postgres" in shown


def test_what_a_profile_takes_from_the_environment_is_a_secret_too() -> None:
    template = (
        "shop: {password: \"{{ env_var('DB_PASSWORD') }}\", user: \"{{ env_var('DB_USER') }}\"}"
    )

    remembered(template, DB_PASSWORD="SWORDFISH", DB_USER="reader")

    assert secrets.redact("reader SWORDFISH") == "reader ***"


def test_a_password_that_is_the_users_name_does_not_hide_the_user() -> None:
    remembered("shop: {user: reader, password: reader}")

    assert secrets.redact('role "reader" does not exist') == 'role "reader" does not exist'
