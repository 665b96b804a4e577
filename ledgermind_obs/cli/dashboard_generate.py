"""``obs dashboard generate``: a project's own dashboard."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import click

from ledgermind_obs.cli import completion
from ledgermind_obs.cli.generated_files import output_options, put, refuse_check_of_stdout
from ledgermind_obs.cli.help import HelpfulCommand
from ledgermind_obs.cli.options import option
from ledgermind_obs.cli.project_options import Workplace, workplace_options
from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.dbt.meta_obs import settings_of
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.lineage.graph import Lineage, find_node, sources_of
from ledgermind_obs.monitoring.alerts import DOCUMENT_RUNBOOK
from ledgermind_obs.monitoring.board import MOST_TILES, Board, chosen_tiles, config_map, model
from ledgermind_obs.monitoring.dashboard import Model, as_file, check_identity
from ledgermind_obs.monitoring.files import shipped_template
from ledgermind_obs.render.subject import ML_TRAINING, subject_of
from ledgermind_obs.render.yaml_document import to_yaml

EXAMPLES = """
obs dashboard generate --output dashboards/dbt_freshness.json
# in CI: is the file still what the project asks for?
obs dashboard generate --output dashboards/dbt_freshness.json --check
# a tile for each of these tables, in this order
obs dashboard generate --tile app.orders --tile app.payments
# for Grafana's sidecar, as kube-prometheus-stack has it
obs dashboard generate --format kubernetes | kubectl apply -f -
# without a file in between
obs dashboard generate | obs dashboard import -
"""

_COMMENT = "Written by `obs dashboard generate`; do not edit."


@click.command("generate", cls=HelpfulCommand, examples=EXAMPLES)
@option(
    "--tile",
    "tiles",
    multiple=True,
    metavar="SOURCE",
    shell_complete=completion.nodes,
    help="Give this table a tile of its own, in the order named.  "
    f"[default: all, if they are {MOST_TILES} or fewer; else those upstream of exposures, "
    "or of exposures with meta.obs, if they are]",
)
@option("--title", env="OBS_DASHBOARD_TITLE", help="Title.  [default: it names the project]")
@option(
    "--uid",
    env="OBS_DASHBOARD_UID",
    help="Identity in Grafana.  [default: dbt-freshness- and the project's name]",
)
@option("--runbook-url", default=DOCUMENT_RUNBOOK, help="Page that explains each alert.")
@option(
    "--all-projects",
    is_flag=True,
    help="Start with every project, and with gauges that name none.  [default: this project]",
)
@option("--show-target", metavar="TARGET", help="Start with this dbt target.  [default: all]")
@output_options(
    "DASHBOARD",
    ["grafana", "kubernetes"],
    "Dashboard, or a ConfigMap that Grafana's sidecar loads.",
)
@workplace_options
def generate_command(
    tiles: tuple[str, ...],
    title: str | None,
    uid: str | None,
    runbook_url: str,
    all_projects: bool,
    show_target: str | None,
    output: Path,
    output_format: str,
    check: bool,
    place: Workplace,
) -> None:
    """Write the Grafana dashboard of a dbt project.

    A few tables get a tile each, with their own limits as colours. The states of all sources, the
    age of each table, and what each exposure reads are below. docs/dashboard.md explains the
    panels.
    """
    refuse_check_of_stdout(output, check=check)
    project, chosen = place.project_name, _tiles(place, tiles)
    board = Board(
        project=project,
        sources=_sources(place.lineage, place.lineage.manifest.with_freshness()),
        tiles=_sources(place.lineage, chosen),
        exposures=bool(place.lineage.exposures),
        ml=_is_for_ml(place.lineage, chosen),
        title=title or "",
        uid=uid or "",
        runbook=runbook_url,
        starts_with=("" if all_projects else project, show_target or ""),
    )
    made = _checked(board)
    is_for_kubernetes = output_format == "kubernetes"
    text = to_yaml(config_map(made), _COMMENT) if is_for_kubernetes else as_file(made)
    put({output: text}, check=check)


def _tiles(place: Workplace, named: Collection[str]) -> list[str]:
    """Return the ids of the sources that get a tile; raises ConfigurationError."""
    lineage = place.lineage
    measured = set(lineage.manifest.with_freshness())
    if not named:
        gated = settings_of(place.opened.manifest, place.project_dir).exposures
        upstream = (_upstream(lineage, starts) & measured for starts in (lineage.exposures, gated))
        return chosen_tiles([measured, *upstream])
    found = [find_node(lineage, name) for name in named]
    for uid in found:
        if uid not in measured:
            raise ConfigurationError(
                f"{lineage.label(uid)} is no source with freshness",
                "name one that has it, or leave out --tile",
            )
    return list(dict.fromkeys(found))


def _checked(board: Board) -> Model:
    """Return the model; raises ConfigurationError if Grafana would refuse its uid or title."""
    made = model(board, shipped_template())
    check_identity(made, "the dashboard")
    return made


def _is_for_ml(lineage: Lineage, tiles: Collection[str]) -> bool:
    """Return whether one ML training reads all these sources."""
    training = [uid for uid, node in lineage.exposures.items() if subject_of(node) == ML_TRAINING]
    return bool(tiles) and any(set(tiles) <= _upstream(lineage, [uid]) for uid in training)


def _upstream(lineage: Lineage, exposures: Iterable[str]) -> set[str]:
    return set(sources_of(lineage, lineage.ancestors(exposures)))


def _sources(lineage: Lineage, ids: Iterable[str]) -> tuple[Source, ...]:
    return tuple(lineage.manifest.sources[uid] for uid in ids)
