"""The options of the gate: in front of which exposure, by what evidence, and what it allows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from ledgermind_obs.cli import completion
from ledgermind_obs.cli.help import EVIDENCE, GATE, SELECTION, Command, in_group, in_order
from ledgermind_obs.cli.manifest_options import manifest_options
from ledgermind_obs.cli.options import Duration, builds_evidence_options, option
from ledgermind_obs.cli.prometheus_options import (
    prometheus_access,
    prometheus_endpoint,
    prometheus_label,
    prometheus_token,
    push_max_age,
)
from ledgermind_obs.dbt.manifest_file import ManifestChoice

if TYPE_CHECKING:  # a push without an exposure pays for neither
    from ledgermind_obs.http.endpoint import Endpoint
    from ledgermind_obs.lineage.blind_spots import Blindness
    from ledgermind_obs.sinks.pushgateway import Pushgateway

_FILE = click.Path(path_type=Path, dir_okay=False)


class Above(msgspec.Struct, frozen=True):
    """An exposure, and the manifest that says what is above it."""

    exposure: str
    manifest: ManifestChoice


class Gate(msgspec.Struct, frozen=True):
    """In front of which exposure the gate is, if of one, and by what it decides.

    Ages are in seconds.
    """

    exposure: str | None
    manifest: ManifestChoice
    tolerated: Mapping[Blindness, tuple[str, ...]]
    artifact: Path | None
    artifact_max_age: float
    prometheus: Endpoint | None
    prometheus_labels: Mapping[str, str]
    push_max_age: float
    run_results: tuple[Path, ...]
    pushgateway: Pushgateway | None
    sources_only: bool
    allow_unbuilt: tuple[str, ...]
    allow_failed_test: tuple[str, ...]
    allow_unknown_age: tuple[str, ...]


_EVIDENCE = in_group(
    EVIDENCE,
    option(
        "--artifact",
        env="OBS_GATE_ARTIFACT",
        type=_FILE,
        help="Check this sources.json, or dbt v2's freshness.json, instead of measuring.",
    ),
    option(
        "--artifact-max-age",
        type=Duration(),
        default="1h",
        help="Maximum age of the artifact.",
    ),
    option(
        "--prometheus",
        env="OBS_GATE_PROMETHEUS",
        metavar="URL",
        help="Check what was last pushed, as this Prometheus has it, instead of measuring.",
    ),
    prometheus_label,
    prometheus_access,
    push_max_age,
    option(
        "--run-results",
        type=_FILE,
        multiple=True,
        help="What dbt build wrote; may be repeated.  [default: the project's run_results.json]",
    ),
)
_OPTIONS = in_group(
    GATE,
    option(
        "--exposure",
        metavar="NAME",
        shell_complete=completion.exposures,
        help="Check only what is upstream of this exposure: its sources, and the tables built "
        "from them.",
    ),
    option("--sources-only", is_flag=True, help="Check its sources, but not the tables."),
    option(
        "--allow-unbuilt",
        multiple=True,
        metavar="PATTERN",
        help="Allow tables whose last build failed, was skipped, or is not known.",
    ),
    option(
        "--allow-failed-test",
        multiple=True,
        metavar="PATTERN",
        help="Allow failed tests; the pattern matches a test or its table.",
    ),
    option(
        "--allow-unknown-age",
        multiple=True,
        metavar="PATTERN",
        help="Allow data of unknown age; the pattern matches a table or a source.",
    ),
    option(
        "--allow-no-freshness",
        multiple=True,
        metavar="PATTERN",
        help="Allow sources that have no freshness.",
    ),
    option(
        "--allow-seed",
        multiple=True,
        metavar="PATTERN",
        help="Allow seeds upstream of the exposure.",
    ),
    option(
        "--allow-unseen",
        multiple=True,
        metavar="PATTERN",
        help="Allow nodes whose own sources dbt cannot see.",
    ),
)


_OF_TABLES = (
    *("run_results", "pushgateway", "sources_only"),
    *("allow_unbuilt", "allow_failed_test", "allow_unknown_age"),
)


def gate_options(command: Command) -> Command:
    """Give a command the options of a gate, made into ``gate``."""

    @functools.wraps(command)
    def wrapper(
        exposure: str | None,
        choice: ManifestChoice,
        artifact: Path | None,
        artifact_max_age: float,
        prometheus: str | None,
        prometheus_label: tuple[tuple[str, str], ...],
        prometheus_token_file: Path | None,
        prometheus_tenant: str,
        push_max_age: float,
        allow_no_freshness: tuple[str, ...],
        allow_seed: tuple[str, ...],
        allow_unseen: tuple[str, ...],
        **others: Any,
    ) -> Any:
        own = {name: others.pop(name) for name in _OF_TABLES}
        _check_usage(exposure, artifact, prometheus, {**others, **own})
        token = prometheus_token(prometheus_token_file)
        endpoint = prometheus_endpoint(prometheus, token, prometheus_tenant) if prometheus else None
        gate = Gate(
            exposure=exposure,
            manifest=choice,
            tolerated=_tolerated(allow_no_freshness, allow_seed, allow_unseen),
            artifact=artifact,
            artifact_max_age=artifact_max_age,
            prometheus=endpoint,
            prometheus_labels=dict(prometheus_label),
            push_max_age=push_max_age,
            **own,
        )
        return command(gate=gate, **others)

    return manifest_options(in_order(_OPTIONS, _EVIDENCE)(builds_evidence_options(wrapper)))


_measured_exposure = option(
    "--exposure",
    metavar="NAME",
    shell_complete=completion.exposures,
    help="Measure only the sources upstream of this exposure.",
)


def exposure_option(command: Command) -> Command:
    """Give a command that measures ``--exposure`` without the options of a decision."""

    @in_group(SELECTION, _measured_exposure)
    @functools.wraps(command)
    def wrapper(exposure: str | None, choice: ManifestChoice, **others: Any) -> Any:
        _check_usage(exposure, None, None, others)
        return command(above=Above(exposure, choice) if exposure else None, **others)

    return manifest_options(wrapper)


def _check_usage(
    exposure: str | None, artifact: Path | None, prometheus: str | None, others: Mapping[str, Any]
) -> None:
    if artifact and prometheus:
        raise click.UsageError("check --artifact or --prometheus, not both")
    if prometheus and others.get("pushgateway"):
        raise click.UsageError("check the tables by --prometheus or --pushgateway, not both")
    given = [name for name in _OF_TABLES if others.get(name)]
    if given and not exposure:
        named = "--" + given[0].replace("_", "-")
        raise click.UsageError(f"{named} is about what is upstream of an --exposure: name one")
    if exposure and (others.get("select") or others.get("exclude")):
        raise click.UsageError("--exposure selects by itself: drop --select and --exclude")


def _tolerated(
    no_freshness: tuple[str, ...], seed: tuple[str, ...], unseen: tuple[str, ...]
) -> dict[Blindness, tuple[str, ...]]:
    """Return the patterns by what they let through; the other kinds are faults of the project."""
    from ledgermind_obs.lineage.blind_spots import Blindness

    return {
        Blindness.NO_FRESHNESS: no_freshness,
        Blindness.UNMEASURABLE: no_freshness,
        Blindness.SEED: seed,
        Blindness.UNSEEN: unseen,
        Blindness.OTHER_PROJECT: unseen,
    }
