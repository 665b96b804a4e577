from pathlib import Path
from typing import Any

import pytest

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.dbt.profiles import Profile, check_target, read_profile
from ledgermind_obs.dbt.project import open_project
from ledgermind_obs.errors import ConfigurationError

LEAST = """
      type: postgres
      host: localhost
      port: 5432
      user: reader
      password: secret
      dbname: finance
      schema: public
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "dbt_project.yml").write_text("name: shop\nprofile: shop\n")
    return tmp_path


def profile(directory: Path, output: str) -> Profile:
    text = f"shop:\n  target: prod\n  outputs:\n    prod:{output}"
    (directory / "profiles.yml").write_text(text)
    return read_profile(open_project(directory))


def test_the_connection_is_dbts_but_for_its_name(directory: Path) -> None:
    found = profile(directory, LEAST)

    assert found.parameters == {
        "host": "localhost",
        "port": 5432,
        "user": "reader",
        "password": "secret",
        "dbname": "finance",
        "connect_timeout": 10,
        "application_name": "obs",
    }
    assert (found.threads, found.retries, found.role) == (1, 1, "")


def test_every_setting_of_dbts_adapter_is_followed(directory: Path) -> None:
    more = """
      threads: 4
      retries: 3
      role: analyst
      connect_timeout: 3
      keepalives_idle: 60
      search_path: "app, public"
      sslmode: verify-full
      sslcert: /c
      sslkey: /k
      sslrootcert: /ca
"""
    found = profile(directory, LEAST + more)

    assert (found.threads, found.retries, found.role) == (4, 3, "analyst")
    assert (
        dict(found.parameters).items()
        >= {
            "connect_timeout": 3,
            "keepalives_idle": 60,
            "options": "-c search_path=app,\\ public",
            "sslmode": "verify-full",
            "sslcert": "/c",
            "sslkey": "/k",
            "sslrootcert": "/ca",
        }.items()
    )


@pytest.mark.parametrize(
    ("port", "environ", "expected"),
    [
        ("{{ env_var('PORT') | int }}", "6000", 6000),
        ("{{ env_var('PORT') | as_number }}", "6000", 6000),
        ("{{ env_var('PORT', '7000') | int }}", None, 7000),
        ("{{ env_var('PORT', 7000) }}", None, 7000),
        ("{{ 5000 + 432 }}", None, 5432),
    ],
)
def test_values_are_rendered_with_the_environment(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    port: str,
    environ: str | None,
    expected: int,
) -> None:
    if environ is not None:
        monkeypatch.setenv("PORT", environ)
    found = profile(directory, LEAST.replace("port: 5432", f'port: "{port}"'))

    assert found.parameters["port"] == expected


def test_the_password_is_shown_nowhere(directory: Path) -> None:
    found = profile(directory, LEAST)

    assert "secret" not in repr(found)
    assert "password" not in found.settings


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("type: postgres", "type: snowflake", "cannot ask 'snowflake'"),
        ("host: localhost", "host: \"{{ env_var('NOT_SET_ANYWHERE') }}\"", "NOT_SET_ANYWHERE"),
        ("host: localhost", "host: \"{{ ''.__class__.__mro__ }}\"", "unsafe|cannot render"),
        ("host: localhost", "host: \"{{ var('x') }}\"", "cannot render host"),
        ("port: 5432", "port: many", "port of .* is not a whole number"),
        ("user: reader", "nobody: here", "has no user"),
        ("schema: public", "role: 'x; drop table y'", "refuses the role"),
    ],
)
def test_what_cannot_be_used_is_one_clear_error(
    directory: Path, before: str, after: str, reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        profile(directory, LEAST.replace(before, after))


def source(database: str = "finance", **fields: Any) -> Source:
    return Source("source.shop.app.orders", "orders", database=database, **fields)


@pytest.mark.parametrize(
    "declared",
    [
        source(),
        source("Finance"),
        source(schema="public", unrendered_schema="{{ target.schema }}"),
        source(schema="x", unrendered_schema="{{ var('somewhere') }}"),
        source(schema="raw_prod", unrendered_schema="raw_{{ target.name }}"),
    ],
)
def test_a_manifest_of_this_target_is_used(directory: Path, declared: Source) -> None:
    check_target(profile(directory, LEAST), [declared])


@pytest.mark.parametrize(
    "declared",
    [
        source("elsewhere"),
        source(schema="dev", unrendered_schema="{{ target.schema }}"),
        source(schema="raw_dev", unrendered_schema="raw_{{ target.name }}"),
        source(schema="x", unrendered_schema="{{ 'x' if target.name == 'dev' else 'y' }}"),
    ],
)
def test_a_manifest_of_another_target_is_refused(directory: Path, declared: Source) -> None:
    with pytest.raises(ConfigurationError, match=r"manifest\.json was not written for target prod"):
        check_target(profile(directory, LEAST), [declared])
