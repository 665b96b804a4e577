"""``obs freshness check``: measure, and decide."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ledgermind_obs.cli.archive_options import archive_options, keep_evidence, manifest_path
from ledgermind_obs.cli.gate_options import Gate, gate_options
from ledgermind_obs.cli.help import GATE, OUTPUT, in_group
from ledgermind_obs.cli.measuring import Measure, measure_selection, remembering
from ledgermind_obs.cli.options import (
    FORMATS,
    Duration,
    dbt_options,
    lock_timeout_option,
    option,
)
from ledgermind_obs.cli.refusal import Answer, GateCommand, remember
from ledgermind_obs.dbt.project import Dbt
from ledgermind_obs.engines.settings import Engine, Postgres
from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.freshness import STATES, State

if TYPE_CHECKING:
    from ledgermind_obs.gate.evidence import Evidence, Request
    from ledgermind_obs.gate.judge import Verdict
    from ledgermind_obs.gate.policy import Policy

EXAMPLES = """
# in front of a training job
obs freshness check --exposure ml_training_pipeline && train
# no source may be older than five days
obs freshness check --max-age 5d
# keep what was checked, and repeat the verdict a year later
obs freshness check --exposure ml_training_pipeline --evidence evidence.json
obs freshness check --replay evidence.json
# after dbt build of what is upstream: sources, tables and tests
obs freshness check --exposure ml_training_pipeline --run-results target/run_results.json
# without access to the warehouse: check what was last pushed
obs freshness check --exposure ml_training_pipeline --prometheus http://prometheus:9090
"""

_policy_options = in_group(
    GATE,
    option(
        "--max-age",
        type=Duration(),
        help="Block older data, whatever dbt's limits say.  [default: what the exposure says in "
        "meta.obs]",
    ),
    option(
        "--fail-on",
        env="OBS_GATE_FAIL_ON",
        type=click.Choice(["warn", "error"]),
        help="Block from this state of dbt's on.  [default: what the exposure says in "
        "meta.obs, else error]",
    ),
    *(
        option(f"--allow-{state.replace('_', '-')}", is_flag=True, help=f"Allow {each.sources}.")
        for state, each in STATES.items()
        if each.sources
    ),
)

_output_options = in_group(
    OUTPUT,
    option(
        "--explain",
        is_flag=True,
        help="Name the look-ups that scan a whole table, and the index that would help.",
    ),
    option(
        "--format",
        "output",
        env="OBS_GATE_FORMAT",
        type=FORMATS,
        default="table",
        help="Output format.",
    ),
)


@click.command(cls=GateCommand, examples=EXAMPLES)
@archive_options
@dbt_options
@gate_options
@_policy_options
@_output_options
@lock_timeout_option("1m")
def check(
    dbt: Dbt,
    engine: Engine,
    select: tuple[str, ...],
    exclude: tuple[str, ...],
    gate: Gate,
    max_age: float | None,
    fail_on: str | None,
    explain: bool,
    output: str,
    keep: Path | None,
    lock_timeout: float,
    **allow: bool,
) -> Answer:
    """Measure the sources, then decide whether ML training may run.

    Exit code 0 lets it run; every other one stops it. A source that cannot be measured stops it
    too. With --exposure the tables between the sources and the exposure count as well: they must be
    built and tested with success, from data no older than each source's own limit.
    """
    from ledgermind_obs.cli.instruments import instruments
    from ledgermind_obs.gate.evidence import gather
    from ledgermind_obs.gate.judge import judge

    engine = _explaining(engine) if explain else engine
    evidence = gather(
        _request(dbt, gate, select, exclude),
        instruments(
            dbt,
            gate.manifest,
            _measuring(dbt, engine, gate, quiet=output == "json"),
            lock_timeout,
            remember,
        ),
    )
    policy = _policy(gate, max_age, fail_on, allow)
    verdict = judge(evidence, policy, evidence.gathered_at)
    if keep:
        manifest = manifest_path(dbt.project, gate.manifest)
        keep_evidence(keep, evidence, policy, verdict, manifest)
    return Answer(verdict.lets_through, in_words(evidence, verdict, output))


def _measuring(dbt: Dbt, engine: Engine, gate: Gate, *, quiet: bool) -> Measure:
    """Return what measures for the gate, and keeps what it saw."""
    notes = gate.exposure is None
    return remembering(
        dbt.project,
        lambda chosen, without: measure_selection(
            engine, chosen, without, quiet=quiet, tell_notes=notes
        ),
    )


def _request(dbt: Dbt, gate: Gate, select: tuple[str, ...], exclude: tuple[str, ...]) -> Request:
    from ledgermind_obs.gate.evidence import Request

    return Request(
        project=dbt.project,
        exposure=gate.exposure,
        select=select,
        exclude=exclude,
        artifact=gate.artifact,
        artifact_max_age=gate.artifact_max_age,
        prometheus=gate.prometheus,
        prometheus_labels=gate.prometheus_labels,
        push_max_age=gate.push_max_age,
        tables=not gate.sources_only,
        run_results=gate.run_results,
        pushgateway=gate.pushgateway,
    )


def in_words(evidence: Evidence, verdict: Verdict, output: str) -> str:
    """Return a verdict as text, or as JSON if ``output`` is that."""
    from ledgermind_obs.render import verdict as verdicts

    if output == "json":
        from ledgermind_obs.render.documents import to_json

        return to_json(verdicts.document(evidence, verdict, evidence.gathered_at))
    colour = "green" if verdict.lets_through else "red"
    lines = [click.style(verdicts.sentence(evidence, verdict), bold=True, fg=colour)]
    lines += verdicts.body(evidence, verdict)
    if evidence.report.scans is not None:
        lines += ["", *verdicts.scans(evidence.report.scans)]
    return "\n".join(lines)


def _explaining(engine: Engine) -> Engine:
    if not isinstance(engine, Postgres):
        raise ConfigurationError("dbt cannot explain its look-ups", "add --engine postgres")
    return msgspec.structs.replace(engine, explain=True)


def _policy(
    gate: Gate, max_age: float | None, fail_on: str | None, allow: dict[str, bool]
) -> Policy:
    from ledgermind_obs.gate.policy import Policy

    allowed = {State(name.removeprefix("allow_")) for name, given in allow.items() if given}
    return Policy(
        fail_on_warn=fail_on == "warn" if fail_on else None,
        allowed=frozenset(allowed),
        max_age_seconds=max_age,
        tolerated=gate.tolerated,
        allow_unbuilt=gate.allow_unbuilt,
        allow_failed_test=gate.allow_failed_test,
        allow_unknown_age=gate.allow_unknown_age,
    )
