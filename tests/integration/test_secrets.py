"""A known secret in each place, through every way that a run can end: it leaves by none of them."""

from __future__ import annotations

import base64
import html
import json
import os
import secrets
import shutil
import string
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.prometheus import Pushgateway
from services.serving import serving
from tests.integration.shop import Shop
from tests.replay import multiplied

ROOT = Path(__file__).parents[2]
OBS = str(Path(sys.executable).parent / "obs")
SECONDS = 60.0

# dbt as it may be: it says its whole environment and profile, and somebody looks at all processes.
RECORDER = """#!{python}
import json, os, subprocess, sys
import psutil
ours = [psutil.Process(os.getpid()), *psutil.Process(os.getpid()).parents()]
ours += psutil.Process(os.getppid()).children(recursive=True)
argv = [word for process in ours for word in process.cmdline()]
with open({record!r}, "a") as file:
    json.dump(argv + sys.argv, file)
if os.environ.get("DBT_SPEAKS"):
    profiles = sys.argv[sys.argv.index("--profiles-dir") + 1]
    print("Runtime Error at", open(os.path.join(profiles, "profiles.yml")).read())
    print(json.dumps({{"info": {{"name": "MainEncounteredError", "msg": repr(dict(os.environ)),
          "level": "error"}}, "data": {{"exc": repr(dict(os.environ)) + open(
          os.path.join(profiles, "profiles.yml")).read()}}}}))
    sys.exit(2)
os.execv({replay!r}, sys.argv)
"""


def new_secret() -> str:
    """Return a secret with signs that every notation treats differently."""
    letters = "".join(secrets.choice(string.ascii_letters) for _ in range(12))
    return f"{letters[:6]}\"'/+ <&{letters[6:]}=?%\\"


@dataclass
class Place:
    """Where a secret is: the environment, options and files that hold it."""

    secret: str
    env: dict[str, str] = field(default_factory=dict)
    argv: list[str] = field(default_factory=list)
    user: str = ""
    profile: str = ""
    in_url: bool = False

    def forms(self) -> set[str]:
        """Return what must be found nowhere."""
        value = self.secret
        pairs = [value, f"{self.user}:{value}"] if self.user else [value]
        coded = {base64.b64encode(pair.encode()).decode().rstrip("=") for pair in pairs}
        quoted = {urllib.parse.quote(value, safe=""), urllib.parse.quote_plus(value)}
        written = {value, json.dumps(value)[1:-1], repr(value)[1:-1], html.escape(value)}
        # A half of it is too much already.
        return coded | quoted | written | {value[:6], value[13:19]}


@dataclass
class Yard:
    """A project whose dbt replays a run, and the record of what others could see."""

    directory: Path
    record: Path

    def obs(self, place: Place, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run ``obs`` and return what it said."""
        needed = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        return subprocess.run(
            [OBS, *argv],
            cwd=self.directory,
            env={**needed, "OBS_DBT": str(self.directory / "dbt"), **place.env, **env},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def seen(self) -> str:
        """Return all that was written below the project, and the command lines of a run."""
        holders = {"profiles.yml", "secret"}
        files = [p for p in self.directory.rglob("*") if p.is_file() and p.name not in holders]
        texts = [path.read_text(errors="replace") for path in files]
        return "\n".join([*texts, self.record.read_text() if self.record.exists() else ""])


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    directory = tmp_path / "project"
    directory.mkdir()
    replay = multiplied(directory, 3).rename(directory / "replay")
    yard = Yard(directory, tmp_path / "record")
    script = RECORDER.format(python=sys.executable, record=str(yard.record), replay=str(replay))
    (directory / "dbt").write_text(script)
    (directory / "dbt").chmod(0o755)
    return yard


def token_in_variable(yard: Yard, secret: str) -> Place:
    return Place(secret, {"OBS_PUSHGATEWAY_TOKEN": secret})


def token_in_file(yard: Yard, secret: str) -> Place:
    (yard.directory / "secret").write_text(f"{secret}\n")
    return Place(secret, argv=["--pushgateway-token-file", "secret"])


def password_in_variable(yard: Yard, secret: str) -> Place:
    argv = ["--pushgateway-username", "me"]
    return Place(secret, {"OBS_PUSHGATEWAY_PASSWORD": secret}, argv, user="me")


def password_in_file(yard: Yard, secret: str) -> Place:
    (yard.directory / "secret").write_text(f"{secret}\r\n")
    argv = ["--pushgateway-username", "me", "--pushgateway-password-file", "secret"]
    return Place(secret, argv=argv, user="me")


def credentials_in_the_url(yard: Yard, secret: str) -> Place:
    return Place(secret, user="me", in_url=True)


def profile(yard: Yard, secret: str, password: str) -> Place:
    text = "lab:\n  target: production\n  outputs:\n    production:\n      type: postgres\n"
    text += f"      user: me\n      password: {password}\n      host: 127.0.0.1\n"
    (yard.directory / "profiles.yml").write_text(text)
    return Place(secret, profile=text)


def password_in_the_profile(yard: Yard, secret: str) -> Place:
    return profile(yard, secret, json.dumps(secret))


def password_for_the_profile(yard: Yard, secret: str) -> Place:
    place = profile(yard, secret, "\"{{ env_var('DB_PASSWORD') }}\"")
    place.env["DB_PASSWORD"] = secret
    return place


def secret_of_dbt(yard: Yard, secret: str) -> Place:
    return Place(secret, {"DBT_ENV_SECRET_TOKEN": secret})


PLACES = [
    *(token_in_variable, token_in_file, password_in_variable, password_in_file),
    *(credentials_in_the_url, password_in_the_profile, password_for_the_profile, secret_of_dbt),
]


@contextmanager
def echoing(status: int) -> Iterator[str]:
    """Serve refusals that repeat the whole request, as proxies do that want to help."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            said = f"{self.requestline}\n{self.headers}\n{dict(self.headers)}\n".encode()
            said += b"x" * (470 - len(said) % 400) + str(self.headers).encode() + content
            self.send_response(status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Location", f"http://elsewhere/?{self.headers.get('Authorization')}")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        do_GET = do_PUT = do_POST = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_address[1]}"


def with_credentials(url: str, place: Place) -> str:
    if not place.in_url:
        return url
    return url.replace("://", f"://me:{urllib.parse.quote(place.secret, safe='')}@")


def assert_kept(place: Place, yard: Yard, *said: str) -> None:
    seen = "\n".join([yard.seen(), *said])
    for form in place.forms():
        assert form not in seen, form


OUTPUTS = [["--format", "json"], ["--format", "table"]]


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, yard: Yard) -> Place:
    found: Place = request.param(yard, new_secret())
    return found


@pytest.mark.parametrize("output", OUTPUTS, ids=["json", "table"])
def test_a_secret_stays_where_it_is_when_all_goes_well(
    place: Place, yard: Yard, gateway: Pushgateway, output: list[str]
) -> None:
    url = with_credentials(gateway.url, place)
    argv = ["--debug", "freshness", "push", *place.argv, *output]

    result = yard.obs(place, *argv, PUSHGATEWAY_URL=url)

    assert result.returncode == 0, result.stderr
    assert_kept(place, yard, result.stdout, result.stderr, gateway.metrics())
    assert "--target-path" in yard.record.read_text()


@pytest.mark.parametrize("status", [302, 401])
def test_a_refusal_that_repeats_the_request_shows_no_secret(
    place: Place, yard: Yard, status: int
) -> None:
    with echoing(status) as url:
        argv = ["--debug", "freshness", "push", *place.argv, "--push-timeout", "1s"]
        result = yard.obs(place, *argv, PUSHGATEWAY_URL=with_credentials(url, place))

    assert result.returncode == 5, result.stderr
    assert_kept(place, yard, result.stdout, result.stderr)


def test_dbts_own_words_show_no_secret(place: Place, yard: Yard, gateway: Pushgateway) -> None:
    if not place.profile:
        outputs = "{dev: {}, production: {}}"
        (yard.directory / "profiles.yml").write_text(f"lab: {{target: dev, outputs: {outputs}}}\n")
    for target in ([], ["--target", "production"]):
        argv = ["--debug", "freshness", "push", *place.argv, *target]
        url = with_credentials(gateway.url, place)
        result = yard.obs(place, *argv, DBT_SPEAKS="1", PUSHGATEWAY_URL=url)

        assert result.returncode == 3, result.stderr
        assert_kept(place, yard, result.stdout, result.stderr, gateway.metrics())


def test_a_gateway_that_is_away_shows_no_secret(place: Place, yard: Yard) -> None:
    url = with_credentials("http://127.0.0.1:1", place)
    argv = ["--debug", "freshness", "push", *place.argv, "--push-timeout", "0.2s"]

    result = yard.obs(place, *argv, PUSHGATEWAY_URL=url)

    assert result.returncode == 5
    assert_kept(place, yard, result.stdout, result.stderr)


@pytest.mark.parametrize(
    "url",
    [
        *("http://me:{}@gw:9091", "me:{}@gw:9091", "https//me:{}@gw", "http://me:1/{}@gw"),
        *("http:\\\\me:{}@gw", "http://me:x@{}@gw", "FTP://me:{}@gw", "http://me:{}@[gw"),
    ],
)
@pytest.mark.parametrize("variable", ["PUSHGATEWAY_URL", "OBS_GATE_PROMETHEUS", "GRAFANA_URL"])
def test_a_broken_url_shows_no_secret(yard: Yard, variable: str, url: str) -> None:
    place = Place(new_secret(), user="me")
    argv = {
        "PUSHGATEWAY_URL": ["freshness", "push"],
        "OBS_GATE_PROMETHEUS": ["freshness", "check", "--exposure", "x", "--format", "json"],
        "GRAFANA_URL": ["dashboard", "diff", "dbt_project.yml"],
    }[variable]

    result = yard.obs(place, "--debug", *argv, **{variable: url.format(place.secret)})

    assert result.returncode == 2, result.stderr
    assert_kept(place, yard, result.stdout, result.stderr)


@pytest.mark.parametrize(
    "password",
    [
        *("!{}", "'{{{{ {} }}}}'", "'{{{{ {}'", '"{}', "*{}", "&{}", "%{}", "@{}", "[{}", "{{{}"),
        *("!!python/object:{}", "!!int {}", "{}: {}", "\t{}", "|\n      {}\n   x", "'{{% {} %}}'"),
    ],
)
@pytest.mark.parametrize("options", [["--target", "production"], ["--engine", "postgres"]])
def test_a_broken_profile_shows_no_secret(
    yard: Yard, gateway: Pushgateway, options: list[str], password: str
) -> None:
    word = "".join(secrets.choice(string.ascii_letters) for _ in range(17))
    place = profile(yard, word, password.format(word, word))
    (yard.directory / "dbt_project.yml").touch()
    argv = ["--debug", "freshness", "push", *options]

    result = yard.obs(place, *argv, DBT_SPEAKS="1", PUSHGATEWAY_URL=gateway.url)

    assert result.returncode in {2, 3}, result.stderr
    assert_kept(place, yard, result.stdout, result.stderr, gateway.metrics())


@pytest.mark.parametrize("status", [302, 401])
@pytest.mark.parametrize("by_file", [False, True])
def test_grafanas_and_prometheus_answers_show_no_secret(
    yard: Yard, status: int, *, by_file: bool
) -> None:
    place = Place(new_secret())
    (yard.directory / "secret").write_text(place.secret)
    shutil.copy(ROOT / "ops/grafana/dashboards/ml-source-freshness.json", yard.directory / "d.json")
    keys = (
        {} if by_file else {"GRAFANA_API_KEY": place.secret, "OBS_PROMETHEUS_TOKEN": place.secret}
    )
    named = ["--api-key-file", "secret"] if by_file else []
    token = ["--prometheus-token-file", "secret"] if by_file else []
    gate = ["--exposure", "x", "--prometheus-label", "a=b", "--manifest", "manifest.json"]
    manifest = json.loads((yard.directory / "manifest.json").read_text())
    exposure = {"unique_id": "exposure.lab.x", "name": "x", "resource_type": "exposure"}
    manifest["exposures"] = {"exposure.lab.x": {**exposure, "type": "ml"}}
    sources = list(manifest["sources"])
    manifest.setdefault("parent_map", {})["exposure.lab.x"] = sources
    manifest["exposures"]["exposure.lab.x"]["depends_on"] = {"nodes": sources}
    (yard.directory / "manifest.json").write_text(json.dumps(manifest))
    with echoing(status) as url:
        env = {**keys, "GRAFANA_URL": url, "OBS_GATE_PROMETHEUS": url, "OBS_GRAFANA_TIMEOUT": "1s"}
        for argv in (
            ["dashboard", "import", "d.json", *named],
            ["freshness", "check", "--format", "json", *gate, *token],
        ):
            result = yard.obs(place, "--debug", *argv, **env)
            assert result.returncode == 5, result.stderr
            assert_kept(place, yard, result.stdout, result.stderr)


@pytest.mark.parametrize("engine", ["dbt", "postgres"])
def test_a_wrong_password_is_refused_without_being_shown(pushed: Shop, engine: str) -> None:
    secret = new_secret()

    result = pushed.obs("--debug", "freshness", "push", "--engine", engine, PGPASSWORD=secret)

    assert result.returncode == 3
    assert "password authentication failed" in result.stderr
    files = [path for path in pushed.directory.rglob("*") if path.is_file()]
    written = [path.read_text(errors="replace") for path in files]
    seen = "\n".join([*written, result.stdout, result.stderr, pushed.gateway.metrics()])
    for form in Place(secret).forms():
        assert form not in seen, form
