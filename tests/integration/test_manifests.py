"""A manifest is of this project, this target and these files, or is not used: with the real dbt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ledgermind_obs import metrics
from tests.integration.shop import DBT, SOURCES, Shop

ENGINE = ("--engine", "postgres")
STG_OF_BOTH = """\
{% if target.name == 'prod' %} select * from {{ source('app', 'payments') }} {% endif %}
select * from {{ source('app', 'orders') }}
"""
ON_PROD_ONLY = """\
      - name: payments
        config: {enabled: "{{ target.name == 'prod' }}"}
"""
EXPOSURES = """\
exposures:
  - name: training
    type: ml
    owner: {name: ML}
    depends_on: [ref('stg')]
"""


def dbt(shop: Shop, *argv: str) -> None:
    environment = {**shop.env, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    subprocess.run([DBT, *argv, "--quiet"], cwd=shop.directory, env=environment, check=True)


def write(shop: Shop, name: str, text: str) -> Path:
    path = shop.directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def loaded(shop: Shop) -> set[str]:
    return set(shop.series()[metrics.LOADED_AT])


def measured(shop: Shop, *argv: str) -> dict[str, dict[str, Any]]:
    result = shop.obs("freshness", "check", "--format", "json", *argv)
    assert result.returncode in {0, 1}, result.stderr
    return {source["table"]: source for source in json.loads(result.stdout)["sources"]}


@pytest.fixture
def counting(shop: Shop) -> Shop:
    """A shop that notes how dbt is called."""
    shop.replace_dbt('echo "$*" >> asked; exec "$DBT" "$@"')
    return shop


def asked(shop: Shop) -> list[str]:
    path = shop.directory / "asked"
    return path.read_text().splitlines() if path.exists() else []


def test_a_parse_for_another_target_erases_nothing_and_opens_nothing(shop: Shop) -> None:
    write(shop, "models/sources.yml", SOURCES + "      - name: orders\n" + ON_PROD_ONLY)
    write(shop, "models/exposures.yml", EXPOSURES)
    write(shop, "models/stg.sql", STG_OF_BOTH)
    shop.sql("update payments set loaded_at = now() - interval '30 days'")
    assert shop.push(*ENGINE).returncode == 0
    assert loaded(shop) == {"orders", "payments"}

    dbt(shop, "parse", "--target", "dev")
    pushed = shop.push(*ENGINE)
    assert (pushed.returncode, pushed.stderr) == (0, "")
    assert loaded(shop) == {"orders", "payments"}
    gate = shop.obs("freshness", "check", *ENGINE, "--exposure", "training")
    assert gate.returncode == 1
    assert "app.payments" in gate.stdout


def test_projects_that_share_a_target_path_do_not_share_a_manifest(
    shop: Shop, tmp_path: Path
) -> None:
    shared = {"DBT_TARGET_PATH": str(tmp_path / "shared")}
    other = tmp_path / "other"
    shutil.copytree(shop.directory, other, ignore=shutil.ignore_patterns("target"))
    project = other / "dbt_project.yml"
    project.write_text(project.read_text().replace("name: shop", "name: other"))
    assert shop.push(*ENGINE, **shared).returncode == 0
    known = loaded(shop)

    result = shop.push(
        *ENGINE, "--project-dir", str(other), "--exclude", "source:*.orders", **shared
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert shop.push(*ENGINE, **shared).returncode == 0
    assert loaded(shop) == known
    assert 'project="other"' in shop.gateway.metrics()


@pytest.mark.parametrize("engine", [ENGINE, ()], ids=["postgres", "dbt"])
def test_files_that_come_with_old_times_are_noticed(
    counting: Shop, engine: tuple[str, ...]
) -> None:
    path = counting.directory / "models" / "sources.yml"
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert counting.push(*engine).returncode == 0

    path.write_text(path.read_text().replace("- name: refunds", "- name: REFUNDS"))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert "REFUNDS" in measured(counting, *engine)


def test_a_checkout_that_changes_nothing_parses_nothing(counting: Shop) -> None:
    assert counting.push(*ENGINE).returncode == 0
    assert len(asked(counting)) == 1
    for path in counting.directory.glob("*.yml"):
        path.touch()
    (counting.directory / "models" / "sources.yml").touch()

    assert counting.push(*ENGINE).returncode == 0
    assert counting.obs("lineage", "search", "--name", "orders").returncode == 0
    assert len(asked(counting)) == 1


def test_a_push_by_dbt_leaves_a_manifest_that_the_other_engine_uses(counting: Shop) -> None:
    assert counting.push().returncode == 0
    assert counting.push(*ENGINE).returncode == 0

    assert [line.split()[0] for line in asked(counting)] == ["source"]


def test_half_a_manifest_is_parsed_anew_by_every_command(counting: Shop) -> None:
    write(counting, "models/exposures.yml", EXPOSURES)
    write(counting, "models/stg.sql", "select * from {{ source('app', 'orders') }}")
    assert counting.push(*ENGINE).returncode == 0
    commands = [
        ("freshness", "push", *ENGINE),
        ("freshness", "check", *ENGINE, "--exposure", "training"),
        ("freshness", "check", "--exposure", "training"),
        ("lineage", "check", "training"),
    ]
    for command in commands:
        (counting.private_target_path / "manifest.json").write_bytes(b'{"metadata": {')
        result = counting.obs(*command)
        assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in asked(counting)] == [*["parse"] * 4, "source", "parse"]


def test_without_dbt_what_is_proven_is_used_and_the_rest_is_refused_by_name(shop: Shop) -> None:
    assert shop.push(*ENGINE).returncode == 0
    without = {"OBS_DBT": "no-dbt-here"}
    assert shop.push(*ENGINE, **without).returncode == 0

    write(shop, "models/more.sql", "select 1 as x")
    result = shop.push(*ENGINE, **without)
    assert result.returncode == 2
    assert "models/more.sql changed since dbt parsed it" in result.stderr
    assert "name a manifest with --manifest" in result.stderr
    manifest = str(shop.private_target_path / "manifest.json")
    named = shop.push(*ENGINE, "--manifest", manifest, **without)
    assert named.returncode == 0
    assert "differs from the project: models/more.sql changed" in named.stderr


def test_a_named_manifest_of_another_project_measures_nothing(shop: Shop, tmp_path: Path) -> None:
    assert shop.push(*ENGINE).returncode == 0
    manifest = json.loads((shop.private_target_path / "manifest.json").read_bytes())
    manifest["metadata"]["project_name"] = "other"
    foreign = tmp_path / "manifest.json"
    foreign.write_text(json.dumps(manifest))
    result = shop.push(*ENGINE, "--manifest", str(foreign))

    assert result.returncode == 4
    assert "is of project other, not of shop" in result.stderr


def test_a_file_that_changes_while_dbt_reads_is_parsed_again(shop: Shop) -> None:
    text = (shop.directory / "models" / "sources.yml").read_text()
    write(shop, "later.yml", text.replace("- name: refunds", "- name: REFUNDS"))
    shop.replace_dbt('"$DBT" "$@"; code=$?; cat later.yml > models/sources.yml; exit $code')
    assert "refunds" in measured(shop, *ENGINE)

    assert "REFUNDS" in measured(shop, *ENGINE)


def test_a_limit_that_depends_on_the_time_of_parsing_is_never_an_old_one(counting: Shop) -> None:
    frozen = SOURCES.replace("count: 5", "count: \"{{ run_started_at.strftime('%s') | int }}\"")
    write(counting, "models/sources.yml", frozen + "      - name: orders\n")
    write(counting, "models/exposures.yml", EXPOSURES)
    write(counting, "models/stg.sql", "select * from {{ source('app', 'orders') }}")
    first, second = (measured(counting)["orders"]["error_after_seconds"] for _ in range(2))
    assert first < second
    refused = counting.push(*ENGINE)
    assert refused.returncode == 2
    assert "models/sources.yml line 9 depends on when dbt parses it" in refused.stderr
    found = counting.obs("lineage", "check", "--format", "github").stdout
    assert "file=models/sources.yml,line=9,title=L208" in found


@pytest.mark.parametrize("name", ["models/.#sources.yml", "models/gone.yml", "models/loop.sql"])
def test_a_link_that_leads_nowhere_stops_nothing_that_needs_no_dbt(shop: Shop, name: str) -> None:
    write(shop, "models/exposures.yml", EXPOSURES)
    write(shop, "models/stg.sql", "select * from {{ source('app', 'orders') }}")
    assert shop.push(*ENGINE).returncode == 0
    (shop.directory / name).symlink_to(Path(name).name)

    assert shop.push(*ENGINE).returncode == 0
    checked = shop.obs("lineage", "check", "training")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_dbts_own_checksums_say_what_differs_from_a_named_manifest(shop: Shop) -> None:
    files = {
        "models/stg.sql": "\n\n select * from {{ source('app', 'orders') }} -- größe \n\t\n",
        "models/exposures.yml": EXPOSURES,
        "seeds/countries.csv": "\ncode,name\nDE,Größe\n\n",
        "snapshots/s.sql": "{% snapshot s %}{{ config(strategy='check', unique_key='x', "
        "check_cols='all', target_schema='x') }} select 1 as x {% endsnapshot %}\n",
        "analyses/a.sql": " select 1\n",
        "tests/t.sql": " select 1 where false \n",
    }
    paths = {name: write(shop, name, text) for name, text in files.items()}
    dbt(shop, "parse")
    for path in paths.values():
        path.touch()
    named = ("lineage", "check", "--manifest", "target/manifest.json", "--format", "json")
    same = shop.obs(*named)
    assert "L402" not in same.stdout
    assert same.stderr == ""

    for name in ("models/stg.sql", "seeds/countries.csv", "snapshots/s.sql"):
        paths[name].write_text(files[name] + "-- x\n")
        differing = shop.obs(*named)
        assert "L402" in differing.stdout
        assert f"{name} changed since dbt wrote it" in differing.stderr
        paths[name].write_text(files[name])


def test_profiles_of_two_targets_have_a_manifest_each(counting: Shop) -> None:
    for target in ("prod", "dev", "prod", "dev"):
        assert counting.push(*ENGINE, "--target", target).returncode == 0

    assert len(asked(counting)) == 2
