from __future__ import annotations

import json
from pathlib import Path

from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.lineage.graph import Lineage
from services.postgres import Postgres
from tests.dbt_docs import EXPOSURE, PARENTS, generate


def test_the_docs_hold_the_exposure_and_its_three_parents(
    database: Postgres, tmp_path: Path
) -> None:
    generate(database, tmp_path)
    lineage = Lineage(read_lineage_manifest((tmp_path / "manifest.json").read_bytes()))

    assert lineage.parents(EXPOSURE) == [f"model.ledgermind.{name}" for name in PARENTS]
    assert "nodes" in json.loads((tmp_path / "catalog.json").read_text())
