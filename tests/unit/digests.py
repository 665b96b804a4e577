"""Reports for people made by hand: what is fresh, what is not, and what is known of the past."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from ledgermind_obs.freshness import SourceFreshness, State
from ledgermind_obs.lineage.graph import Lineage
from ledgermind_obs.monitoring.timeliness import DAY_SECONDS, DAYS, Day, History, Miss, Timeliness
from ledgermind_obs.render.digest import Digest, NodeFacts
from ledgermind_obs.render.digest_of import Surroundings, digest_of
from tests.unit import manifests
from tests.unit.reports import DAY, HOUR, NOW, evidence, report, source, unmeasured

TRAINING_VIEW = "model.shop.fct_training_view"


def uid_of(table: str) -> str:
    return f"source.ledgermind.app.{table}"


def sources(number: int) -> list[SourceFreshness]:
    """Return three sources of which two need somebody, and fresh ones up to a number."""
    first = [
        source("transactions", age=4 * HOUR),
        source("transaction_labels", State.WARN, 58 * HOUR),
        unmeasured("ml_features"),
    ]
    ages = [(count * 3571.0) % (1.9 * DAY) for count in range(number - 3)]
    return [*first, *(source(f"table_{n:04}", age=age) for n, age in enumerate(ages))]


def lineage(found: list[SourceFreshness]) -> Lineage:
    """Return a graph in which the first three sources reach a training job, and one a dashboard."""
    declared = [
        (s.unique_id, {**manifests.source(s.table)[1], "unique_id": s.unique_id}) for s in found
    ]
    names = [s.table for s in found[:3]]
    staging = [manifests.model(f"stg_{name}", uid_of(name)) for name in names]
    table = {"materialized": "table"}
    view = manifests.model("fct_training_view", *(uid for uid, _ in staging), config=table)
    merchants = manifests.model("dim_merchants", staging[0][0], config=table)
    return manifests.lineage(
        *declared,
        *staging,
        view,
        merchants,
        manifests.exposure("ml_training_pipeline", view[0], merchants[0]),
        manifests.exposure("board", merchants[0], type="dashboard", owner={"name": "BI"}),
    )


def days(*known: tuple[int, int, int]) -> tuple[Day, ...]:
    """Return thirty days, the last of them with these counts and the rest unknown."""
    ends = [NOW.timestamp() - DAY_SECONDS * back for back in reversed(range(DAYS))]
    counts = [(0, 0, 0)] * (DAYS - len(known)) + list(known)
    return tuple(Day(end, *each) for end, each in zip(ends, counts, strict=True))


def history(found: list[SourceFreshness]) -> History:
    """Return 22 days of each source, one of them late and one past error; one miss recovered."""
    seen = days(*[(96, 96, 96)] * 20, (96, 90, 96), (96, 48, 60))
    now = NOW.timestamp()
    missed = (Miss(now - 9 * HOUR, now - 7 * HOUR),)
    known = {s.key: Timeliness(seen, missed if s.table == "transactions" else ()) for s in found}
    return History("http://prometheus:9090", now, DAY_SECONDS, known)


def digest(
    number: int = 7,
    *,
    past: bool = False,
    nodes: Mapping[str, NodeFacts] | None = None,
    known_rows: Mapping[str, datetime] | None = None,
) -> Digest:
    """Return a report of a number of sources, two of which need somebody."""
    found = sources(number)
    around = Surroundings(
        lineage=lineage(found),
        known_rows=known_rows or {uid_of("ml_features"): NOW - timedelta(hours=6)},
        nodes=nodes or {},
        history=history(found) if past else None,
    )
    return digest_of(evidence(report(*found)), NOW, around)


def digest_of_sources(*found: SourceFreshness) -> Digest:
    """Return a report of these sources, without a lineage."""
    return digest_of(evidence(report(*found)), NOW, Surroundings())
