"""``obs`` in the environments that people have: beside their dbt, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledgermind_obs.metrics import LOADED_AT
from services.prometheus import Pushgateway
from tests.integration.shop import TABLES, Shop
from tests.integration.strangers import DUCKDB_CONSTRAINTS, Stranger, stranger
from tests.integration.wheel import CONSTRAINTS, ROOT, add, install, installed, run

OLD_CONSTRAINTS = (ROOT / "tests/data/environments/dbt-1.8.txt",)
# In the form that every dbt reads since 1.8.
SOURCES = """
sources:
  - name: app
    schema: public
    loaded_at_field: loaded_at
    freshness: {warn_after: {count: 2, period: day}, error_after: {count: 5, period: day}}
    tables: [{name: orders}, {name: payments}, {name: refunds}]
"""


@dataclass(frozen=True)
class Dbt:
    """A dbt that somebody has: what they once typed to install it."""

    packages: Sequence[str]
    constraints: Sequence[Path]

    def install(self, place: Path) -> Path:
        """Install it into a new environment; return that environment's Python."""
        return install(place, *self.packages, constraints=self.constraints)


DBT_1_8 = Dbt(("dbt-core~=1.8.0", "dbt-postgres~=1.8.0"), OLD_CONSTRAINTS)
DBT_1_11 = Dbt(("dbt-core~=1.11.0", "dbt-postgres"), (CONSTRAINTS,))
DBT_ON_DUCKDB = Dbt(("dbt-core~=1.11.0", "dbt-duckdb"), DUCKDB_CONSTRAINTS)


def join(python: Path, dbt: Dbt, wheel: Path) -> None:
    """Install ``obs`` into an environment; nothing that was there may be another version now."""
    before = installed(python)
    add(python, wheel, constraints=dbt.constraints)
    assert before < installed(python)


@pytest.mark.parametrize("dbt", [DBT_1_8, DBT_1_11], ids=["dbt 1.8", "dbt 1.11"])
def test_obs_joins_a_dbt_for_postgresql_changes_nothing_of_it_and_pushes_by_it(
    dbt: Dbt, distributions: dict[str, Path], shop: Shop, tmp_path: Path
) -> None:
    python = dbt.install(tmp_path / "environment")
    join(python, dbt, distributions[".whl"])
    (shop.directory / "models/sources.yml").write_text(SOURCES)
    env = {**shop.env, "PATH": f"{python.parent}:/usr/bin:/bin"}

    for command in ("freshness push", "freshness check --max-age 3d"):
        done = subprocess.run(
            [python.parent / "obs", *command.split()], cwd=shop.directory, env=env, check=False
        )
        assert done.returncode == 0

    assert set(shop.series()[LOADED_AT]) == set(TABLES)
    assert [shop.state_of(table) for table in TABLES] == ["pass", "warn", "pass"]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has a dbt for DuckDB and no ``obs``."""
    return DBT_ON_DUCKDB.install(tmp_path_factory.mktemp("beside"))


@pytest.fixture(scope="module")
def packages(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that has all that an installer may ask for, so that it asks nobody else."""
    place = tmp_path_factory.mktemp("packages")
    wanted = (distributions[".whl"], "pip", "uv")
    run(sys.executable, "-m", "pip", "download", "-qd", place, "-c", CONSTRAINTS, *wanted)
    return place


def by_pipx(packages: Path, place: Path) -> Path:
    """Install ``obs`` as pipx does; return the folder of its commands."""
    env = {
        "PIPX_HOME": str(place / "home"),
        "PIPX_BIN_DIR": str(place / "bin"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(packages),
        "PIPX_MAN_DIR": str(place),
    }
    run(sys.executable, "-m", "pipx", "install", "--backend", "pip", "ledgermind-obs", **env)
    return place / "bin"


def by_uv(packages: Path, place: Path) -> Path:
    """Install ``obs`` as a tool of uv's; return the folder of its commands."""
    env = {
        "UV_TOOL_DIR": str(place / "tools"),
        "UV_TOOL_BIN_DIR": str(place / "bin"),
        "UV_OFFLINE": "1",
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(packages),
        "UV_PYTHON": sys.executable,
        "UV_CACHE_DIR": str(place / "cache"),
    }
    run(Path(sys.executable).parent / "uv", "tool", "install", "ledgermind-obs", **env)
    return place / "bin"


@pytest.mark.parametrize("installer", [by_pipx, by_uv], ids=["pipx", "uv"])
def test_obs_in_an_environment_of_its_own_runs_the_dbt_that_is_on_path(
    installer: Callable[[Path, Path], Path],
    packages: Path,
    beside: Path,
    gateway: Pushgateway,
    tmp_path: Path,
) -> None:
    shop = stranger("duckdb_shop", tmp_path, beside, gateway)
    shop.env["PATH"] = f"{installer(packages, tmp_path)}{os.pathsep}{shop.env['PATH']}"
    shop.sql((shop.directory / "tables.sql").read_text())

    assert_works_on(shop, beside)


def test_obs_joins_a_dbt_for_duckdb_and_needs_no_driver_of_another_warehouse(
    distributions: dict[str, Path], beside: Path, gateway: Pushgateway, tmp_path: Path
) -> None:
    join(beside, DBT_ON_DUCKDB, distributions[".whl"])
    shop = stranger("duckdb_shop", tmp_path, beside, gateway)
    shop.sql((shop.directory / "tables.sql").read_text())

    assert_works_on(shop, beside)
    assert not [name for name in installed(beside) if name.startswith(("psycopg2", "dbt-postgres"))]


def assert_works_on(shop: Stranger, python: Path) -> None:
    """Find that environment's dbt, push what it measures, and open the gate."""
    version = shop.type_in("obs --version")
    assert "with dbt-duckdb" in version
    assert f"({python.parent}/dbt)" in version
    shop.push()
    shop.type_in("obs freshness check")
    assert 'project="corner_shop"' in shop.gateway.metrics()
