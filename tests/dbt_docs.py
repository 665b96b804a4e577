"""dbt's documentation of the warehouse, made on a real database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from services.postgres import Postgres

ROOT = Path(__file__).parents[1]
DBT = Path(sys.executable).with_name("dbt")
EXPOSURE = "exposure.ledgermind.ml_training_pipeline"
PARENTS = ("fct_training_view", "dim_merchants", "fct_suggestions_eval")


def generate(database: Postgres, directory: Path) -> None:
    """Write the documentation into ``directory``."""
    env = {
        **os.environ,
        **database.env(),
        "DBT_TARGET": "dev",
        "DBT_TARGET_PATH": str(directory),
        "DBT_LOG_PATH": str(directory),
    }
    done = subprocess.run(
        [DBT, "docs", "generate", "--profiles-dir", "."],
        cwd=ROOT / "warehouse",
        env=env,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
