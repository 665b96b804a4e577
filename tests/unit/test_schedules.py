"""The schedules' files: what they promise of time, secrets and safety."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from crontab import CronTab

from docs import make
from ledgermind_obs.durations import parse_age
from tests import schedules
from tests.command_lines import check, code_in, obs_commands
from tests.schedules import OPS, ROOT, pod_of, settings, unit

SECONDS_BETWEEN_RUNS = 900
PAGES = ("docs/schedules.md", "docs/troubleshooting.md")
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("cron", "systemd", "kubernetes", "airflow", "dagster")
    for path in (OPS / folder).rglob("*")
    if path.is_file() and path.suffix != ".pyc"
)
# The variables that the ways of running share, and where they differ by nature.
PLACES = {"DBT_TARGET_PATH", "DBT_LOG_PATH", "OBS_LOCK_TIMEOUT"}


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return schedules.kubernetes_objects()


def options() -> dict[str, click.Option]:
    """Return every option by its environment variable."""
    params = [p for c in make.commands() for p in c.command.params if isinstance(p, click.Option)]
    return {str(p.envvar): p for p in params if p.envvar}


def default_seconds(variable: str) -> float:
    return parse_age(str(options()[variable].default))


def the_longest_run(env: dict[str, str]) -> float:
    """Return the seconds of a run that uses every time limit in full."""
    limits = ("OBS_LOCK_TIMEOUT", "OBS_TIMEOUT", "OBS_PUSH_TIMEOUT")
    return sum(parse_age(env[name]) if name in env else default_seconds(name) for name in limits)


def test_cron_pushes_every_quarter_of_an_hour_and_reports_once_a_day() -> None:
    table = CronTab(tab=(OPS / "cron/obs").read_text(), user=False)
    assert [str(line.slices) for line in table] == ["*/15 * * * *", "7 8 * * *"]
    assert all(line.env["MAILTO"] for line in table)


def test_a_run_of_cron_or_systemd_ends_before_the_next_one_begins() -> None:
    longest = the_longest_run(settings((OPS / "obs.env").read_text()))
    (limit,) = unit("obs-freshness-push.service")["TimeoutStartSec"]
    assert longest < parse_age(limit.removesuffix("in")) < SECONDS_BETWEEN_RUNS


def test_the_timers_catch_up_and_do_not_all_start_in_one_second() -> None:
    for name, when in [("push", "*:0/15"), ("report", "*-*-* 08:07")]:
        timer = unit(f"obs-freshness-{name}.timer")
        assert timer["OnCalendar"] == [when]
        assert timer["Persistent"] == ["yes"]
        (delay,) = timer["RandomizedDelaySec"]
        assert parse_age(delay.removesuffix("in")) < SECONDS_BETWEEN_RUNS


@pytest.mark.parametrize("version", ["1.25", "1.28", "1.32", kubernetes_validate.latest_version()])
def test_kubernetes_knows_every_field(objects: list[dict[str, Any]], version: str) -> None:
    for found in objects:
        kubernetes_validate.validate(found, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_would_be_noticed(
    objects: list[dict[str, Any]],
) -> None:
    (job,) = [o for o in objects if o["metadata"]["name"] == "freshness-push"]
    wrong = {**job, "spec": {**job["spec"], "startingDeadline": 600}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.32", strict=True)


def test_the_cronjob_runs_alone_and_ends_before_its_next_run(
    objects: list[dict[str, Any]],
) -> None:
    (spec,) = [o["spec"] for o in objects if o["metadata"]["name"] == "freshness-push"]
    (env,) = [o["data"] for o in objects if o["kind"] == "ConfigMap"]
    assert spec["schedule"] == "*/15 * * * *"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] < SECONDS_BETWEEN_RUNS
    deadline = spec["jobTemplate"]["spec"]["activeDeadlineSeconds"]
    assert the_longest_run(env) < deadline < SECONDS_BETWEEN_RUNS


def test_a_gate_that_says_no_is_not_asked_again(objects: list[dict[str, Any]]) -> None:
    (spec,) = [o["spec"] for o in objects if o["metadata"]["name"] == "ml-training"]
    assert spec["jobTemplate"]["spec"]["backoffLimit"] == 0
    pod = pod_of(objects, "ml-training")
    assert pod["restartPolicy"] == "Never"
    assert [c["name"] for c in pod["initContainers"]][-1] == "gate"
    assert [c["name"] for c in pod["containers"]] == ["training"]


def containers_of_obs(objects: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Any]]:
    for name in ("freshness-push", "ml-training"):
        pod = pod_of(objects, name)
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            if container["name"] != "training":
                yield pod, container


def test_a_container_may_do_nothing_but_its_work(objects: list[dict[str, Any]]) -> None:
    for pod, container in containers_of_obs(objects):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert mounts["target"] == "/app/warehouse/target"
        assert "emptyDir" in volumes["target"]
        assert "secret" in volumes["secrets"]


def test_every_setting_is_known_to_obs_to_dbt_or_to_libpq(objects: list[dict[str, Any]]) -> None:
    (kubernetes,) = [o["data"] for o in objects if o["kind"] == "ConfigMap"]
    host = settings((OPS / "obs.env").read_text())
    ours = options().keys() | {"DBT_LOG_PATH", "DBT_SEND_ANONYMOUS_USAGE_STATS"}
    libpq = {"PGHOST", "PGPORT", "PGUSER", "PGDATABASE"}
    assert host.keys() <= ours | libpq
    assert host.keys() - PLACES == kubernetes.keys() - PLACES


def test_no_secret_is_in_the_environment_of_a_schedule(objects: list[dict[str, Any]]) -> None:
    names = {"PASSWORD", "TOKEN", "PGPASSWORD"}
    (kubernetes,) = [o["data"] for o in objects if o["kind"] == "ConfigMap"]
    shared = settings((OPS / "obs.env").read_text()).keys() | kubernetes.keys()
    found = shared | {v["name"] for _, c in containers_of_obs(objects) for v in c["env"]}
    assert not {name for name in found if name.split("_")[-1] in names}


@pytest.mark.parametrize("name", FILES)
def test_every_command_of_a_schedule_is_one_that_obs_takes(name: str) -> None:
    for argv in commands_in(ROOT / name):
        check(argv)


def test_the_commands_of_each_schedule_are_found() -> None:
    folders = {Path(name).parts[1] for name in FILES if list(commands_in(ROOT / name))}
    assert folders == {"cron", "systemd", "kubernetes", "airflow", "dagster"}


def commands_in(path: Path) -> list[list[str]]:
    text = path.read_text()
    if path.suffix == ".yaml":
        shells = [word for word in words_of(yaml.safe_load(text)) if "obs " in word]
    elif path.suffix == ".py":
        joined = re.sub(r'"\n\s+"', "", text)
        shells = re.findall(r"[\"']([^\n]*?obs [^\n]*?)[\"']", joined)
    elif path.suffix == ".service":
        shells = [c.split("'")[1] for c in unit(path.name)["ExecStart"]]
    else:
        shells = [line for line in text.splitlines() if not line.startswith("#")]
    return [argv for shell in shells for argv in obs_commands(shell)]


def words_of(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for part in document:
            yield from words_of(part)
    elif isinstance(document, str):
        yield document


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_one_that_obs_takes(page: str) -> None:
    found = [a for line in code_in((ROOT / page).read_text()) for a in obs_commands(line)]
    assert found
    for argv in found:
        check(argv)


@pytest.mark.parametrize(
    "wrong", ["obs freshness pusk", "obs freshness push --targt prod", "obs rules"]
)
def test_a_command_that_obs_does_not_take_would_be_noticed(wrong: str) -> None:
    (argv,) = obs_commands(f"set -a && exec {wrong} | mail")
    with pytest.raises(click.UsageError):
        check(argv)
