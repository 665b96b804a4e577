"""Two Dagster jobs that call obs: freshness every 15 minutes, and training behind the gate.

``obs`` and dbt are in a virtual environment of their own, so that their dependencies do not meet
Dagster's. The settings are those of ``ops/obs.env``, as environment variables of the code location.
"""

import os
import subprocess

import dagster as dg

GATE = "obs freshness check --exposure ml_training_pipeline"
PATH = f"{os.environ.get('OBS_BIN', '/opt/obs/bin')}:{os.environ['PATH']}"


def run(context: dg.OpExecutionContext, command: str) -> None:
    """Run a command and log what it says; raise Failure unless it exits with 0."""
    ended = subprocess.run(
        ["/bin/sh", "-c", command],
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    for line in [*ended.stdout.splitlines(), *ended.stderr.splitlines()]:
        context.log.info(line)
    if ended.returncode:
        raise dg.Failure(f"exit code {ended.returncode}: {command}", allow_retries=False)


@dg.op
def freshness_push(context: dg.OpExecutionContext) -> None:
    """Measure the sources and push."""
    run(context, "obs freshness push --format table")


@dg.op(ins={"after": dg.In(dg.Nothing)})
def build(context: dg.OpExecutionContext) -> None:
    """Build, and push what was built also if the build failed."""
    run(context, "dbt build; built=$?; obs builds push && exit $built")


@dg.op(ins={"after": dg.In(dg.Nothing)})
def gate(context: dg.OpExecutionContext) -> None:
    """Fail unless training may run on the data; what comes after a failed op is skipped."""
    run(context, GATE)


@dg.op(ins={"after": dg.In(dg.Nothing)})
def train(context: dg.OpExecutionContext) -> None:
    """Train."""
    run(context, os.environ.get("TRAIN_COMMAND", "/opt/training/bin/train"))


@dg.job
def dbt_freshness() -> None:
    """Freshness alone."""
    freshness_push()


@dg.job
def ml_training() -> None:
    """Measure, build, and train if the gate lets it."""
    train(gate(build(freshness_push())))


definitions = dg.Definitions(
    jobs=[dbt_freshness, ml_training],
    schedules=[
        dg.ScheduleDefinition(job=dbt_freshness, cron_schedule="*/15 * * * *"),
        dg.ScheduleDefinition(job=ml_training, cron_schedule="30 3 * * 1"),
    ],
)
