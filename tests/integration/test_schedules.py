"""The schedules' own commands, run with their own environment, on the warehouse and a gateway."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from demo.data import Demo, load
from ledgermind_obs import metrics
from ledgermind_obs.sinks.exposition import parse_exposition
from services.binaries import find
from services.postgres import Postgres
from services.prometheus import Pushgateway
from tests import schedules
from tests.schedules import OPS, ROOT, Job, systemd_job
from tests.unit.servers import Answer, web

GROUP = {"job": "dbt-freshness", "project": "ledgermind", "target": "prod"}
TOKEN = "a-token-of-the-gateway"
LEAST_EXPOSURE = 20  # a tenth of a point each; 1.4 when this was written


@dataclass
class Host:
    """A host on which the schedules are installed, in a directory."""

    root: Path
    database: Postgres
    gateway: Pushgateway

    @property
    def places(self) -> dict[str, Path | str]:
        return {
            "/opt/obs/bin": Path(sys.executable).parent,
            "/etc/obs": self.root / "etc",
            "/app/warehouse": self.root / "warehouse",
            "/var/lib/obs": self.root / "var",
            "/run/secrets/obs": self.root / "secrets",
            schedules.CREDENTIALS: self.root / "secrets",
        }

    @property
    def values(self) -> dict[str, str]:
        """The settings that an operator changes."""
        found = {**self.database.env(), "PUSHGATEWAY_URL": self.gateway.url}
        del found["PGPASSWORD"]  # a secret, and therefore in a file
        return found

    def install(self) -> None:
        shutil.copytree(
            ROOT / "warehouse",
            self.root / "warehouse",
            ignore=shutil.ignore_patterns("target", "logs"),
        )
        for name in ("etc", "secrets", "var"):
            (self.root / name).mkdir()
        self.write_settings(self.values)
        db = self.database
        pgpass = self.root / "etc/pgpass"
        pgpass.touch(0o600)
        pgpass.write_text(f"{db.host}:{db.port}:*:{db.user}:{db.password}\n")
        (self.root / "etc/pushgateway-token").write_text(TOKEN + "\n")
        (self.root / "secrets/postgres-password").write_text(db.password + "\n")
        (self.root / "secrets/pushgateway-token").write_text(TOKEN + "\n")

    def write_settings(self, values: dict[str, str]) -> None:
        shipped = schedules.settings((OPS / "obs.env").read_text())
        assert values.keys() <= shipped.keys()
        lines = {**shipped, **values}.items()
        text = "".join(f"{name}={value}\n" for name, value in lines)
        (self.root / "etc/obs.env").write_text(schedules.moved(text, self.places))

    def run(self, job: Job, **values: str) -> subprocess.CompletedProcess[str]:
        return schedules.run(job, self.places, {**self.values, **values})

    def sql(self, statement: str) -> None:
        session = self.database.connect()
        try:
            with session, session.cursor() as cursor:
                cursor.execute(statement)
        finally:
            session.close()

    def pushed(self) -> dict[str, float]:
        """Return the time of each table's newest row that the gateway serves."""
        series = parse_exposition(self.gateway.metrics().encode(), GROUP)
        return {s.label_values[2]: s.value for s in series if s.metric == metrics.LOADED_AT}


@pytest.fixture
def host(tmp_path: Path, database: Postgres, gateway: Pushgateway) -> Iterator[Host]:
    host = Host(tmp_path, database, gateway)
    host.install()
    session = database.connect()
    try:
        load(session, Demo(transactions=500))
    finally:
        session.close()
    yield host
    # Nothing is written into the project, so that it may be read-only.
    assert schedules.listing(tmp_path / "warehouse") == {
        name
        for name in schedules.listing(ROOT / "warehouse")
        if not name.startswith(("target/", "logs/"))
    }


def cron_job(name: str, text: str = (OPS / "cron/obs").read_text()) -> Job:
    return schedules.cron_jobs(text)[name]


TABLES = {"transactions", "transaction_labels", "ml_features"}


def test_the_cron_line_pushes_and_says_nothing(host: Host) -> None:
    result = host.run(cron_job("push"))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert host.pushed().keys() == TABLES


def test_the_daily_cron_line_prints_the_report_that_cron_mails(host: Host) -> None:
    result = host.run(cron_job("report"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "app.transaction_labels" in result.stdout
    assert host.pushed() == {}


def test_a_run_that_finds_another_one_at_work_waits_for_it(host: Host) -> None:
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: host.run(cron_job("push")), range(2)))
    assert [(r.returncode, r.stderr) for r in results] == [(0, ""), (0, "")]


def test_a_cron_line_without_its_settings_says_so_and_pushes_nothing(host: Host) -> None:
    (host.root / "etc/obs.env").unlink()
    result = host.run(cron_job("push"))
    assert result.returncode != 0
    assert "obs.env" in result.stderr
    assert host.pushed() == {}


def test_the_gateway_s_token_comes_from_its_file(host: Host) -> None:
    line = "#OBS_PUSHGATEWAY_TOKEN_FILE="
    crontab = (OPS / "cron/obs").read_text()
    assert line in crontab
    with web(Answer(200)) as gateway:
        host.write_settings({**host.values, "PUSHGATEWAY_URL": gateway.url})
        host.run(cron_job("push", crontab.replace(line, line[1:])))
        drop_in = OPS / "systemd/pushgateway-token.conf"
        service = systemd_job("obs-freshness-push.service", drop_in)
        host.run(service, PUSHGATEWAY_URL=gateway.url)
    puts = [asked for asked in gateway.asked if asked.method == "PUT"]
    assert [put.headers["Authorization"] for put in puts] == [f"Bearer {TOKEN}"] * 2


def test_the_service_of_systemd_pushes_with_the_password_from_its_credential(host: Host) -> None:
    result = host.run(systemd_job("obs-freshness-push.service"))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert host.pushed().keys() == TABLES
    assert (host.root / "var/target/obs/prod").is_dir()


def test_a_service_without_its_credential_does_not_start_obs(host: Host) -> None:
    (host.root / "secrets/postgres-password").unlink()
    result = host.run(systemd_job("obs-freshness-push.service"))
    assert result.returncode != 0
    assert "postgres-password" in result.stderr
    assert "obs:" not in result.stderr


def test_the_daily_service_of_systemd_prints_the_report(host: Host) -> None:
    result = host.run(systemd_job("obs-freshness-report.service"))
    assert (result.returncode, result.stderr) == (0, "")
    assert "app.transaction_labels" in result.stdout


@pytest.fixture
def pod(host: Host) -> Iterator[dict[str, str]]:
    """What a pod has and a host has not: an emptyDir on the project's target directory."""
    target = host.root / "warehouse/target"
    target.mkdir()
    yield {"HOME": str(host.root / "var"), "DBT_LOG_PATH": str(host.root / "var")}
    assert schedules.listing(target)
    shutil.rmtree(target)


def containers(cron_job: str) -> dict[str, Job]:
    """Return the commands of a CronJob's containers of obs, in their order."""
    objects = schedules.kubernetes_objects()
    pod = schedules.pod_of(objects, cron_job)
    found = [*pod.get("initContainers", ()), *pod["containers"]]
    return {
        container["name"]: schedules.kubernetes_job(objects, container)
        for container in found
        if container["name"] != "training"
    }


def test_the_container_of_the_cronjob_pushes(host: Host, pod: dict[str, str]) -> None:
    result = host.run(containers("freshness-push")["push"], **pod)
    assert (result.returncode, result.stderr) == (0, "")
    assert host.pushed().keys() == TABLES


def test_the_pod_of_the_training_measures_builds_and_asks_the_gate(
    host: Host, pod: dict[str, str]
) -> None:
    jobs = containers("ml-training")
    assert list(jobs) == ["measure", "build", "gate"]
    for job in jobs.values():
        result = host.run(job, **pod)
        assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("ML training may run")


def test_the_gate_keeps_the_training_from_data_that_was_not_built(
    host: Host, pod: dict[str, str]
) -> None:
    result = host.run(containers("ml-training")["gate"], **pod)
    assert result.returncode == 1
    assert result.stdout.startswith("DO NOT RUN ML TRAINING")


def test_a_build_that_fails_is_pushed_and_ends_the_pod(host: Host, pod: dict[str, str]) -> None:
    host.sql("alter table transactions rename column amount to total")
    result = host.run(containers("ml-training")["build"], **pod)
    assert result.returncode == 1
    assert "dbt_model_build_status{" in host.gateway.metrics()


def units(directory: Path) -> list[Path]:
    """Copy the units as they are installed; return the services and timers."""
    shutil.copytree(OPS / "systemd", directory, dirs_exist_ok=True)
    token = directory / "obs-freshness-push.service.d/pushgateway-token.conf"
    token.parent.mkdir()
    (directory / token.name).rename(token)
    return sorted([*directory.glob("*.service"), *directory.glob("*.timer")])


def test_systemd_has_nothing_to_say_of_the_units(tmp_path: Path) -> None:
    files = units(tmp_path)
    assert len(files) == 4
    # Programs that are not installed here would be found missing.
    for file in files:
        file.write_text(file.read_text().replace("/opt/obs/bin", "/usr/bin"))
    result = subprocess.run(
        [find("systemd-analyze"), "verify", "--man=no", *files],
        env=schedules.systemd_libraries(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", ["obs-freshness-push.service", "obs-freshness-report.service"])
def test_systemd_finds_a_service_little_exposed(name: str, tmp_path: Path) -> None:
    units(tmp_path)
    result = subprocess.run(
        [
            *(find("systemd-analyze"), "security", "--offline=yes", "--no-pager"),
            *(f"--threshold={LEAST_EXPOSURE}", tmp_path / name),
        ],
        env=schedules.systemd_libraries(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
