"""Models upon the shop's sources, an exposure upon them, and dbt that builds them."""

from __future__ import annotations

import subprocess

from tests.integration.shop import DBT, DEADLINE, Shop

MODELS = {
    "stg_orders.sql": "select * from {{ source('app', 'orders') }}",
    "fct_orders.sql": "{{ config(materialized='table') }} select * from {{ ref('stg_orders') }}",
    "per_day.sql": "{{ config(materialized='table') }} select * from {{ ref('fct_orders') }}",
    "aside.sql": "select 1 as id",
    "models.yml": """
models:
  - name: fct_orders
    columns:
      - name: loaded_at
        data_tests: [not_null]
exposures:
  - name: training
    type: ml
    owner: {name: ML, email: ml@example.org}
    depends_on: [ref('per_day')]
""",
}


def write_models(shop: Shop) -> None:
    """Declare the models and the exposure ``training`` that reads them."""
    for name, text in MODELS.items():
        (shop.directory / "models" / name).write_text(text)


def dbt(shop: Shop, *argv: str) -> int:
    """Run dbt in the project; return its exit code."""
    done = subprocess.run(
        [DBT, *argv, "--profiles-dir", "."],
        cwd=shop.directory,
        env={**shop.env, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    return done.returncode


def break_model(shop: Shop, name: str) -> None:
    """Let a model fail when it is built."""
    path = shop.directory / "models" / name
    path.write_text(path.read_text() + " where 1 / 0 = 1")


def mend_model(shop: Shop, name: str) -> None:
    """Let a broken model be built again."""
    (shop.directory / "models" / name).write_text(MODELS[name])
