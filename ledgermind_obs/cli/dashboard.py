"""``obs dashboard``: check dashboards, compare them with Grafana's, import them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from ledgermind_obs.cli import explain, warn
from ledgermind_obs.cli.catalogue_options import FORMATS, catalogue_options, tell
from ledgermind_obs.cli.credentials import secret
from ledgermind_obs.cli.help import Command, in_order
from ledgermind_obs.cli.options import Duration, option
from ledgermind_obs.errors import ConfigurationError, ObsError
from ledgermind_obs.http.endpoint import Endpoint, Tls, bearer_auth
from ledgermind_obs.monitoring import dashboard as dashboards
from ledgermind_obs.monitoring.dashboard import MAX_BYTES, Dashboard, read_dashboard
from ledgermind_obs.monitoring.expressions import Catalogue, Fault
from ledgermind_obs.monitoring.grafana import Grafana, Outcome
from ledgermind_obs.render.documents import to_json

_PATH = click.Path(path_type=Path, allow_dash=True)
_FILE = click.Path(path_type=Path, dir_okay=False)

_DASH = Path("-")

files_argument = click.argument(
    "files", nargs=-1, required=True, type=_PATH, metavar="FILE|DIR|-..."
)


@click.group()
def dashboard() -> None:
    """Check Grafana dashboards, and import them."""


_grafana_options = in_order(
    option("--url", env="GRAFANA_URL", default="http://localhost:3000", help="Grafana's address."),
    option("--api-key-file", type=_FILE, help="Holds the key; or set GRAFANA_API_KEY."),
    option("--ca-file", env="GRAFANA_CA_FILE", type=_FILE, help="A private CA, as PEM."),
    option(
        "--timeout",
        env="OBS_GRAFANA_TIMEOUT",
        type=Duration(),
        default="30s",
        help="How long a call may take with all its retries.",
    ),
    option(
        "--datasource",
        metavar="NAME|UID",
        help="The Prometheus data source.  [default: the only one, where one must be named]",
    ),
)


def grafana_options(command: Command) -> Command:
    """Give a command the options of Grafana's API, made into ``grafana``."""

    @functools.wraps(command)
    def wrapper(
        url: str,
        api_key_file: Path | None,
        ca_file: Path | None,
        timeout: float,
        **others: Any,
    ) -> Any:
        key = secret("GRAFANA_API_KEY", api_key_file)
        endpoint = Endpoint.parse(
            url,
            authorization=bearer_auth(key) if key else "",
            tls=Tls(ca_file),
            timeout=timeout,
        )
        if endpoint.exposes_credentials:
            warn(f"the key goes to {endpoint.url} unencrypted; use https://")
        return command(grafana=Grafana(endpoint), **others)

    return _grafana_options(wrapper)


@dashboard.command("import")
@files_argument
@grafana_options
@option("--folder", metavar="UID|TITLE", help="Where to.  [default: where it is, else General]")
@option("--create-folder", is_flag=True, help="Make the folder where there is none.")
@option("--message", default="imported by obs", help="For the dashboard's version history.")
@option("--force", is_flag=True, help="Replace an edit that was made while importing, too.")
@option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@option("--format", "output", type=FORMATS, default="table", help="What to print.")
def import_command(
    files: tuple[Path, ...],
    grafana: Grafana,
    datasource: str | None,
    folder: str | None,
    create_folder: bool,
    message: str,
    force: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Import dashboards into Grafana.

    What is there already stays as it is; what differs becomes a new version. Nothing replaces an
    edit that was made in between, nor another dashboard of the same title. In a directory every
    .json file is a dashboard. With --format json one object is printed for each.
    """
    place = _folder(grafana, folder, create=create_folder, dry_run=dry_run) if folder else None
    resolve = _resolver(grafana, datasource)

    def put(path: Path) -> None:
        found = resolve(_read(path))
        outcome = grafana.put(
            found, folder_uid=place, message=message, force=force, dry_run=dry_run
        )
        _show(found, outcome, grafana.endpoint.url, output)

    _each(_paths(files), put)


@dashboard.command()
@files_argument
@grafana_options
@option("--format", "output", type=FORMATS, default="table", help="What to print.")
def diff(files: tuple[Path, ...], grafana: Grafana, datasource: str | None, output: str) -> None:
    """Compare dashboards with those that Grafana has.

    Exit code 1 means that one differs, or is not there.
    """
    resolve, differing = _resolver(grafana, datasource), []

    def compare(path: Path) -> None:
        found = resolve(_read(path))
        stored = grafana.find(found.uid)
        lines = (
            dashboards.differences(stored.model, found.model)
            if stored
            else [f"{found.uid} is not in Grafana"]
        )
        differing.extend(lines)
        _show_differences(found, lines, output)

    _each(_paths(files), compare)
    sys.exit(1 if differing else 0)


@dashboard.command()
@files_argument
@option("--format", "output", type=FORMATS, default="table", help="What to print.")
@catalogue_options
def check(files: tuple[Path, ...], output: str, catalogue: Catalogue) -> None:
    """Check dashboards without asking Grafana.

    Exit code 1 means that something is wrong: panel ids, places, units, thresholds, a data source
    that is not resolved, a green tile for no data, a query that is not PromQL or asks for a metric,
    a label or a table that is not there.
    """
    faults: list[Fault] = []

    def look(path: Path) -> None:
        faults.extend(dashboards.check(_read(path), catalogue))

    paths = _paths(files)
    code = _failures(paths, look)
    tell(faults, f"{len(paths)} file{'' if len(paths) == 1 else 's'}", output, code)


def _folder(grafana: Grafana, wanted: str, *, create: bool, dry_run: bool) -> str | None:
    """Return the folder's uid; None stands for one that a dry run does not make."""
    found = grafana.find_folder(wanted)
    if found is not None:
        return found
    if create:
        return None if dry_run else grafana.create_folder(wanted)
    raise ConfigurationError(
        f"{grafana.endpoint.url} has no folder {wanted!r}",
        "name another with --folder, or let it be made with --create-folder",
    )


def _resolver(grafana: Grafana, wanted: str | None) -> Callable[[Dashboard], Dashboard]:
    """Return what fills in the data source; Grafana is asked for it once, and only if need be."""
    uid = functools.cache(grafana.data_source)

    def resolve(found: Dashboard) -> Dashboard:
        needed = wanted or found.inputs
        return dashboards.resolved(found, uid(wanted or "") if needed else "")

    return resolve


def _each(paths: list[Path], work: Callable[[Path], None]) -> None:
    """Do the work on every path; exit with an error's code where it failed for one of them."""
    if code := _failures(paths, work):
        sys.exit(code)


def _failures(paths: list[Path], work: Callable[[Path], None]) -> int:
    """Do the work on every path; one that fails is named and does not stop the others."""
    codes = [0]
    for path in paths:
        try:
            work(path)
        except ObsError as error:
            explain(error)
            codes.append(error.exit_code)
    return max(codes)


def _paths(given: tuple[Path, ...]) -> list[Path]:
    paths = [path for place in given for path in _below(place)]
    if not paths:
        raise ConfigurationError(f"no .json file in {', '.join(map(str, given))}")
    return paths


def _below(place: Path) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(path for path in place.rglob("*.json") if path.is_file())
    else:
        yield place


def _read(path: Path) -> Dashboard:
    """Return the dashboard of a file; what is too large to be one is not read to its end."""
    name = "standard input" if path == _DASH else str(path)
    try:
        if path == _DASH:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"cannot read {name}: {error.strerror}") from error
    return read_dashboard(content, name)


def _show(found: Dashboard, outcome: Outcome, url: str, output: str) -> None:
    if output == "json":
        click.echo(to_json({**msgspec.structs.asdict(outcome), "file": found.name}))
        return
    version = f"version {outcome.version}" if outcome.version else ""
    click.echo("  ".join(filter(None, [outcome.action, outcome.uid, found.title, version])))
    if outcome.url:
        click.echo(f"    {url}{outcome.url}")


def _show_differences(found: Dashboard, lines: list[str], output: str) -> None:
    if output == "json":
        click.echo(to_json({"file": found.name, "uid": found.uid, "differences": lines}))
        return
    click.echo(f"{found.name}: {len(lines) or 'no'} difference{'' if len(lines) == 1 else 's'}")
    for line in lines:
        click.echo(f"    {line}")
