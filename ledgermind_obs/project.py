"""Which dbt project, profile and target a run is about, known before dbt is asked.

A run that fails early must still be filed under the right project and target, so both are read
from ``dbt_project.yml`` and ``profiles.yml`` the way dbt finds and renders them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledgermind_obs.errors import ConfigurationError

PROJECT_FILE = "dbt_project.yml"
PROFILES_FILE = "profiles.yml"
DEFAULT_TARGET = "default"

_RESOURCE_PATHS = {
    "model": ["models"],
    "seed": ["seeds"],
    "snapshot": ["snapshots"],
    "macro": ["macros"],
    "test": ["tests"],
    "analysis": ["analyses"],
    "function": ["functions"],
}


@dataclass(frozen=True)
class Project:
    """A dbt project as one run uses it; every path is absolute."""

    directory: Path
    name: str
    profiles_dir: Path
    profile: str
    target: str
    target_path: Path

    @property
    def private_target_path(self) -> Path:
        """Where ``obs`` lets dbt write, so that a concurrent ``dbt build`` is not disturbed."""
        return self.target_path / "obs"


def find_project_dir(given: Path | None) -> Path:
    """Return the project directory: the given one, the current one, or ``./warehouse``.

    Raises ConfigurationError where it holds no ``dbt_project.yml``.
    """
    candidates = [given] if given else [Path(), Path("warehouse")]
    for candidate in candidates:
        if (candidate / PROJECT_FILE).is_file():
            return candidate.resolve()
    looked = " and ".join(str(candidate.resolve()) for candidate in candidates)
    raise ConfigurationError(
        f"no {PROJECT_FILE} in {looked}", "name the dbt project with --project-dir"
    )


def resource_paths(directory: Path) -> list[str]:
    """Return the directories, below the project's, in which dbt looks for its resources.

    Raises ConfigurationError where ``dbt_project.yml`` cannot be read.
    """
    settings = _load(directory / PROJECT_FILE)
    named = {key: settings.get(f"{key}-paths") for key in _RESOURCE_PATHS}
    paths = [named[key] or default for key, default in _RESOURCE_PATHS.items()]
    return [str(path) for group in paths if isinstance(group, list) for path in group]


def project_name(directory: Path) -> str:
    """Return the project's name; raises ConfigurationError where it does not say."""
    return _text(_load(directory / PROJECT_FILE), "name", directory / PROJECT_FILE)


def open_project(
    directory: Path | None = None,
    *,
    profiles_dir: Path | None = None,
    profile: str | None = None,
    target: str | None = None,
    target_path: Path | None = None,
) -> Project:
    """Return the project, with what was not given taken from its files as dbt does.

    Raises ConfigurationError where a file is absent or unclear.
    """
    found = find_project_dir(directory)
    settings = _load(found / PROJECT_FILE)
    name = _text(settings, "name", found / PROJECT_FILE)
    profiles = _profiles_dir(found, profiles_dir)
    profile = profile or _text(settings, "profile", found / PROJECT_FILE)
    return Project(
        directory=found,
        name=name,
        profiles_dir=profiles,
        profile=profile,
        target=target or _default_target(profiles / PROFILES_FILE, profile),
        target_path=target_path.resolve() if target_path else found / "target",
    )


def _profiles_dir(project_dir: Path, given: Path | None) -> Path:
    """Return dbt's choice: the given directory, the project's own, or ``~/.dbt``."""
    if given:
        return given.resolve()
    return project_dir if (project_dir / PROFILES_FILE).is_file() else Path.home() / ".dbt"


def _default_target(path: Path, profile: str) -> str:
    if not path.is_file():
        raise ConfigurationError(f"no {PROFILES_FILE} in {path.parent}", "name it: --profiles-dir")
    outputs = _load(path).get(profile)
    if not isinstance(outputs, Mapping):
        raise ConfigurationError(f"{path} has no profile {profile!r}", "name it: --profile")
    if outputs.get("target") is None:
        return DEFAULT_TARGET
    return _text(outputs, "target", path)


def _load(path: Path) -> Mapping[str, Any]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - a safe loader
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{path} is not a mapping of settings")
    return content


def _text(settings: Mapping[str, Any], key: str, path: Path) -> str:
    value = settings.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{path} does not say its {key}", f"name it: --{key}")
    return render(value, f"{key} in {path}") if "{{" in value or "{%" in value else value


def render(template: str, place: str) -> str:
    """Return a value of ``profiles.yml`` with its ``env_var()`` calls filled in.

    Rendered in Jinja's sandbox; ``place`` is what errors call it. Raises ConfigurationError.
    """
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    try:
        environment = SandboxedEnvironment(undefined=StrictUndefined)
        return environment.from_string(template).render(env_var=_env_var)
    except TemplateError as error:
        raise ConfigurationError(f"cannot render {place}: {error}") from error


def _env_var(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise ConfigurationError(f"environment variable {name} is not set, and profiles.yml asks")
    return value
