"""Find the services' programs, or fetch Debian's packages of them below ``.tools/``.

That needs no root and installs nothing: unpacked programs run where they are.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".tools"

# Debian's Alertmanager opens its template here; below its working directory it finds it unpacked.
_ABSOLUTE = b"/usr/share/prometheus/alertmanager"
_RELATIVE = b"usr/share/prometheus//alertmanager"


class SetupError(Exception):
    """Something this machine lacks; the message is one sentence that says what to install."""

    exit_code = 2


@dataclass(frozen=True)
class Program:
    """A program: Debian's package of it, and the names it goes by.

    With ``suite`` it is that suite's, and PATH is asked for the name that the table gives it.
    """

    package: str
    names: tuple[str, ...]
    suite: str = ""


PROGRAMS = {
    "pushgateway": Program("prometheus-pushgateway", ("pushgateway", "prometheus-pushgateway")),
    "prometheus": Program("prometheus", ("prometheus",)),
    "promtool": Program("prometheus", ("promtool",)),
    "alertmanager": Program("prometheus-alertmanager", ("alertmanager", "prometheus-alertmanager")),
    "amtool": Program("prometheus-alertmanager", ("amtool",)),
    "alertmanager-sid": Program(
        "prometheus-alertmanager", ("alertmanager", "prometheus-alertmanager"), suite="sid"
    ),
    "postgres_exporter": Program(
        "prometheus-postgres-exporter", ("postgres_exporter", "prometheus-postgres-exporter")
    ),
    "kubectl": Program("kubernetes-client", ("kubectl",)),
    "systemd-analyze": Program("systemd", ("systemd-analyze",)),
}


def find(name: str) -> Path:
    """Return the program ``name``, fetched where need be; raise SetupError where that fails."""
    program = PROGRAMS[name]
    wanted = (name,) if program.suite else program.names
    if installed := _on_path(wanted, os.environ.get("PATH", os.defpath)):
        return installed
    home = unpacked(program.package, program.suite)
    if fetched := _on_path(program.names, str(home / "usr/bin")):
        return fetched
    raise SetupError(f"Debian's package {program.package} holds no {name}; install {name} on PATH.")


def unpacked(package: str, suite: str = "") -> Path:
    """Return the directory Debian's ``package`` is unpacked in; raise SetupError where it fails.

    It is of this system's suite, or of another one by the same mirror.
    """
    home = _place(package, suite)
    if home.exists():
        return home
    for needed in ("apt-get", "dpkg"):
        if not shutil.which(needed):
            raise SetupError(_advice(package, suite, f"there is no {needed} here to fetch it"))
    with _alone():
        if not home.exists():
            _fetch(package, suite, home)
    return home


def _place(name: str, suite: str) -> Path:
    """Return what is kept below ``.tools/`` under this name, of another suite apart."""
    return TOOLS / (f"{name}-{suite}" if suite else name)


def _on_path(names: Sequence[str], path: str) -> Path | None:
    found = (shutil.which(name, path=path) for name in names)
    return next((Path(name) for name in found if name), None)


@contextmanager
def _alone() -> Iterator[None]:
    """Let one run fetch at a time; the lock of a killed run is gone with it."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(package: str, suite: str, home: Path) -> None:
    """Download and unpack ``package``; ``home`` appears when it is complete."""
    place = TOOLS / "fetching"
    shutil.rmtree(place, ignore_errors=True)  # of a killed run
    place.mkdir()
    _run(package, suite, ["dpkg", "-x", _download(package, suite, place), place / "contents"])
    for program in (place / "contents/usr/bin").glob("*alertmanager"):
        program.write_bytes(program.read_bytes().replace(_ABSOLUTE, _RELATIVE))
    (place / "contents").rename(home)
    shutil.rmtree(place)


def _download(package: str, suite: str, place: Path) -> Path:
    """Return the package file; package lists are fetched where there are none, or too old ones."""
    sys.stderr.write(f"Fetching Debian's package {package} into {TOOLS}\n")
    apt_get = _apt_get(package, suite)
    download = [*apt_get, "download", package]
    if subprocess.run(download, cwd=place, capture_output=True, check=False).returncode:
        _run(package, suite, [*apt_get, "update"])
        _run(package, suite, download, cwd=place)
    return next(place.glob("*.deb"))


def _apt_get(package: str, suite: str) -> list[str]:
    """Return apt-get with lists, cache and locks that are not the system's."""
    place = _place("apt", suite)
    for directory in ("lists/partial", "cache/archives/partial"):
        (place / directory).mkdir(parents=True, exist_ok=True)
    return [
        *("apt-get", "--quiet"),
        *(f"-oDir::State::Lists={place}/lists", f"-oDir::Cache={place}/cache"),
        *("-oAPT::Sandbox::User=", "-oDebug::NoLocking=1"),
        *(_only(package, suite, place / "sources.list") if suite else ()),
    ]


def _only(package: str, suite: str, sources: Path) -> list[str]:
    """Return the options for packages of one suite, by the mirror that this system uses."""
    targets = ["apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT)"]
    found = _run(package, suite, targets)
    mirrors = [line.split()[0] for line in found.splitlines() if line.endswith(" main")]
    if not mirrors:
        raise SetupError(_advice(package, suite, "apt-get knows no mirror"))
    sources.write_text(f"deb {mirrors[0]} {suite} main\n")
    return [f"-oDir::Etc::SourceList={sources}", "-oDir::Etc::SourceParts=/dev/null"]


def _run(package: str, suite: str, command: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run a command and return its output; raise SetupError where it fails."""
    result = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False
    )
    if result.returncode:
        said = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise SetupError(_advice(package, suite, f"{command[0]} could not fetch it ({said[-1]})"))
    return result.stdout


def _advice(package: str, suite: str, reason: str) -> str:
    found = PROGRAMS.items()
    names = sorted(n for n, each in found if (each.package, each.suite) == (package, suite))
    wanted = f"{' and '.join(names)} on PATH" if names else f"Debian's package {package}"
    return f"Install {wanted}: {reason}."


def main() -> None:
    """Print where each program is, after fetching what is not there."""
    parser = argparse.ArgumentParser(prog="python -m services.binaries", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--package", action="store_true", help="NAMEs are Debian's packages")
    options = parser.parse_args()
    if unknown := [name for name in options.names if not options.package and name not in PROGRAMS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(PROGRAMS)}")
    locate = unpacked if options.package else find
    try:
        for name in options.names or PROGRAMS:
            print(locate(name))
    except SetupError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
