"""Options that several commands share, and what they are made into.

Each has an environment variable: the ecosystem's own name where there is one, ``OBS_…`` elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledgermind_obs import metrics
from ledgermind_obs.cli import completion
from ledgermind_obs.cli.credentials import check_username, check_vars, secret
from ledgermind_obs.cli.help import (
    DESTINATION,
    ENGINE,
    EVIDENCE,
    OUTPUT,
    PROJECT,
    SELECTION,
    Command,
    Decorator,
    HelpfulCommand,
    in_group,
    in_order,
)
from ledgermind_obs.dbt.manifest_file import ManifestChoice
from ledgermind_obs.dbt.project import Dbt, Project, open_project
from ledgermind_obs.durations import parse_age
from ledgermind_obs.engines.settings import Engine, Postgres, Recorded
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.metrics import Metric

if TYPE_CHECKING:  # loaded when there is something to say
    from ledgermind_obs.sinks.pushgateway import Pushgateway

FORMATS = click.Choice(["table", "json"])

_MULTIPLE = frozenset({"--select", "-s", "--exclude"})
_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A duration such as ``90s``, ``12h`` or ``5d``; gives seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds the text stands for."""
        if isinstance(value, float):
            return value
        try:
            return parse_age(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Label(click.ParamType):  # type: ignore[type-arg]
    """A ``name=value`` pair."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return name and value."""
        if isinstance(value, tuple):
            return value
        name, separator, text = value.partition("=")
        if not separator or not name:
            self.fail(f"{value!r} is not of the form name=value", param, ctx)
        return name, text


class SelectCommand(HelpfulCommand):
    """A command whose ``--select`` and ``--exclude`` take several values, as dbt's do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Repeat the flag before each further value, then parse as usual."""
        return super().parse_args(ctx, list(_spread(args)))


def _spread(args: list[str]) -> Iterator[str]:
    flag, values = "", 0
    for arg in args:
        if arg.startswith("-"):
            flag, values = (arg, 0) if arg in _MULTIPLE else ("", 0)
        elif flag:
            values += 1
            if values > 1:
                yield flag
        yield arg


def option(*names: str, env: str | None = None, **settings: Any) -> Decorator:
    """Return an option with its environment variable, shown in the help text."""
    variable = env or "OBS_" + names[0].lstrip("-").replace("-", "_").upper()
    settings.setdefault("show_default", settings.get("default") is not None)
    return click.option(*names, envvar=variable, show_envvar=True, **settings)


place_options = in_group(
    PROJECT,
    option(
        "--project-dir",
        env="DBT_PROJECT_DIR",
        type=_DIRECTORY,
        help="The dbt project.  [default: the current directory, else ./warehouse]",
    ),
    option(
        "--profiles-dir",
        env="DBT_PROFILES_DIR",
        type=_DIRECTORY,
        help="Where profiles.yml is.  [default: the project, else ~/.dbt]",
    ),
    option("--profile", env="DBT_PROFILE", help="The profile in profiles.yml."),
    option(
        "--target",
        "-t",
        env="DBT_TARGET",
        shell_complete=completion.targets,
        help="The target of the profile.",
    ),
    option(
        "--target-path",
        env="DBT_TARGET_PATH",
        type=_DIRECTORY,
        help="dbt's target directory; obs writes below it.  [default: the project's target/]",
    ),
)
_running_options = in_group(
    PROJECT,
    option(
        "--vars",
        "project_vars",
        help="dbt variables, as a YAML mapping. Every user of this machine can read them: "
        "secrets belong in env_var().",
    ),
    option(
        "--dbt", "executable", env="OBS_DBT", help="The dbt executable.  [default: dbt on PATH]"
    ),
    option(
        "--timeout", type=Duration(), default="10m", help="Time limit of a dbt or database run."
    ),
)
verbose_option = in_group(
    OUTPUT,
    option("--verbose", "-v", is_flag=True, help="Say on success what was done, on stderr."),
)
project_options = in_order(place_options, _running_options)
_selection_options = in_group(
    SELECTION,
    option("--select", "-s", multiple=True, help="Only these sources, in dbt's syntax."),
    option("--exclude", multiple=True, help="Without these sources, in dbt's syntax."),
)
_engine_options = in_group(
    ENGINE,
    option(
        "--engine",
        type=click.Choice(["dbt", "postgres"]),
        default="dbt",
        help="Run dbt, or ask PostgreSQL what dbt would ask.",
    ),
    option("--threads", type=click.IntRange(min=1), help="Number of queries at once."),
    option(
        "--query-timeout",
        type=Duration(),
        default="1m",
        help="Time limit per source, with --engine postgres.",
    ),
)
_dbt_options = in_order(_selection_options, _engine_options, project_options)


def dbt_options(command: Command) -> Command:
    """Give a command dbt's own options, made into ``dbt`` and the ``engine`` that measures.

    ``select`` and ``exclude`` stay, and so does what ``manifest_options`` of the command made. With
    an ``artifact`` the project need have no profile, and need not be there.
    """

    @functools.wraps(command)
    def wrapper(
        project_dir: Path | None,
        profiles_dir: Path | None,
        profile: str | None,
        target: str | None,
        target_path: Path | None,
        executable: str | None,
        threads: int | None,
        project_vars: str | None,
        timeout: float,
        engine: str,
        query_timeout: float,
        manifest: Path | None,
        no_parse: bool,
        **others: Any,
    ) -> Any:
        place: dict[str, Any] = {"profiles_dir": profiles_dir, "profile": profile}
        place |= {"target": target, "target_path": target_path}
        if artifact := others.get("artifact"):
            from ledgermind_obs.cli.artifact_place import artifact_place

            project, manifest = artifact_place(artifact, manifest, project_dir, **place)
        else:
            project = open_project(project_dir, **place)
        check_vars(project_vars)
        dbt = Dbt(project, executable, threads, project_vars, timeout)
        choice = ManifestChoice(manifest, no_parse)
        chosen = dbt if engine == "dbt" else Postgres(dbt, choice, query_timeout)
        return command(dbt=dbt, engine=chosen, manifest=manifest, no_parse=no_parse, **others)

    return _dbt_options(wrapper)


def published_options(command: Command) -> Command:
    """Give a push ``--artifact``, made into its ``engine``: a run that was started elsewhere."""

    @in_group(
        ENGINE,
        option(
            "--artifact",
            env="OBS_PUSH_ARTIFACT",
            type=_FILE,
            help="Push this sources.json, or dbt v2's freshness.json, instead of measuring.",
        ),
        option(
            "--artifact-max-age",
            type=Duration(),
            default="1h",
            help="Maximum age of the artifact.",
        ),
    )
    @functools.wraps(command)
    def wrapper(
        dbt: Dbt,
        engine: Engine,
        artifact: Path | None,
        artifact_max_age: float,
        manifest: Path | None,
        no_parse: bool,
        **others: Any,
    ) -> Any:
        if artifact:
            if not dbt.project.target:
                raise click.UsageError("--artifact does not say its target: pass --target NAME")
            if isinstance(engine, Postgres) or others.get("exposure"):
                raise click.UsageError("--artifact replaces --engine and --exposure: drop them")
            choice = ManifestChoice(manifest, no_parse)
            engine = Recorded(dbt, artifact, choice, artifact_max_age)
        return command(dbt=dbt, engine=engine, manifest=manifest, no_parse=no_parse, **others)

    return wrapper


def project_only_options(command: Command) -> Command:
    """Give a command the project's options, made into ``dbt``."""

    @functools.wraps(command)
    def wrapper(
        project_dir: Path | None,
        profiles_dir: Path | None,
        profile: str | None,
        target: str | None,
        target_path: Path | None,
        executable: str | None,
        project_vars: str | None,
        timeout: float,
        **others: Any,
    ) -> Any:
        project = open_project(
            project_dir,
            profiles_dir=profiles_dir,
            profile=profile,
            target=target,
            target_path=target_path,
        )
        check_vars(project_vars)
        return command(dbt=Dbt(project, executable, None, project_vars, timeout), **others)

    return project_options(wrapper)


def lock_timeout_option(default: str) -> Decorator:
    """Return ``--lock-timeout`` with the command's own default."""
    lock_timeout = option(
        "--lock-timeout",
        type=Duration(),
        default=default,
        help="Time to wait for another obs run on this project and target.",
    )
    return in_group(PROJECT, lock_timeout)


_ACCESS = (
    option("--pushgateway-username", help="User name for basic authentication."),
    option(
        "--pushgateway-password-file",
        type=_FILE,
        help="File that holds the password; or set OBS_PUSHGATEWAY_PASSWORD.",
    ),
    option(
        "--pushgateway-token-file",
        type=_FILE,
        help="File that holds a bearer token; or set OBS_PUSHGATEWAY_TOKEN.",
    ),
    option("--pushgateway-ca-file", type=_FILE, help="A private CA, in PEM format."),
    option("--pushgateway-cert-file", type=_FILE, help="A client certificate, in PEM format."),
    option("--pushgateway-key-file", type=_FILE, help="The key of the client certificate."),
)
_ACCESS_NAMES = (
    *("pushgateway_username", "pushgateway_password_file", "pushgateway_token_file"),
    *("pushgateway_ca_file", "pushgateway_cert_file", "pushgateway_key_file"),
)
FRESHNESS_JOB, BUILDS_JOB = "dbt-freshness", "dbt-builds"


def _destination(job: str, prefix: str) -> Decorator:
    """Return the options of a destination; job and textfile have variables of their own."""
    textfile = option(
        "--textfile",
        env=f"{prefix}_TEXTFILE",
        type=_FILE,
        help="Write a file for node_exporter's textfile collector instead of pushing.",
    )
    return in_order(_group_of_gateway(job, prefix), in_group(DESTINATION, textfile))


def _group_of_gateway(job: str, prefix: str) -> Decorator:
    return in_group(
        DESTINATION,
        option(
            "--pushgateway",
            env="PUSHGATEWAY_URL",
            default="http://localhost:9091",
            metavar="URL",
            help="Address of the Pushgateway.",
        ),
        option("--job", env=f"{prefix}_JOB", default=job, help="The grouping key's job."),
        option(
            "--grouping-key",
            type=Label(),
            multiple=True,
            help="Another label of the grouping key, in addition to job, project and target.",
        ),
        *_ACCESS,
        option(
            "--push-timeout",
            type=Duration(),
            default="30s",
            help="Time limit of a push, retries included.",
        ),
    )


def sink_options(command: Command) -> Command:
    """Give a command the options of its destination, made into ``sink``."""
    return _destination(FRESHNESS_JOB, "OBS")(_sink_wrapper(command, metrics.FRESHNESS_METRICS))


def builds_sink_options(command: Command) -> Command:
    """Give a command the options of the destination of builds, made into ``sink``."""
    return _destination(BUILDS_JOB, "OBS_BUILDS")(_sink_wrapper(command, metrics.BUILD_METRICS))


def builds_evidence_options(command: Command) -> Command:
    """Give a gate the options of the group that has builds, made into ``pushgateway`` or None."""

    @in_group(
        EVIDENCE,
        option(
            "--pushgateway",
            env="OBS_GATE_PUSHGATEWAY",
            metavar="URL",
            help="Check the tables from what obs builds push has pushed to this Pushgateway.",
        ),
        option(
            "--grouping-key",
            type=Label(),
            multiple=True,
            help="Another label of the pushed group, in addition to job, project and target.",
        ),
        *_ACCESS,
    )
    @functools.wraps(command)
    def wrapper(
        dbt: Dbt, pushgateway: str | None, grouping_key: tuple[tuple[str, str], ...], **others: Any
    ) -> Any:
        access = {name: others.pop(name) for name in _ACCESS_NAMES}
        found = None
        if pushgateway:
            labels = {"job": BUILDS_JOB, **_labels(dbt.project, grouping_key)}
            found = _gateway(pushgateway, labels, 30.0, **access)
        return command(dbt=dbt, pushgateway=found, **others)

    return wrapper


def gateway_options(command: Command) -> Command:
    """Give a command a group of the Pushgateway: ``gateway`` makes it for a project and target."""

    @_group_of_gateway("dbt-freshness", "OBS")
    @functools.wraps(command)
    def wrapper(
        job: str,
        grouping_key: tuple[tuple[str, str], ...],
        pushgateway: str,
        push_timeout: float,
        **others: Any,
    ) -> Any:
        access = {name: others.pop(name) for name in _ACCESS_NAMES}

        def gateway(project: str, target: str) -> Pushgateway:
            labels = {"job": job, "project": project, "target": target, **dict(grouping_key)}
            return _gateway(pushgateway, labels, push_timeout, **access)

        return command(gateway=gateway, **others)

    return wrapper


def _sink_wrapper(command: Command, held: tuple[Metric, ...]) -> Command:
    @functools.wraps(command)
    def wrapper(
        dbt: Dbt,
        job: str,
        grouping_key: tuple[tuple[str, str], ...],
        textfile: Path | None,
        pushgateway: str,
        push_timeout: float,
        **others: Any,
    ) -> Any:
        access = {name: others.pop(name) for name in _ACCESS_NAMES}
        labels = _labels(dbt.project, grouping_key)
        if textfile:
            from ledgermind_obs.sinks.textfile import Textfile

            return command(dbt=dbt, sink=Textfile(textfile, labels, held), **others)
        group = {"job": job, **labels}
        return command(dbt=dbt, sink=_gateway(pushgateway, group, push_timeout, **access), **others)

    return wrapper


def _gateway(
    url: str,
    group: Mapping[str, str],
    seconds: float,
    *,
    pushgateway_username: str | None,
    pushgateway_password_file: Path | None,
    pushgateway_token_file: Path | None,
    pushgateway_ca_file: Path | None,
    pushgateway_cert_file: Path | None,
    pushgateway_key_file: Path | None,
) -> Pushgateway:
    """Return a group of the Pushgateway at this URL, with so many seconds for each call."""
    from ledgermind_obs.http.endpoint import Endpoint, Tls
    from ledgermind_obs.sinks.pushgateway import Pushgateway

    endpoint = Endpoint.parse(
        url,
        authorization=_authorization(
            pushgateway_username, pushgateway_password_file, pushgateway_token_file
        ),
        tls=Tls(pushgateway_ca_file, pushgateway_cert_file, pushgateway_key_file),
        timeout=seconds,
    )
    return Pushgateway(endpoint, group)


def _labels(project: Project, others: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    from ledgermind_obs.sinks.pushgateway import check_grouping_key

    labels = {"project": project.name, "target": project.target, **dict(others)}
    check_grouping_key(labels)
    return labels


def _authorization(
    username: str | None, password_file: Path | None, token_file: Path | None
) -> str:
    from ledgermind_obs.http.endpoint import basic_auth, bearer_auth

    token = secret("OBS_PUSHGATEWAY_TOKEN", token_file)
    password = secret("OBS_PUSHGATEWAY_PASSWORD", password_file, encoded=True)
    check_username(username, "--pushgateway-username")
    if token and username:
        raise ConfigurationError("give the Pushgateway a username with a password, or a token")
    if username:
        return basic_auth(username, password)
    return bearer_auth(token) if token else ""
