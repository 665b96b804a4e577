"""The schedules in ``ops``, read as cron, systemd and Kubernetes read them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from crontab import CronTab

from services.binaries import TOOLS, find, unpacked

ROOT = Path(__file__).resolve().parent.parent
OPS = ROOT / "ops"
CREDENTIALS = "/run/credentials"

# What each gives every job, whatever its file says.
CRON_GIVES = {"HOME": "/nonexistent", "LOGNAME": "obs", "USER": "obs"}
SYSTEMD_GIVES = {**CRON_GIVES, "SHELL": "/usr/sbin/nologin"}


@dataclass(frozen=True)
class Job:
    """A command and its environment, and where it finds its files in the names of the host."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


def settings(text: str) -> dict[str, str]:
    """Return the ``NAME=value`` lines of an environment file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def cron_jobs(text: str) -> dict[str, Job]:
    """Return what cron would run, by the last word of the command (push, report)."""
    table = CronTab(tab=text, user=False)
    found: dict[str, Job] = {}
    shared = {name: value for name, value in table.env.items() if not name.startswith("#")}
    for line in table:
        assert line.is_valid(), line
        assert line.user == "obs"
        assert "%" not in line.command, "cron makes a line end of it"
        env = {**CRON_GIVES, **shared, **line.env}
        found[line.command.split()[-1]] = Job((env["SHELL"], "-c", line.command), env)
    return found


def unit(name: str, *more: Path) -> dict[str, list[str]]:
    """Return the settings of a unit and its drop-ins by key; an empty value begins anew."""
    files = [OPS / "systemd" / name, *(OPS / "systemd/obs-freshness-.service.d").glob("*.conf")]
    found: dict[str, list[str]] = defaultdict(list)
    for file in [*files, *more]:
        for key, value in re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE):
            if value:
                found[key].append(value)
            else:
                found[key].clear()
    return found


def systemd_job(name: str, *drop_ins: Path) -> Job:
    """Return a service's ExecStart, with specifiers and dollars as systemd replaces them."""
    found = unit(name, *drop_ins)
    (command,) = found["ExecStart"]
    argv = [_specified(word).replace("$$", "$") for word in shlex.split(command)]
    set_here = dict(_specified(line).split("=", 1) for line in found["Environment"])
    (path,) = found["EnvironmentFile"]
    assert path == "/etc/obs/obs.env"
    from_file = settings((OPS / "obs.env").read_text())
    return Job(tuple(argv), {**SYSTEMD_GIVES, **set_here, **from_file})


def systemd_libraries() -> dict[str, str]:
    """Return the environment in which systemd's programs find their libraries."""
    if not find("systemd-analyze").is_relative_to(TOOLS):
        return dict(os.environ)
    (place,) = unpacked("libsystemd-shared").glob("usr/lib/*/systemd")
    return {**os.environ, "LD_LIBRARY_PATH": str(place)}


def _specified(text: str) -> str:
    return text.replace("%d", CREDENTIALS)


def kubernetes_objects() -> list[dict[str, Any]]:
    """Return what ``kubectl kustomize`` makes of the directory."""
    made = subprocess.run(
        [find("kubectl"), "kustomize", OPS / "kubernetes"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr) == (0, "")
    return list(yaml.safe_load_all(made.stdout))


def pod_of(objects: Sequence[dict[str, Any]], cron_job: str) -> dict[str, Any]:
    """Return the pod's specification of a CronJob."""
    (found,) = [o for o in objects if o["metadata"]["name"] == cron_job]
    pod: dict[str, Any] = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return pod


def kubernetes_job(objects: Sequence[dict[str, Any]], container: dict[str, Any]) -> Job:
    """Return what a container of obs runs, with its whole environment but the image's."""
    maps = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
    env = {"PATH": "/opt/obs/bin:/usr/local/bin:/usr/bin:/bin"}
    for source in container["envFrom"]:
        env |= maps[source["configMapRef"]["name"]]
    env |= {variable["name"]: variable["value"] for variable in container["env"]}
    return Job(tuple(container["command"]), env)


def run(
    job: Job, places: Mapping[str, Path | str], values: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a job with nothing but its own environment; ``places`` are the host's, moved.

    ``values`` are the settings that an operator changes, each of which the job has.
    """
    env = {name: moved(value, places) for name, value in job.env.items()}
    env |= {name: value for name, value in values.items() if name in env}
    return subprocess.run(
        [moved(word, places) for word in job.argv],
        cwd="/",
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def moved(text: str, places: Mapping[str, Path | str]) -> str:
    """Return a text with the host's places replaced by ours."""
    for place, ours in places.items():
        text = text.replace(place, str(ours))
    return text


def listing(directory: Path) -> set[str]:
    """Return the names of all files below a directory."""
    return {os.path.relpath(path, directory) for path in directory.rglob("*") if path.is_file()}
