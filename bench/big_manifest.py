"""Write a ``manifest.json`` as large as a large project's, in the shape dbt 1.11 gives it.

``python -m bench.big_manifest DIR`` writes 10,000 models, 20,000 tests and 1,000 sources (68 MB)
into ``DIR/manifest.json``; the same numbers give the same project.
"""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

PROJECT = "big"
LAYERS = 12
COLUMNS = 8

_SQL = "select {columns} from {{{{ ref('{ref}') }}}} where updated_at > '2020-01-01' and id <> 0\n"

Node = dict[str, Any]


def manifest(models: int, tests: int, sources: int, exposures: int, seed: int = 1) -> Node:
    """Return a manifest of so many nodes; models come in layers, each upon the one before."""
    chance = random.Random(seed)  # noqa: S311 - the same project every time
    source_ids = [f"source.{PROJECT}.app.table_{number}" for number in range(sources)]
    nodes = dict(_models(models, source_ids, chance))
    model_ids = list(nodes)
    nodes.update(_test(number, model_ids[number % models]) for number in range(tests))
    last = model_ids[-(models // LAYERS) :]
    found = [_exposure(number, chance.sample(last, 3)) for number in range(exposures)]
    parents = {uid: node["depends_on"]["nodes"] for uid, node in [*nodes.items(), *found]}
    return {
        "metadata": _metadata(),
        "nodes": nodes,
        "sources": {uid: _source(uid) for uid in source_ids},
        "macros": {},
        "docs": {},
        "exposures": dict(found),
        "metrics": {},
        "groups": {},
        "selectors": {},
        "disabled": {},
        "parent_map": parents | {uid: [] for uid in source_ids},
        "child_map": _children(parents),
        "saved_queries": {},
        "semantic_models": {},
        "unit_tests": {},
        "functions": {},
    }


def write(directory: Path, models: int, tests: int, sources: int, exposures: int) -> Path:
    """Write the manifest into ``directory`` and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "manifest.json"
    path.write_bytes(msgspec.json.encode(manifest(models, tests, sources, exposures)))
    return path


def _models(count: int, source_ids: list[str], chance: random.Random) -> Iterator[tuple[str, Node]]:
    """Yield models: the first layer reads sources, each other one to three of the layer before."""
    size = max(1, count // LAYERS)
    names = [f"model.{PROJECT}.model_{number}" for number in range(count)]
    for number, uid in enumerate(names):
        layer = number // size
        if layer == 0:
            parents = [source_ids[number % len(source_ids)]]
        else:
            above = names[(layer - 1) * size : layer * size]
            parents = chance.sample(above, min(len(above), chance.randint(1, 3)))
        yield uid, _model(uid, parents)


def _model(uid: str, parents: list[str]) -> Node:
    name = uid.rpartition(".")[2]
    columns = [f"column_{number}" for number in range(COLUMNS)]
    sql = _SQL.format(columns=", ".join(columns), ref=parents[0].rpartition(".")[2])
    return {
        **_common(uid, name, f"models/area/{name}.sql", "model"),
        "config": _config("view"),
        "description": f"What {name} holds, one row for each of the things it is about.",
        "columns": {column: _column(column) for column in columns},
        "raw_code": sql * 3,
        "refs": [{"name": name, "package": None, "version": None} for name in parents],
        "depends_on": {"macros": ["macro.dbt.is_incremental"], "nodes": parents},
        "compiled_path": f"target/compiled/{PROJECT}/models/area/{name}.sql",
        "contract": {"enforced": False, "alias_types": True, "checksum": None},
        "access": "protected",
        "constraints": [],
        "version": None,
        "latest_version": None,
    }


def _test(number: int, model: str) -> tuple[str, Node]:
    column = f"column_{number % COLUMNS}"
    name = f"not_null_{model.rpartition('.')[2]}_{column}_{number}"
    uid = f"test.{PROJECT}.{name}.{number:010x}"
    return uid, {
        "test_metadata": {"name": "not_null", "kwargs": {"column_name": column}, "namespace": None},
        **_common(uid, name, "models/area/schema.yml", "test"),
        "config": {"enabled": True, "severity": "ERROR", "store_failures": None, "tags": []},
        "raw_code": "{{ test_not_null(**_dbt_generic_test_kwargs) }}",
        "depends_on": {"macros": ["macro.dbt.test_not_null"], "nodes": [model]},
        "column_name": column,
        "file_key_name": "models." + model.rpartition(".")[2],
        "attached_node": model,
    }


def _source(uid: str) -> Node:
    name = uid.rpartition(".")[2]
    limits = {
        "warn_after": {"count": 2, "period": "day"},
        "error_after": {"count": 5, "period": "day"},
        "filter": None,
    }
    return {
        **_common(uid, name, "models/sources.yml", "source"),
        "source_name": "app",
        "identifier": name,
        "loaded_at_field": "created_at",
        "loaded_at_query": None,
        "freshness": limits,
        "columns": {},
        "config": {"enabled": True, "freshness": limits, "tags": [], "meta": {}},
    }


def _exposure(number: int, parents: list[str]) -> tuple[str, Node]:
    name = f"exposure_{number}"
    uid = f"exposure.{PROJECT}.{name}"
    return uid, {
        **_common(uid, name, "models/exposures.yml", "exposure"),
        "type": "application",
        "owner": {"email": "ml@example.org", "name": "ML"},
        "url": "https://example.org/ml",
        "maturity": "high",
        "config": {"enabled": True, "tags": ["ml"], "meta": {}},
        "depends_on": {"macros": [], "nodes": parents},
        "refs": [
            {"name": parent.rpartition(".")[2], "package": None, "version": None}
            for parent in parents
        ],
        "sources": [],
        "metrics": [],
    }


def _common(uid: str, name: str, path: str, kind: str) -> Node:
    return {
        "database": "warehouse",
        "schema": "analytics",
        "name": name,
        "resource_type": kind,
        "package_name": PROJECT,
        "path": path.removeprefix("models/"),
        "original_file_path": path,
        "unique_id": uid,
        "fqn": [PROJECT, "area", name],
        "alias": name,
        "checksum": {"name": "sha256", "checksum": hashlib.sha256(uid.encode()).hexdigest()},
        "tags": [],
        "meta": {},
        "group": None,
        "docs": {"show": True, "node_color": None},
        "patch_path": f"{PROJECT}://models/area/schema.yml",
        "created_at": 1762300800.0,
        "relation_name": f'"warehouse"."analytics"."{name}"',
        "unrendered_config": {},
    }


def _config(materialized: str) -> Node:
    return {
        "enabled": True,
        "alias": None,
        "tags": [],
        "meta": {},
        "materialized": materialized,
        "incremental_strategy": None,
        "persist_docs": {},
        "post-hook": [],
        "pre-hook": [],
        "quoting": {},
        "full_refresh": None,
        "on_schema_change": "ignore",
        "on_configuration_change": "apply",
        "contract": {"enforced": False, "alias_types": True},
    }


def _column(name: str) -> Node:
    return {
        "name": name,
        "description": f"The {name} as the application has it.",
        "meta": {},
        "data_type": "text",
        "constraints": [],
        "quote": None,
        "config": {"meta": {}, "tags": []},
        "tags": [],
        "granularity": None,
        "doc_blocks": [],
    }


def _metadata() -> Node:
    return {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
        "dbt_version": "1.11.16",
        "generated_at": datetime.now(UTC).isoformat(),
        "invocation_id": "00000000-0000-0000-0000-000000000000",
        "project_name": PROJECT,
        "adapter_type": "postgres",
    }


def _children(parents: dict[str, list[str]]) -> dict[str, list[str]]:
    children: dict[str, list[str]] = {uid: [] for uid in parents}
    for uid, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(uid)
    return children


def main() -> None:
    """Write one manifest and say how large it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--tests", type=int, default=20_000)
    parser.add_argument("--sources", type=int, default=1_000)
    parser.add_argument("--exposures", type=int, default=20)
    options = parser.parse_args()
    path = write(
        options.directory, options.models, options.tests, options.sources, options.exposures
    )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
