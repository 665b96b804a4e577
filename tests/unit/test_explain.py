from typing import Any

import pytest

from ledgermind_obs.dbt.manifest import Source
from ledgermind_obs.engines.postgres.plans import SMALL, SMALL_BYTES, Size, scan, sized


def source(field: str | None = "loaded_at") -> Source:
    return Source(
        "source.shop.app.orders",
        "orders",
        source_name="app",
        identifier="orders",
        relation_name='"public"."orders"',
        loaded_at_field=field,
    )


def scanning(*tables: str, above: str = "Aggregate") -> dict[str, Any]:
    return {
        "Node Type": above,
        "Plans": [
            {"Node Type": "Seq Scan", "Schema": "public", "Relation Name": table, "Plan Rows": 50}
            for table in tables
        ],
    }


def advice(declared: Source, plan: dict[str, Any]) -> str:
    found = scan(declared, plan, 0.5)
    assert found
    return found.advice


def test_a_plan_without_a_scan_needs_no_advice() -> None:
    plan = {"Node Type": "Result", "Plans": [{"Node Type": "Index Only Scan"}]}

    assert scan(source(), plan, 0.1) is None


def test_a_scan_is_told_with_its_rows_and_its_time() -> None:
    found = scan(source(), scanning("orders"), 0.5)

    assert found
    assert (found.name, found.relations, found.rows) == ("app.orders", ("public.orders",), 50)
    assert found.seconds == 0.5


def test_the_index_is_on_what_is_looked_up() -> None:
    assert advice(source(), scanning("orders")).endswith(' on "public"."orders" (loaded_at)')
    assert advice(source("loaded_at::date"), scanning("orders")).endswith("((loaded_at::date))")


def test_a_partitioned_table_takes_no_concurrent_index() -> None:
    plan = scanning("part_1", "part_2", above="Append")

    assert advice(source(), plan) == 'create index on "public"."orders" (loaded_at)'


def test_a_view_and_a_query_have_no_index_of_their_own() -> None:
    assert advice(source(), scanning("elsewhere")).startswith("it is a view")
    assert "loaded_at_query" in advice(source(None), scanning("orders"))


@pytest.mark.parametrize(
    ("sizes", "rows", "counted", "is_small"),
    [
        ({"public.orders": Size(1, 8192)}, 1, 8192, True),
        ({"public.orders": Size(None, SMALL_BYTES + 1)}, None, SMALL_BYTES + 1, False),
        ({"public.orders": Size(None, 8192)}, None, 8192, True),
        ({"public.orders": Size(0, 0)}, 0, 0, True),
        ({}, None, None, False),
    ],
)
def test_rows_are_not_the_planners_guess_and_a_small_table_needs_no_index(
    sizes: dict[str, Size], rows: int | None, counted: int | None, is_small: bool
) -> None:
    found = scan(source(), scanning("orders"), 0.5)
    assert found

    shown = sized(found, sizes)

    assert (shown.rows, shown.bytes, shown.advice == SMALL) == (rows, counted, is_small)
