"""The files of a project that dbt reads when it parses: which they are, and what is in them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from ledgermind_obs.dbt.project import PROFILES_FILE, PROJECT_FILE, Project, render

_SUFFIXES = (".sql", ".yml", ".yaml", ".py", ".csv", ".md")
_YAML = (".yml", ".yaml")
# dbt leaves out what editors keep beside a file.
_LEFT_OUT = (".", "#", "~")
_SETTINGS = (
    *(PROJECT_FILE, "packages.yml", "dependencies.yml", "package-lock.yml"),
    *("selectors.yml", "vars.yml", ".dbtignore"),
)
# What a package that is linked rather than copied has beside its resources.
_NOT_OF_A_PACKAGE = frozenset({"target", "logs", "dbt_packages", "integration_tests"})
_ENV_VAR = re.compile(rb"env_var\s*\(\s*['\"](\w+)['\"]")
# A profile's secrets are not in Jinja's ``target``, so no manifest depends on them; they may change
# with every run.
_SECRETS = re.compile(
    rb"\b(?:password|pass|token|refresh_token|client_secret|private_key|private_key_passphrase)"
    rb"['\"]?\s*:\s*['\"]?\{\{[^}]*\}\}"
)


class Stat(NamedTuple):
    """What tells without reading it that a file is the same; times are in nanoseconds."""

    size: int
    changed_ns: int
    modified_ns: int
    inode: int


class Facts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What was read in a file: its hash, the variables it asks for, the lines that ask a clock."""

    sha256: str
    environment: tuple[str, ...] = ()
    clock: tuple[int, ...] = ()


def survey(project: Project) -> dict[str, Stat]:
    """Return the files that dbt reads, by their path from the project's directory.

    What cannot be looked at, such as a link that leads nowhere, is not there; nor is what is no
    regular file. Raises ConfigurationError if dbt_project.yml names directories unclearly.
    """
    prefix = f"{project.directory}{os.sep}"
    found: dict[str, Stat] = {}
    for path in _settings(project):
        _note(found, path.removeprefix(prefix), path)
    for entry in _resources(project):
        _note(found, entry.path.removeprefix(prefix), entry)
    return found


def path_of(project: Project, name: str) -> str:
    """Return the path of a file that ``survey`` names."""
    return os.path.join(project.directory, name)


def is_yaml(name: str) -> bool:
    """Return whether a file is YAML by its name."""
    return name.lower().endswith(_YAML)


def read_facts(path: str) -> Facts:
    """Return what a file holds; raises OSError."""
    import hashlib

    with open(path, "rb") as file:
        if path.lower().endswith(".csv"):  # a seed may be long, and has no Jinja
            return Facts(hashlib.file_digest(file, "sha256").hexdigest())
        content = file.read()
    asking = _SECRETS.sub(b"", content) if path.endswith(PROFILES_FILE) else content
    names = _ENV_VAR.findall(asking) if b"env_var" in asking else ()
    clock: tuple[int, ...] = ()
    if is_yaml(path) and b"{" in content:
        from ledgermind_obs.dbt.clock_jinja import clock_lines

        clock = clock_lines(content)
    return Facts(
        hashlib.sha256(content).hexdigest(), tuple(sorted({n.decode() for n in names})), clock
    )


def stat_of(path: str | os.DirEntry[str]) -> Stat | None:
    """Return what tells that a regular file is the same, or None if there is none."""
    try:
        found = path.stat() if isinstance(path, os.DirEntry) else os.stat(path)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Stat(found.st_size, found.st_ctime_ns, found.st_mtime_ns, found.st_ino)


def _note(found: dict[str, Stat], name: str, path: str | os.DirEntry[str]) -> None:
    if seen := stat_of(path):
        found[name] = seen


def _settings(project: Project) -> Iterator[str]:
    yield from (str(project.directory / name) for name in _SETTINGS)
    yield str(project.profiles_dir / PROFILES_FILE)


def _resources(project: Project) -> Iterator[os.DirEntry[str]]:
    skipped = frozenset({str(project.target_path)})
    for place in project.resource_paths:
        top = os.path.join(project.directory, render(place, f"a path in {PROJECT_FILE}"))
        yield from _read_by_dbt(top, skipped)
    packages = render(project.packages_path, f"packages-install-path in {PROJECT_FILE}")
    for package in _entries(os.path.join(project.directory, packages)):
        if package.is_dir():
            yield from _read_by_dbt(package.path, skipped, _NOT_OF_A_PACKAGE)


def _read_by_dbt(
    top: str, paths: frozenset[str], names: frozenset[str] = frozenset()
) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a directory as dbt walks it: links to directories are not entered."""
    pending = [top]
    while pending:
        for entry in _entries(pending.pop()):
            if entry.is_dir(follow_symlinks=False):
                if entry.path not in paths and entry.name not in names:
                    pending.append(entry.path)
            elif entry.name.lower().endswith(_SUFFIXES) and not entry.name.startswith(_LEFT_OUT):
                yield entry


def _entries(directory: str) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return list(entries)
    except OSError:
        return []
