"""``obs lineage``: is it sound, how does it look, what does a change reach."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ledgermind_obs.cli import completion, warn
from ledgermind_obs.cli.findings_options import Handling, findings_options, tell
from ledgermind_obs.cli.groups import Group
from ledgermind_obs.cli.help import HelpfulCommand
from ledgermind_obs.cli.options import FORMATS, option
from ledgermind_obs.cli.project_options import Workplace, workplace_options
from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.dbt.manifest_file import open_manifest
from ledgermind_obs.errors import DOCS, ConfigurationError
from ledgermind_obs.lineage.findings import CODES, Surroundings, check
from ledgermind_obs.lineage.graph import Lineage, find_node, search
from ledgermind_obs.monitoring.findings import Finding

if TYPE_CHECKING:
    from ledgermind_obs.lineage.impact import Impact
    from ledgermind_obs.lineage.subgraph import Contents
    from ledgermind_obs.lineage.upstream import Upstream

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_PLACE = click.Path(path_type=Path)
# How long a source counts as measured that a later, narrowed run left out.
SEEN_SECONDS = 86400.0


CHECK_EXAMPLES = """
obs lineage check
# annotations on a pull request
obs lineage check ml_training_pipeline --format github
# a source that is known to have no freshness
obs lineage check --ignore L203:app.currencies
"""
GRAPH_EXAMPLES = """
obs lineage graph ml_training_pipeline --freshness
obs lineage graph ml_training_pipeline --format mermaid
"""
SEARCH_EXAMPLES = """
obs lineage search --tag ml
obs lineage search --name orders
"""
IMPACT_EXAMPLES = """
# what a stale source reaches
obs lineage impact app.orders
# what a pull request reaches; DIR holds the manifest.json of the main branch
obs lineage impact --state DIR --format markdown
"""


@click.group(cls=Group)
def lineage() -> None:
    """Show which data an exposure depends on, and whether that can be relied on."""


@lineage.command("check", cls=HelpfulCommand, examples=CHECK_EXAMPLES)
@click.argument("exposures", nargs=-1, shell_complete=completion.exposures)
@option("--tag", multiple=True, help="Check only exposures with this tag.")
@option("--rules", type=_PLACE, help="Alert rules.  [default: prometheus/rules, if there]")
@option(
    "--dashboards", type=_PLACE, help="Dashboards.  [default: ops/grafana/dashboards, if there]"
)
@option(
    "--artifact",
    env="OBS_LINEAGE_ARTIFACT",
    type=_FILE,
    help="The last run.  [default: the project's sources.json]",
)
@findings_options(CODES, "OBS_LINEAGE_IGNORE")
@workplace_options
def check_command(
    exposures: tuple[str, ...],
    tag: tuple[str, ...],
    rules: Path | None,
    dashboards: Path | None,
    artifact: Path | None,
    handling: Handling,
    place: Workplace,
) -> None:
    """Check the lineage upstream of exposures.

    Without EXPOSURES, all of them are checked. Exit code 1 means that a gate on that lineage cannot
    be trusted: an upstream source is not measured, or dbt cannot see what the data comes from.
    docs/lineage.md explains each code.
    """
    names = exposures or _chosen(place.lineage, tag)
    around = _surroundings(place, rules, dashboards, artifact)
    found = check(place.lineage, names, around)
    tell(found, handling, lambda finding: _located(finding, place))


def _chosen(lineage: Lineage, tags: Iterable[str]) -> list[str]:
    """Return the exposures with any of the tags; without tags all of them, disabled ones too."""
    wanted = set(tags)
    disabled = [uid for uid in lineage.disabled if uid.startswith("exposure.")]
    if wanted:
        tagged = {uid for tag in wanted for uid in search(lineage, [tag])}
        chosen = [uid for uid in lineage.exposures if uid in tagged]
    else:
        chosen = [*lineage.exposures, *disabled]
    if not chosen:
        which = f"with the tag {', '.join(sorted(wanted))}" if wanted else "at all"
        raise ConfigurationError(
            f"the project has no exposure {which}", f"declare one: {DOCS}/lineage.md"
        )
    return chosen


def _surroundings(
    place: Workplace, rules: Path | None, dashboards: Path | None, artifact: Path | None
) -> Surroundings:
    from ledgermind_obs.dbt.meta_obs import settings_of
    from ledgermind_obs.monitoring.files import dashboard_selectors, rule_selectors

    return Surroundings(
        project=place.project.name if place.project else None,
        manifest_name=_shown(place.opened.path),
        changed_files=place.opened.changed,
        clock=[
            (_shown((place.project_dir or Path()) / name), line)
            for name, line in place.opened.clock
        ],
        rules=rule_selectors(rules),
        dashboards=dashboard_selectors(dashboards),
        measured=_measured(place, artifact),
        settings=settings_of(place.opened.manifest, place.project_dir),
        now=datetime.now(UTC),
    )


def _measured(place: Workplace, artifact: Path | None) -> frozenset[str] | None:
    """Return the ids of the sources that the last run holds; None without a run.

    A run that was narrowed to an exposure or a selection does not undo the runs of the day before.
    """
    from ledgermind_obs.dbt.artifacts import last_run
    from ledgermind_obs.sinks.record import read_record

    found, project = last_run(artifact, place.targets), place.project
    if found is None or artifact or project is None or not project.target:
        return found
    record = read_record(project.private_target_path, project.name, project.target, warn)
    since = time.time() - SEEN_SECONDS
    seen = (uid for uid, looks in record.observations.items() if looks and looks[-1].until > since)
    return found | frozenset(seen)


def _located(finding: Finding, place: Workplace) -> Finding:
    from ledgermind_obs.lineage.locations import located

    return located(finding, place.lineage, place.project_dir)


def _shown(path: Path) -> str:
    """Return the path from here where it is below, else as it is."""
    here = Path.cwd()
    absolute = path.absolute()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(path)


@lineage.command("graph", cls=HelpfulCommand, examples=GRAPH_EXAMPLES)
@click.argument("exposure", shell_complete=completion.exposures)
@option(
    "--freshness",
    is_flag=True,
    help="Show the state that the last run found, and how old the data in each table is.",
)
@option(
    "--artifact",
    env="OBS_LINEAGE_ARTIFACT",
    type=_FILE,
    help="The last run.  [default: the project's sources.json]",
)
@option("--depth", type=click.IntRange(min=1), help="Maximum distance from the exposure.")
@option("--only-sources", is_flag=True, help="Show the exposure and its sources only.")
@option(
    "--format",
    "output",
    env="OBS_GRAPH_FORMAT",
    type=click.Choice(["tree", "mermaid", "dot", "json"]),
    default="tree",
    help="Output format.",
)
@workplace_options
def graph_command(
    exposure: str,
    freshness: bool,
    artifact: Path | None,
    depth: int | None,
    only_sources: bool,
    output: str,
    place: Workplace,
) -> None:
    """Draw what is upstream of an exposure."""
    from ledgermind_obs.gate.evidence import last_known
    from ledgermind_obs.gate.judge import freshness_at
    from ledgermind_obs.lineage import subgraph
    from ledgermind_obs.lineage.upstream import upstream_of
    from ledgermind_obs.render import graph

    upstream = upstream_of(place.lineage, exposure)
    states = None
    if freshness or artifact:
        evidence = last_known(artifact, place.targets, upstream)
        states = freshness_at(evidence, datetime.now(UTC))
    drawn = subgraph.graph_of(
        upstream,
        depth=depth,
        only_sources=only_sources,
        freshness=states,
        contents=_contents(place, upstream) if freshness else None,
    )
    if output == "tree":
        from ledgermind_obs.cli.show import screen
        from ledgermind_obs.render.tree import tree_text

        click.echo(tree_text(drawn, upstream.exposure, screen()))
        return
    formats: dict[str, Callable[[subgraph.Graph], str]] = {
        "mermaid": graph.as_mermaid,
        "dot": graph.as_dot,
        "json": graph.as_json,
    }
    click.echo(formats[output](drawn))


def _contents(place: Workplace, upstream: Upstream) -> Mapping[str, Contents]:
    """Return what is known of the tables upstream, if it is known whose they are."""
    from ledgermind_obs.gate.runs import builds_here
    from ledgermind_obs.gate.tables import contents_of

    if place.project is None or not place.project.target:
        return {}
    builds = builds_here(place.project, (), {}, upstream)
    for note in builds.notes:
        warn(note)
    return contents_of(builds)


@lineage.command("search", cls=HelpfulCommand, examples=SEARCH_EXAMPLES)
@option("--tag", multiple=True, help="Nodes with this tag; repeat it for nodes with all of them.")
@option(
    "--name", multiple=True, help="Nodes with this text in their name; repeat it for all of them."
)
@option(
    "--format",
    "output",
    env="OBS_SEARCH_FORMAT",
    type=FORMATS,
    default="table",
    help="Output format.",
)
@workplace_options
def search_command(
    tag: tuple[str, ...], name: tuple[str, ...], output: str, place: Workplace
) -> None:
    """List the nodes with a tag or a name.

    Exit code 1 means that there are none.
    """
    if not tag and not name:
        raise click.UsageError("say what to look for: --tag or --name")
    lineage = place.lineage
    found = [
        {"unique_id": uid, "name": lineage.label(uid), "kind": lineage.kind(uid)}
        for uid in search(lineage, tag, name)
    ]
    if output == "json":
        from ledgermind_obs.render.documents import to_json

        click.echo(to_json({"nodes": found}))
    else:
        for node in found:
            click.echo("{name}  {kind}  {unique_id}".format(**node))
    if not found:
        sys.exit(1)


@lineage.command("impact", cls=HelpfulCommand, examples=IMPACT_EXAMPLES)
@click.argument("nodes", nargs=-1, shell_complete=completion.nodes)
@option("--state", type=_DIRECTORY, help="Compare with the manifest.json in this directory.")
@option(
    "--fail-on",
    env="OBS_IMPACT_FAIL_ON",
    type=click.Choice(["critical", "unknown", "high", "low"]),
    help="Exit 1 if anything reaches this severity or a higher one.  [default: never]",
)
@option(
    "--format",
    "output",
    env="OBS_IMPACT_FORMAT",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    help="Output format.",
)
@workplace_options
def impact_command(
    nodes: tuple[str, ...],
    state: Path | None,
    fail_on: str | None,
    output: str,
    place: Workplace,
) -> None:
    """List what is downstream of nodes, or of all changes since --state."""
    from ledgermind_obs.lineage.impact import Severity, impact_of
    from ledgermind_obs.render import impact as impacts

    if bool(nodes) == bool(state):
        raise click.UsageError("name nodes, or give --state and no nodes")
    found = (
        _changes(place, state)
        if state
        else [impact_of(place.lineage, find_node(place.lineage, node)) for node in nodes]
    )
    formats = {
        "table": impacts.as_table,
        "json": impacts.as_json,
        "markdown": impacts.as_markdown,
    }
    click.echo(formats[output](found))
    if fail_on:
        order = list(Severity)
        bad = order[: order.index(Severity(fail_on)) + 1]
        sys.exit(1 if any(impact.severity in bad for impact in found) else 0)


def _changes(place: Workplace, state: Path) -> list[Impact]:
    """Return every change between the manifest in ``state`` and the current one."""
    from ledgermind_obs.lineage.changes import changes_between, read_state
    from ledgermind_obs.lineage.impact import impacts_of

    old, new = state / "manifest.json", place.opened.path
    before = open_manifest(old, read_lineage_manifest)
    changes = changes_between(
        read_state(old.read_bytes(), str(old)), read_state(new.read_bytes(), str(new))
    )
    return impacts_of(Lineage(before.manifest), place.lineage, changes)
