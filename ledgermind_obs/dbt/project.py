"""Which dbt project, profile and target a run is about, known before dbt is asked.

A run that fails early must still be filed under the right project and target, so both are read
from ``dbt_project.yml`` and ``profiles.yml`` the way dbt finds and renders them.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ledgermind_obs import secrets
from ledgermind_obs.dbt import profile_secrets
from ledgermind_obs.errors import ConfigurationError

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

PROJECT_FILE = "dbt_project.yml"
PROFILES_FILE = "profiles.yml"
DEFAULT_TARGET = "default"
_HOOKS_FLAG = "source_freshness_run_project_hooks"

# What profiles are full of: {{ env_var('NAME', 'default') | as_number }}. Jinja would make the same
# of it, and takes longer to load than PostgreSQL to say how fresh a hundred tables are.
_ENV_VAR = re.compile(
    r"""(?<!\{)\{\{\s*env_var\(\s*(['"])(?P<name>\w+)\1\s*"""
    r"""(?:,\s*(['"])(?P<default>[^'"\\{}%#\r\n]*)\3\s*)?\)\s*"""
    r"""(?:\|\s*as_(?:text|bool|native|number)\s*)?\}\}"""
)

# urllib would do the same, and takes as long to load as the project to be read.
_UNSAFE = re.compile(r"[^A-Za-z0-9_.~-]")

# What dbt_project.yml may name, and what dbt takes if it does not.
_RESOURCE_PATHS: dict[str, list[str]] = {
    "model-paths": ["models"],
    "source-paths": [],
    "seed-paths": ["seeds"],
    "data-paths": [],
    "snapshot-paths": ["snapshots"],
    "macro-paths": ["macros"],
    "test-paths": ["tests"],
    "analysis-paths": ["analyses"],
    "function-paths": ["functions"],
    "docs-paths": [],
}
_PACKAGES = "dbt_packages"


class Project(msgspec.Struct, frozen=True):
    """A dbt project as one run uses it; every path is absolute.

    ``runs_hooks`` is what it says of hooks when freshness is measured, None where it says nothing.
    ``resource_paths`` and ``packages_path`` are the directories that dbt reads, with their Jinja.
    """

    directory: Path
    name: str
    profiles_dir: Path
    profile: str
    target: str
    target_path: Path
    runs_hooks: bool | None = None
    resource_paths: tuple[str, ...] = tuple(chain.from_iterable(_RESOURCE_PATHS.values()))
    packages_path: str = _PACKAGES

    @property
    def private_target_path(self) -> Path:
        """Where ``obs`` lets dbt write: no ``dbt build`` and no other target is disturbed."""
        return private_path(self.target_path, self.target)


class Dbt(msgspec.Struct, frozen=True):
    """A dbt executable and the project it works on; ``timeout`` is in seconds."""

    project: Project
    executable: str | None = None
    threads: int | None = None
    vars: str | None = None
    timeout: float = 600.0


def private_path(target_path: Path, target: str) -> Path:
    """Return the directory below dbt's own that belongs to ``obs`` and to one target alone."""
    return target_path / "obs" / _segment(target)


def _segment(target: str) -> str:
    """Return a target's name as one part of a path, quoted as in a URL; no two names share one."""
    if set(target) <= {"."}:
        return target.replace(".", "%2E")
    return _UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), target)


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
        f"no {PROJECT_FILE} in {looked}",
        "change to the folder of your dbt project, or pass --project-dir DIR",
    )


def project_without_profile(directory: Path, target_path: Path | None = None) -> Project:
    """Return what ``dbt_project.yml`` alone says of a project: it has no profile and no target.

    Raises ConfigurationError where it is unclear.
    """
    settings = load_yaml(directory / PROJECT_FILE)
    return Project(
        directory=directory,
        name=_text(settings, "name", directory / PROJECT_FILE),
        profiles_dir=directory,
        profile="",
        target="",
        target_path=target_path.resolve() if target_path else directory / "target",
        resource_paths=_resource_paths(settings),
        packages_path=_packages_path(settings),
    )


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
    settings = load_yaml(found / PROJECT_FILE)
    name = _text(settings, "name", found / PROJECT_FILE)
    secrets.name_publicly(name)
    profiles = profiles_directory(found, profiles_dir)
    profile = profile or _text(settings, "profile", found / PROJECT_FILE)
    return Project(
        directory=found,
        name=name,
        profiles_dir=profiles,
        profile=profile,
        target=_target(target, profiles / PROFILES_FILE, profile),
        target_path=target_path.resolve() if target_path else found / "target",
        runs_hooks=_runs_hooks(settings),
        resource_paths=_resource_paths(settings),
        packages_path=_packages_path(settings),
    )


def _resource_paths(settings: Mapping[str, Any]) -> tuple[str, ...]:
    groups = [settings.get(key) or default for key, default in _RESOURCE_PATHS.items()]
    return tuple(str(path) for group in groups if isinstance(group, list) for path in group)


def _packages_path(settings: Mapping[str, Any]) -> str:
    return str(settings.get("packages-install-path") or _PACKAGES)


def _runs_hooks(settings: Mapping[str, Any]) -> bool | None:
    flags = settings.get("flags")
    said = flags.get(_HOOKS_FLAG) if isinstance(flags, Mapping) else None
    return said if isinstance(said, bool) else None


def profiles_directory(project_dir: Path, given: Path | None) -> Path:
    """Return dbt's choice: the given directory, the project's own, or ``~/.dbt``."""
    if given:
        return given.resolve()
    return project_dir if (project_dir / PROFILES_FILE).is_file() else Path.home() / ".dbt"


def _target(given: str | None, path: Path, profile: str) -> str:
    """Return the target's name; what is secret in profiles.yml is known before dbt speaks of it.

    A name that is not in the file is a typo, and is refused before anything is filed under it.
    """
    with suppress(OSError):
        if path.is_file():
            profile_secrets.remember(path.read_bytes(), os.environ)
    settings = _profile_in(path, profile)
    target = given or (
        _text(settings, "target", path) if settings.get("target") is not None else DEFAULT_TARGET
    )
    secrets.name_publicly(profile, target)
    outputs = settings.get("outputs")
    if outputs and isinstance(outputs, Mapping) and target not in outputs:
        raise ConfigurationError(
            f"profile {profile!r} in {path} has no target {target!r}", _meant(target, outputs)
        )
    return target


def _profile_in(path: Path, profile: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise ConfigurationError(
            f"no {PROFILES_FILE} in {path.parent}",
            "pass the folder that has it: --profiles-dir DIR",
        )
    profiles = load_yaml(path)
    settings = profiles.get(profile)
    if not isinstance(settings, Mapping):
        names = [name for name in profiles if name != "config"]
        step = _meant(profile, names) if names else "pass --profile NAME"
        raise ConfigurationError(f"{path} has no profile {profile!r}", step)
    return settings


def _meant(name: str, known: Iterable[object]) -> str:
    from ledgermind_obs.errors import nearest

    return nearest(name, map(str, known))


def load_yaml(path: Path) -> Mapping[str, Any]:
    """Return the settings in a YAML file; raises ConfigurationError."""
    from ledgermind_obs.dbt import yaml_files

    try:
        content = yaml_files.load(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except yaml_files.FaultyYamlError as error:
        raise ConfigurationError(f"cannot read {path}: {error}", error.next_step) from error
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{path} is not a mapping of settings")
    return content


_NEXT_STEPS = {
    "name": "add `name: my_project` to it",
    "profile": "add `profile: NAME` to it, or pass --profile NAME",
    "target": "pass --target NAME",
}


def _text(settings: Mapping[str, Any], key: str, path: Path) -> str:
    value = settings.get(key)
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{path} has no {key}", _NEXT_STEPS[key])
    return render(value, f"{key} in {path}")


def render(template: str, place: str, **context: object) -> str:
    """Return a text of dbt's YAML with its Jinja filled in: ``env_var()`` and the ``context``.

    Rendered in Jinja's sandbox, to a text whatever filter comes last; ``place`` is what errors call
    it. Raises ConfigurationError.
    """
    if not _has_jinja(template):
        return template
    env_var = functools.partial(_env_var, place)
    rest = _ENV_VAR.sub("", template)
    if not _has_jinja(rest) and not {"\n", "\r"} & set(rest):  # Jinja changes line ends
        return _ENV_VAR.sub(lambda found: env_var(found["name"], found["default"]), template)
    environment = _jinja(place)
    try:
        return environment.from_string(template).render(env_var=env_var, **context)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever the template does; Jinja's words quote it
        kind = _JINJA_FAULTS.get(type(error).__name__, f"its Jinja raises {type(error).__name__}")
        raise ConfigurationError(f"cannot render {place}: {kind}", _JINJA_STEP) from None


_JINJA_FAULTS = {
    "TemplateSyntaxError": "its Jinja is not complete",
    "UndefinedError": "its Jinja uses a name that is not defined here",
    "SecurityError": "its Jinja does what is not allowed here",
}
_JINJA_STEP = "a value that holds {{ or {% and is no Jinja goes through env_var()"


def _has_jinja(text: str) -> bool:
    return any(sign in text for sign in ("{{", "{%", "{#"))


def _jinja(place: str) -> SandboxedEnvironment:
    """Return Jinja; raises ConfigurationError if it is not installed, as without dbt."""
    try:
        return _environment()
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"cannot render {place}: it is more than env_var(), and jinja2 is not installed "
            "beside obs",
            "pip install jinja2",
        ) from error


@functools.cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(undefined=StrictUndefined)
    environment.filters |= dict.fromkeys(("as_text", "as_bool", "as_native", "as_number"), str)
    return environment


def _env_var(place: str, name: str, default: object = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise ConfigurationError(
            f"environment variable {name} is not set, but {place} requires it",
            f"set it: export {name}=…",
        )
    return str(value)
