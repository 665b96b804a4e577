"""``obs dashboard``: check dashboards, compare them with Grafana's, import them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from ledgermind_obs.cli import explain, warn
from ledgermind_obs.cli.catalogue_options import catalogue_options, source_names
from ledgermind_obs.cli.credentials import secret
from ledgermind_obs.cli.dashboard_generate import generate_command
from ledgermind_obs.cli.findings_options import Handling, findings_options, read_each, tell
from ledgermind_obs.cli.groups import Group
from ledgermind_obs.cli.help import DESTINATION, OUTPUT, Command, HelpfulCommand, in_group
from ledgermind_obs.cli.options import FORMATS, Duration, option
from ledgermind_obs.cli.project_options import Workplace
from ledgermind_obs.errors import ConfigurationError, ObsError
from ledgermind_obs.http.endpoint import Endpoint, Tls, bearer_auth
from ledgermind_obs.monitoring import dashboard as dashboards
from ledgermind_obs.monitoring.board import Board, model
from ledgermind_obs.monitoring.dashboard import (
    CODES,
    MAX_BYTES,
    Dashboard,
    panel_titles,
    read_dashboard,
)
from ledgermind_obs.monitoring.expressions import Catalogue
from ledgermind_obs.monitoring.files import dashboard_files, read_file, shipped_template
from ledgermind_obs.monitoring.findings import Checked
from ledgermind_obs.monitoring.grafana import NEW_FOLDER, Grafana, Outcome
from ledgermind_obs.render.documents import to_json

_PATH = click.Path(path_type=Path, allow_dash=True)
_FILE = click.Path(path_type=Path, dir_okay=False)

_DASH = Path("-")
_Reader = Callable[[], Dashboard]

files_argument = click.argument(
    "files", nargs=-1, required=True, type=_PATH, metavar="FILE|DIR|-..."
)


_format_option = in_group(
    OUTPUT,
    option(
        "--format",
        "output",
        env="OBS_DASHBOARD_FORMAT",
        type=FORMATS,
        default="table",
        help="Output format.",
    ),
)

CHECK_EXAMPLES = """
obs dashboard check ops/grafana/dashboards
# metrics of node_exporter beside those of obs
obs dashboard check board.json --allow-metric 'node_*'
# annotations on a pull request; warnings fail, too
obs dashboard check boards --format github --fail-on warning
"""
IMPORT_EXAMPLES = """
obs dashboard import ops/grafana/dashboards --folder ML
# what would be done
obs dashboard import board.json --dry-run
# without a folder in between
obs dashboard import - < board.json
"""
DIFF_EXAMPLES = """
obs dashboard diff ops/grafana/dashboards
obs dashboard diff board.json --format json
"""


@click.group(cls=Group)
def dashboard() -> None:
    """Write Grafana dashboards, check and import them."""


dashboard.add_command(generate_command)

_grafana_options = in_group(
    DESTINATION,
    option("--url", env="GRAFANA_URL", default="http://localhost:3000", help="Grafana's URL."),
    option("--api-key-file", type=_FILE, help="File with the API key, or set GRAFANA_API_KEY."),
    option("--ca-file", env="GRAFANA_CA_FILE", type=_FILE, help="A private CA, in PEM format."),
    option(
        "--timeout",
        env="OBS_GRAFANA_TIMEOUT",
        type=Duration(),
        default="30s",
        help="Time limit of a call, retries included.",
    ),
    option(
        "--datasource",
        metavar="NAME|UID",
        help="The Prometheus data source.  [default: the only one, if one is needed]",
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


@dashboard.command("import", cls=HelpfulCommand, examples=IMPORT_EXAMPLES)
@click.argument("files", nargs=-1, type=_PATH, metavar="[FILE|DIR|-]...")
@grafana_options
@option(
    "--folder",
    metavar="UID|TITLE",
    help="Target folder, by UID or title.  [default: its current folder, or General]",
)
@option("--create-folder", is_flag=True, help="Create the folder if it does not exist.")
@option("--message", default="imported by obs", help="Text for the version history.")
@option(
    "--force",
    is_flag=True,
    help="Overwrite even if someone edited the dashboard during the import.",
)
@option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@_format_option
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

    A dashboard that is already there stays as it is; one that differs becomes a new version. An
    edit made during the import is not overwritten, and neither is another dashboard of the same
    title. In a directory, every .json file is a dashboard. Without FILE, it is a dashboard for any
    project; obs dashboard generate makes one for yours. With --format json, one object is printed
    per dashboard.
    """
    resolve = _resolver(grafana, datasource)

    @functools.cache  # Grafana is asked once, and after a dashboard was read
    def place() -> str | None:
        grafana.refuse_what_is_too_old()
        return _folder(grafana, folder, create=create_folder, dry_run=dry_run) if folder else None

    def put(board: Dashboard) -> None:
        folder_uid, found = place(), resolve(board)
        outcome = grafana.put(
            found, folder_uid=folder_uid, message=message, force=force, dry_run=dry_run
        )
        _show(found, outcome, grafana, output)

    _each(_readers(files) if files else [_for_any_project], put)


@dashboard.command(cls=HelpfulCommand, examples=DIFF_EXAMPLES)
@files_argument
@grafana_options
@_format_option
def diff(files: tuple[Path, ...], grafana: Grafana, datasource: str | None, output: str) -> None:
    """Compare dashboards with those that Grafana has.

    Exit code 1 means that a dashboard differs, or is not in Grafana.
    """
    resolve, differing = _resolver(grafana, datasource), []

    def compare(board: Dashboard) -> None:
        found = resolve(board)
        stored = grafana.find(found.uid)
        lines = grafana.differences(stored, found) if stored else [f"{found.uid} is not in Grafana"]
        differing.extend(lines)
        _show_differences(found, lines, output)

    _each(_readers(files), compare)
    sys.exit(1 if differing else 0)


@dashboard.command(cls=HelpfulCommand, examples=CHECK_EXAMPLES)
@files_argument
@findings_options(CODES, "OBS_DASHBOARD_IGNORE")
@catalogue_options
def check(
    files: tuple[Path, ...],
    handling: Handling,
    place: Workplace,  # noqa: ARG001 - the catalogue is all that is needed of it
    catalogue: Catalogue,
) -> None:
    """Check dashboards without asking Grafana.

    Exit code 1 means that a panel could mislead or stay empty: it would show missing data in green,
    its thresholds do not count, its query merges sources or asks for a metric, label or table that
    is not there. Warnings are about layout, titles and units. docs/dashboard.md explains each code.
    """
    paths = dashboard_files(files)
    boards, unread = read_each(paths, _read)
    checked = Checked(
        command="dashboard check",
        codes=CODES,
        looked_at={
            "files": [str(path) for path in paths],
            "panels": [title for board in boards for title in panel_titles(board)],
            "sources": source_names(catalogue),
        },
        findings=[found for board in boards for found in dashboards.check(board, catalogue)],
        unread=unread,
    )
    tell(checked, handling)


def _folder(grafana: Grafana, wanted: str, *, create: bool, dry_run: bool) -> str:
    """Return the folder's uid; a dry run makes none."""
    found = grafana.find_folder(wanted)
    if found is not None:
        return found
    if create:
        return NEW_FOLDER if dry_run else grafana.create_folder(wanted)
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


def _each(boards: Iterable[_Reader], work: Callable[[Dashboard], None]) -> None:
    """Do the work on every dashboard; exit with an error's code where it failed for one of them."""
    if code := _failures(boards, work):
        sys.exit(code)


def _failures(boards: Iterable[_Reader], work: Callable[[Dashboard], None]) -> int:
    """Do the work on every dashboard; one that fails is named and does not stop the others."""
    codes = [0]
    for read in boards:
        try:
            work(read())
        except ObsError as error:
            explain(error)
            codes.append(error.exit_code)
    return max(codes)


def _readers(files: Iterable[Path]) -> list[_Reader]:
    return [functools.partial(_read, path) for path in dashboard_files(files)]


def _for_any_project() -> Dashboard:
    return Dashboard("the dashboard for any project", model(Board(), shipped_template()))


def _read(path: Path) -> Dashboard:
    """Return the dashboard of a file; what is too large to be one is not read to its end."""
    if path == _DASH:
        return read_dashboard(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
    return read_dashboard(read_file(path), str(path))


def _show(found: Dashboard, outcome: Outcome, grafana: Grafana, output: str) -> None:
    if output == "json":
        click.echo(to_json({**msgspec.structs.asdict(outcome), "file": found.name}))
        return
    version = f"version {outcome.version}" if outcome.version else ""
    click.echo("  ".join(filter(None, [outcome.action, outcome.uid, found.title, version])))
    if outcome.url:
        click.echo(f"    {grafana.link(outcome.url)}")


def _show_differences(found: Dashboard, lines: list[str], output: str) -> None:
    if output == "json":
        click.echo(to_json({"file": found.name, "uid": found.uid, "differences": lines}))
        return
    click.echo(f"{found.name}: {len(lines) or 'no'} difference{'' if len(lines) == 1 else 's'}")
    for line in lines:
        click.echo(f"    {line}")
