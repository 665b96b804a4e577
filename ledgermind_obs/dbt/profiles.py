"""Where the database is: one target of ``profiles.yml``, as dbt's PostgreSQL adapter reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.dbt.project import PROFILES_FILE, Project, load_yaml, render
from ledgermind_obs.errors import ConfigurationError

ADAPTER = "postgres"

# dbt takes both names of each.
_ALIASES = {"dbname": "database", "pass": "password"}
_REQUIRED = ("host", "user", "port", "password", "database")
_OPTIONAL = ("sslmode", "sslcert", "sslkey", "sslrootcert")
_CONNECT_SECONDS = 10
_DEPENDS = re.compile(r"\{[{%].*\b(?:target|env_var)\b", re.DOTALL)
_SECRET = frozenset({"password"})


class Profile(msgspec.Struct, frozen=True):
    """What it takes to connect; ``parameters`` are libpq's and hold the password."""

    place: str
    parameters: Mapping[str, Any]
    settings: Mapping[str, str]
    role: str = ""
    threads: int = 1
    retries: int = 1

    def __repr__(self) -> str:
        """Return the place alone: the parameters hold the password."""
        return f"Profile({self.place!r})"


def read_profile(project: Project) -> Profile:
    """Return the project's target as its ``profiles.yml`` describes it.

    Raises ConfigurationError where it cannot be read or rendered, or is not of PostgreSQL.
    """
    path = project.profiles_dir / PROFILES_FILE
    place = f"target {project.target} of profile {project.profile} in {path}"
    outputs = load_yaml(path).get(project.profile)
    output = outputs.get("outputs") if isinstance(outputs, Mapping) else None
    target = output.get(project.target) if isinstance(output, Mapping) else None
    if not isinstance(target, Mapping):
        raise ConfigurationError(f"there is no {place}", "name the target with --target")
    return _profile({"name": project.target, **_rendered(target, place)}, place)


def adapter_of(project: Project) -> str:
    """Return the type of the project's target as ``profiles.yml`` has it, if it has one."""
    profile = load_yaml(project.profiles_dir / PROFILES_FILE).get(project.profile)
    outputs = profile.get("outputs") if isinstance(profile, Mapping) else None
    output = outputs.get(project.target) if isinstance(outputs, Mapping) else None
    return str(output.get("type")) if isinstance(output, Mapping) else "no known type"


def check_target(profile: Profile, sources: Iterable[Source]) -> None:
    """Raise ConfigurationError where the manifest's sources are those of another target.

    A manifest does not name the target it was written for; its sources' databases, and what of
    their names depends on the target or the environment, tell.
    """
    sources, database = list(sources), profile.settings["database"]
    found = {(source.database or "").casefold() for source in sources}
    if sources and database.casefold() not in found:
        raise _of_another_target(profile, f"its sources are in database {min(found)!r}")
    for template, value in dict.fromkeys(_templates(sources)):
        if render(template, template, target=dict(profile.settings)) != value:
            raise _of_another_target(profile, f"{template} was {value!r} there")


def _templates(sources: Iterable[Source]) -> Iterator[tuple[str, str | None]]:
    """Yield the texts that depend on target or environment, and what they were for the manifest."""
    for source in sources:
        yield from (
            (template, value)
            for template, value in (
                (source.unrendered_database, source.database),
                (source.unrendered_schema, source.schema),
            )
            if template and _DEPENDS.search(template)
        )


def _of_another_target(profile: Profile, sign: str) -> ConfigurationError:
    return ConfigurationError(
        f"manifest.json was not written for {profile.place}: {sign}",
        "write it with: dbt parse --target NAME",
    )


def _profile(settings: Mapping[str, str], place: str) -> Profile:
    if settings.get("type") != ADAPTER:
        raise ConfigurationError(
            f"--engine postgres cannot ask {settings.get('type')!r}, which is {place}",
            "use --engine dbt",
        )
    if missing := [name for name in _REQUIRED if name not in settings]:
        raise ConfigurationError(f"{place} has no {missing[0]}", "see: dbt debug")
    role = settings.get("role", "")
    if ";" in role:
        raise ConfigurationError(f"--engine postgres refuses the role in {place}: it has a ;")
    return Profile(
        place=place,
        parameters=_parameters(settings, place),
        settings=_target_context(settings),
        role=role,
        threads=_number(settings, "threads", 1, place),
        retries=_number(settings, "retries", 1, place),
    )


def _target_context(settings: Mapping[str, str]) -> dict[str, str]:
    """Return what Jinja calls ``target``, as far as it is text and no secret."""
    context = {key: text for key, text in settings.items() if key not in _SECRET}
    return {**context, "dbname": settings["database"]}


def _rendered(target: Mapping[str, Any], place: str) -> dict[str, str]:
    """Return the target's settings as texts, by the names that dbt uses itself."""
    return {
        _ALIASES.get(key, key): render(str(value), f"{key} of {place}")
        for key, value in target.items()
        if value is not None
    }


def _parameters(settings: Mapping[str, str], place: str) -> dict[str, Any]:
    """Return the arguments of ``psycopg2.connect``, the same as dbt's but for the name."""
    parameters: dict[str, Any] = {
        "host": settings["host"],
        "port": _number(settings, "port", 0, place),
        "user": settings["user"],
        "password": settings["password"],
        "dbname": settings["database"],
        "connect_timeout": _number(settings, "connect_timeout", _CONNECT_SECONDS, place),
        "application_name": "obs",
    }
    parameters |= {name: settings[name] for name in _OPTIONAL if settings.get(name)}
    if idle := _number(settings, "keepalives_idle", 0, place):
        parameters["keepalives_idle"] = idle
    if path := settings.get("search_path"):
        parameters["options"] = "-c search_path=" + path.replace(" ", "\\ ")
    return parameters


def _number(settings: Mapping[str, str], name: str, default: int, place: str) -> int:
    try:
        return int(settings.get(name, default))
    except ValueError as error:
        raise ConfigurationError(f"{name} of {place} is not a whole number") from error
