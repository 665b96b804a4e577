"""The wheel as a stranger installs it, without the extra: there is no dbt and no psycopg2."""

import json
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay import recorded
from tests.unit.recorded import scenario

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 300

Obs = Callable[..., subprocess.CompletedProcess[str]]


def run(*argv: object) -> None:
    done = subprocess.run(
        [str(arg) for arg in argv],
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return {path.suffix: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def python(distributions: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has the wheel and its hard dependencies only."""
    environment = tmp_path_factory.mktemp("clean")
    venv.create(environment, with_pip=False)
    found = environment / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", found, "install", "--quiet")
    run(*pip, "-c", ROOT / "constraints.txt", distributions[".whl"])
    return found


@pytest.fixture
def obs(python: Path, tmp_path: Path) -> Obs:
    """Run the installed ``obs`` in an empty folder; nothing but the system is on PATH beside it."""
    env = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": str(tmp_path)}

    def call(*argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(python.parent / "obs"), *argv],
            cwd=tmp_path,
            env=env | more,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return call


def test_wheel_and_sdist_pass_twine_and_carry_what_commands_need(
    distributions: dict[str, Path],
) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", *distributions.values())
    with zipfile.ZipFile(distributions[".whl"]) as wheel:
        carried = set(wheel.namelist())
        (name,) = [name for name in carried if name.endswith("METADATA")]
        metadata = wheel.read(name).decode()
    with tarfile.open(distributions[".gz"]) as sdist:
        sources = {name.partition("/")[2] for name in sdist.getnames()}

    template = "ledgermind_obs/monitoring/shipped/dashboard.json"
    assert {template, "ledgermind_obs/py.typed"} <= carried & sources
    assert {name.split("/")[0].split("-")[0] for name in carried} == {"ledgermind_obs"}
    assert not {name for name in sources if name.startswith(("tests", "warehouse", "docs"))}
    for label in ("Homepage", "Documentation", "Changelog", "Issues"):
        assert f"Project-URL: {label}, https://" in metadata
    hard = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert not [line for line in hard if "extra ==" not in line and "dbt" in line]


def test_a_clean_environment_has_no_dbt_and_every_command_starts(obs: Obs) -> None:
    told = obs("--version")

    assert told.stdout.splitlines()[0].startswith("obs ")
    assert told.stdout.splitlines()[2] == "dbt not found on PATH"
    for command in ("freshness", "builds", "lineage", "dashboard", "rules"):
        assert obs(command, "--help").returncode == 0


def test_without_dbt_a_push_says_what_to_install(obs: Obs, tmp_path: Path) -> None:
    recorded(tmp_path, scenario("1.11", "whole")).unlink()

    failed = obs("freshness", "push", "--dry-run")

    assert failed.returncode == 3
    assert failed.stderr.splitlines()[0].startswith("obs: there is no dbt on PATH")
    assert "pip install" in failed.stderr


def test_without_psycopg2_the_postgres_engine_says_what_to_install(
    obs: Obs, tmp_path: Path
) -> None:
    recorded(tmp_path, scenario("1.11", "whole"))
    output = "{type: postgres, host: h, user: u, password: p, port: 1, dbname: DB, schema: s}"
    database = _database(tmp_path / "manifest.json")
    (tmp_path / "profiles.yml").write_text(
        f"lab: {{target: dev, outputs: {{dev: {output.replace('DB', database)}}}}}\n"
    )

    failed = obs(
        *("freshness", "push", "--dry-run", "--engine", "postgres"),
        *("--manifest", "manifest.json", "--select", "source:lab.fresh"),
    )

    assert failed.returncode == 2, failed.stderr
    assert "needs psycopg2, which is not installed" in failed.stderr
    assert "pip install 'ledgermind-obs[postgres]'" in failed.stderr


def test_the_dbt_of_another_environment_is_run_by_its_name(obs: Obs, tmp_path: Path) -> None:
    dbt = recorded(tmp_path, scenario("1.11", "whole"))

    done = obs("freshness", "push", "--textfile", "dbt.prom", "--dbt", str(dbt))

    assert done.returncode == 0, done.stderr
    assert 'table="fresh"' in (tmp_path / "dbt.prom").read_text()


def test_rules_and_dashboard_of_a_project_need_nothing_but_the_wheel(
    obs: Obs, tmp_path: Path
) -> None:
    recorded(tmp_path, scenario("1.11", "whole")).unlink()

    board = obs("dashboard", "generate", "--manifest", "manifest.json")
    rules = obs("rules", "generate", "--manifest", "manifest.json")

    assert json.loads(board.stdout)["uid"] == "dbt-freshness-lab"
    assert "alert: SourceStale" in rules.stdout
    failed = obs("dashboard", "import", GRAFANA_URL="http://127.0.0.1:1")
    assert failed.returncode == 5
    assert "http://127.0.0.1:1 cannot be reached" in failed.stderr


def _database(manifest: Path) -> str:
    sources = json.loads(manifest.read_bytes())["sources"]
    return str(sources["source.lab.lab.fresh"]["database"])
