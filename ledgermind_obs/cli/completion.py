"""``obs completion``, and what a shell is offered beyond commands and options.

Names come from a manifest that is already there: completing a word never runs dbt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledgermind_obs.cli.help import HelpfulCommand

if TYPE_CHECKING:  # pressing Tab must not be slow
    from ledgermind_obs.dbt.manifest import LineageManifest

EXAMPLES = """
# for this shell
eval "$(obs completion bash)"
# for good
obs completion bash >> ~/.bashrc
obs completion zsh >> ~/.zshrc
obs completion fish > ~/.config/fish/completions/obs.fish
"""


@click.command(cls=HelpfulCommand, examples=EXAMPLES)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that completes commands, options, exposures, nodes and targets.

    Names are taken from the project's manifest.json as it is.
    """
    from click.shell_completion import get_completion_class

    completer = get_completion_class(shell)
    assert completer is not None  # noqa: S101 - the choice has no other
    click.echo(completer(ctx.find_root().command, {}, "obs", "_OBS_COMPLETE").source())


def exposures(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of exposures that begin so."""
    return _beginning(incomplete, _names(ctx, _exposures_of))


def nodes(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of sources, models and other nodes that begin so."""
    return _beginning(incomplete, _names(ctx, _nodes_of))


def targets(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the targets of the project's profile that begin so."""
    with suppress(Exception):  # a shell that completes a word has nobody to tell
        return _beginning(incomplete, _targets(ctx.params))
    return []


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _names(ctx: click.Context, choose: Callable[[LineageManifest], Iterable[str]]) -> Iterable[str]:
    from ledgermind_obs.dbt.manifest import read_lineage_manifest

    with suppress(Exception):
        path = ctx.params.get("manifest") or _newest(ctx.params)
        return list(choose(read_lineage_manifest(Path(path).read_bytes())))
    return []


def _newest(params: Mapping[str, Any]) -> Path:
    """Return the manifest that was written last; raises ValueError if there is none."""
    from ledgermind_obs.dbt.project import find_project_dir

    own = find_project_dir(params.get("project_dir")) / "target"
    target = Path(params.get("target_path") or own)
    found = [*target.glob("manifest.json"), *target.glob("obs/*/manifest.json")]
    return max(found, key=lambda path: path.stat().st_mtime)


def _exposures_of(manifest: LineageManifest) -> Iterable[str]:
    return [exposure.name for exposure in (manifest.exposures or {}).values()]


def _nodes_of(manifest: LineageManifest) -> Iterable[str]:
    return [node.label for node in manifest.graph().values()]


def _targets(params: Mapping[str, Any]) -> Iterable[str]:
    from ledgermind_obs.dbt.project import (
        PROFILES_FILE,
        PROJECT_FILE,
        find_project_dir,
        load_yaml,
        profiles_directory,
    )

    directory = find_project_dir(params.get("project_dir"))
    profiles = load_yaml(profiles_directory(directory, params.get("profiles_dir")) / PROFILES_FILE)
    profile = params.get("profile") or load_yaml(directory / PROJECT_FILE)["profile"]
    return list(map(str, profiles[profile]["outputs"]))
