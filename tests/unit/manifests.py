"""Manifests by hand: the shape dbt gives them, with what a test is about."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import yaml

from ledgermind_obs.dbt.manifest import read_lineage_manifest
from ledgermind_obs.lineage.graph import Lineage

PROJECT = "shop"
DAYS = {
    "warn_after": {"count": 2, "period": "day"},
    "error_after": {"count": 5, "period": "day"},
    "filter": None,
}

Fields = dict[str, Any]
Named = tuple[str, Fields]


def source(name: str, /, **fields: Any) -> Named:
    """Return a source of the group ``app`` with freshness."""
    uid = f"source.{PROJECT}.app.{name}"
    own = {
        "source_name": "app",
        "loaded_at_field": "loaded_at",
        "freshness": DAYS,
        "original_file_path": "models/sources.yml",
    }
    return uid, {**_common(uid, name, "source"), **own, **fields}


def model(name: str, /, *parents: str, kind: str = "model", **fields: Any) -> Named:
    """Return a model, or another kind of node, upon the parents' ids."""
    uid = f"{kind}.{fields.get('package_name', PROJECT)}.{name}"
    own = {
        "depends_on": {"macros": [], "nodes": list(parents)},
        "config": {"materialized": "view"},
        "checksum": {"name": "sha256", "checksum": sha256(_sql(name).encode()).hexdigest()},
        "original_file_path": f"models/{name}.sql",
    }
    return uid, {**_common(uid, name, kind), **own, **fields}


def exposure(name: str, /, *parents: str, **fields: Any) -> Named:
    """Return an exposure upon the parents' ids."""
    uid = f"exposure.{PROJECT}.{name}"
    own = {
        "type": "application",
        "owner": {"name": "ML", "email": "ml@example.org"},
        "url": "https://example.org/ml",
        "depends_on": {"macros": [], "nodes": list(parents)},
        "original_file_path": "models/exposures.yml",
    }
    return uid, {**_common(uid, name, "exposure"), **own, **fields}


def data_test(name: str, uid: str) -> Named:
    """Return a data test of a node."""
    return model(name, uid, kind="test", attached_node=uid)


def document(*nodes: Named, **keys: Any) -> Fields:
    """Return a manifest of the nodes, each where its id says it belongs."""
    parts: dict[str, Fields] = {
        part: {} for part in ("sources", "exposures", *set(_PARTS.values()))
    }
    for uid, fields in nodes:
        parts[_PARTS.get(uid.split(".")[0], "nodes")][uid] = fields
    metadata = {
        "dbt_schema_version": "https://schemas.getdbt.com/dbt/manifest/v12.json",
        "dbt_version": "1.11.0",
        "generated_at": "2026-01-01T00:00:00Z",
        "project_name": PROJECT,
        "adapter_type": "postgres",
    }
    return {"metadata": metadata, **parts, "disabled": {}, "parent_map": None, **keys}


_PARTS = {
    "source": "sources",
    "exposure": "exposures",
    "metric": "metrics",
    "semantic_model": "semantic_models",
    "saved_query": "saved_queries",
    "unit_test": "unit_tests",
    "function": "functions",
    "model": "nodes",
}


def content(*nodes: Named, **keys: Any) -> bytes:
    """Return the manifest of the nodes as dbt writes it."""
    return msgspec.json.encode(document(*nodes, **keys))


def write_files(directory: Path, *nodes: Named) -> None:
    """Write the files of a project that the manifest of the nodes is made from."""
    (directory / "models").mkdir(exist_ok=True)
    tables: dict[str, list[Fields]] = {}
    exposures = [{"name": fields["name"]} for uid, fields in nodes if uid.startswith("exposure.")]
    for uid, fields in nodes:
        if uid.startswith("source."):
            tables.setdefault(fields["source_name"], []).append({"name": fields["name"]})
        elif not uid.startswith("exposure."):
            (directory / fields["original_file_path"]).write_text(f"\n{_sql(fields['name'])}\n")
    sources = [{"name": name, "tables": of_it} for name, of_it in tables.items()]
    (directory / "models/sources.yml").write_text(yaml.safe_dump({"sources": sources}))
    (directory / "models/exposures.yml").write_text(yaml.safe_dump({"exposures": exposures}))


def _sql(name: str) -> str:
    return f"select 1 as {name}"


def lineage(*nodes: Named, **keys: Any) -> Lineage:
    """Return the graph of the nodes."""
    return Lineage(read_lineage_manifest(content(*nodes, **keys)))


def _common(uid: str, name: str, kind: str) -> Fields:
    package = uid.split(".")[1]
    return {"unique_id": uid, "name": name, "resource_type": kind, "package_name": package}


RAW = "source.shop.app.raw"
STG = "model.shop.stg"
FCT = "model.shop.fct"
TRAINING = "exposure.shop.training"


def sound() -> list[Named]:
    """Return a project in which nothing is wrong: source, two tested models, exposure."""
    return [
        source("raw"),
        model("stg", RAW),
        model("fct", STG),
        data_test("test_stg", STG),
        data_test("test_fct", FCT),
        exposure("training", FCT),
    ]
