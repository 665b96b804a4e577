"""Two DAGs that call obs: freshness every 15 minutes, and training behind the gate.

``obs`` and dbt are in a virtual environment of their own, so that their dependencies do not meet
Airflow's. The settings are those of ``ops/obs.env``, in a file that every worker has.
"""

import os
from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

SETTINGS = os.environ.get("OBS_SETTINGS", "/etc/obs/obs.env")
BIN = os.environ.get("OBS_BIN", "/opt/obs/bin")
GATE = "obs freshness check --exposure ml_training_pipeline"
# The rest comes from the worker: PGPASSWORD from its secrets, for example.
ENVIRONMENT = {"PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin"}


def task(name: str, command: str, **settings: object) -> BashOperator:
    """Return a task that runs a command with the settings of obs."""
    return BashOperator(
        task_id=name,
        bash_command=f"set -a; . {SETTINGS} && exec {command}",
        env=ENVIRONMENT,
        append_env=True,
        **settings,
    )


with DAG(
    dag_id="dbt_freshness",
    schedule="*/15 * * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,  # what was not measured cannot be measured any more
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=14),
):
    # No retries: the next run comes in 15 minutes, and obs itself retries the push.
    task("freshness_push", "obs freshness push", retries=0)

with DAG(
    dag_id="ml_training",
    schedule="30 3 * * 1",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
):
    measure = task("freshness_push", "obs freshness push", retries=0)
    build = task("dbt_build", "dbt build", retries=0)
    # Also after a build that failed: the alerts and the gate have to know of it.
    record = task("builds_push", "obs builds push", retries=0, trigger_rule="all_done")
    # The gate is not retried, and its rule is all_success: a failure skips the training.
    gate = task("gate", GATE, retries=0)
    train = task("train", os.environ.get("TRAIN_COMMAND", "/opt/training/bin/train"))
    measure >> build >> record >> gate >> train
    build >> gate
