"""What the profile says of the connection reaches PostgreSQL: TLS, the role."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from ledgermind_obs.dbt.profiles import Profile
from ledgermind_obs.engines.postgres import workers as engine
from services.postgres import Postgres
from tests.integration.odd import PROFILES, Engines, Odd, comparable, run_sql, write_project
from tests.integration.shop import DBT
from tests.integration.tls import secured

FRESH = "create table {} as select now() as loaded_at"
SOURCES = [Odd("orders", FRESH), Odd("salaries", FRESH)]
TLS_SETTINGS = ("sslmode", "sslrootcert", "sslcert", "sslkey")
BY_HAND = ("--engine", "postgres", "--manifest", "target/manifest.json")
SETTINGS = (*TLS_SETTINGS, "role")


@pytest.fixture(scope="module")
def connected(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    """A project whose profile takes from the environment, in capitals, how it connects."""
    directory = tmp_path_factory.mktemp("connected") / "project"
    write_project(directory, SOURCES)
    lines = [f"      {name}: \"{{{{ env_var('{name.upper()}', '') }}}}\"\n" for name in SETTINGS]
    (directory / "profiles.yml").write_text(PROFILES + "".join(lines))
    postgres.start()
    database = postgres.create_database("connected")
    run_sql(database, *(source.create() for source in SOURCES))
    engines = Engines(directory, database)
    parse(engines)
    yield engines
    postgres.start()
    postgres.drop_database("connected")


def parse(engines: Engines) -> None:
    environment = {**engines.database.env(), "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    subprocess.run([DBT, "parse", "--quiet"], cwd=engines.directory, env=environment, check=True)


def check(engines: Engines, **settings: object) -> subprocess.CompletedProcess[str]:
    environment = {name.upper(): str(value) for name, value in settings.items()}
    return engines.obs("freshness", "check", *BY_HAND, **environment)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trusted") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


def server_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def told(result: subprocess.CompletedProcess[str]) -> str:
    """Return the one line that says why there was no report."""
    assert result.returncode == 3, result.stderr
    first, *advice = result.stderr.splitlines()
    assert len(advice) == 1
    return first


def test_a_server_with_the_right_certificate_is_asked_over_tls(
    connected: Engines, authority: trustme.CA, trusted: Path
) -> None:
    with secured(connected.database, server_context(authority)) as server:
        behind = replace(connected, database=server.database)
        result = check(behind, sslmode="verify-full", sslrootcert=trusted)

    assert (result.returncode, result.stderr) == (0, "")
    assert server.shown


def test_a_certificate_of_another_authority_is_refused(
    connected: Engines, authority: trustme.CA, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with secured(connected.database, server_context(authority)) as server:
        behind = replace(connected, database=server.database)
        result = check(behind, sslmode="verify-full", sslrootcert=tmp_path / "other.pem")

    assert "could not reach the database: " in told(result)
    assert "certificate verify failed" in told(result)


def test_a_certificate_of_another_host_is_refused_by_verify_full_alone(
    connected: Engines, authority: trustme.CA, trusted: Path
) -> None:
    with secured(connected.database, server_context(authority, "db.example")) as server:
        behind = replace(connected, database=server.database)
        full = check(behind, sslmode="verify-full", sslrootcert=trusted)
        authority_only = check(behind, sslmode="verify-ca", sslrootcert=trusted)

    assert '"db.example" does not match host name "127.0.0.1"' in told(full)
    assert (authority_only.returncode, authority_only.stderr) == (0, "")


def test_a_server_without_tls_is_refused_where_the_profile_requires_it(connected: Engines) -> None:
    reason = told(check(connected, sslmode="require"))

    assert "server does not support SSL, but SSL was required" in reason


def test_the_clients_certificate_is_shown_to_the_server(
    connected: Engines, authority: trustme.CA, trusted: Path, tmp_path: Path
) -> None:
    own = authority.issue_cert("obs@localhost")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    (tmp_path / "key.pem").chmod(0o600)
    tls = {"sslmode": "verify-full", "sslrootcert": trusted}
    context = server_context(authority)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    with secured(connected.database, context) as server:
        behind = replace(connected, database=server.database)
        without = check(behind, **tls)
        shown = check(behind, **tls, sslcert=tmp_path / "cert.pem", sslkey=tmp_path / "key.pem")

    assert "certificate required" in told(without)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert server.shown[0]["subjectAltName"] == (("email", "obs@localhost"),)


def test_the_role_and_the_limits_end_with_the_transaction_for_a_pooler_may_share_the_session(
    connected: Engines,
) -> None:
    database = connected.database
    names = ("host", "port", "user", "password", "dbname")
    parameters = {name: getattr(database, name) for name in names}
    profile = Profile("target test", parameters, {}, role="pg_monitor")
    session = engine.connect(profile)
    asked = "select current_user, current_setting('statement_timeout')"
    within = engine.fetch(session, asked, 5.0, 1.0, profile.role)
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute(asked)
        afterwards = cursor.fetchall()
    session.close()

    assert within == [("pg_monitor", "5s")]
    assert afterwards == [("postgres", "0")]


def test_a_role_that_is_not_granted_is_said_at_once(connected: Engines) -> None:
    assert 'could not reach the database: role "nobody" does not' in told(
        check(connected, role="nobody")
    )


def test_a_role_may_read_less_than_its_user(connected: Engines) -> None:
    database = connected.database
    run_sql(
        database,
        "create role clerk login password 'clerk'",
        'create role "Junior Clerk"; grant "Junior Clerk" to clerk',
        "grant select on orders, salaries to clerk",
        'grant select on orders to "Junior Clerk"',
    )
    as_clerk = replace(connected, database=replace(database, user="clerk", password="clerk"))
    in_role = replace(as_clerk, env={"ROLE": '"Junior Clerk"'})
    try:
        of_the_user = as_clerk.sources("postgres")
        by_dbt, by_postgres = in_role.sources("dbt"), in_role.sources("postgres")
    finally:
        run_sql(database, 'drop owned by clerk, "Junior Clerk"', 'drop role clerk, "Junior Clerk"')

    assert {name: entry["state"] for name, entry in of_the_user.items()} == {
        "orders": "pass",
        "salaries": "pass",
    }
    assert by_postgres["orders"]["state"] == "pass"
    assert by_postgres["salaries"]["state"] == "query_error"
    assert by_postgres["salaries"]["message"] == "permission denied for table salaries"
    for name in by_dbt:
        dbts, ours = comparable(by_dbt[name], by_postgres[name])
        assert ours == dbts
