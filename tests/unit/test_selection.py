import pytest

from ledgermind_obs.dbt.manifest import Freshness, Manifest, Metadata, Source, Threshold
from ledgermind_obs.dbt.selectors import select
from ledgermind_obs.errors import ConfigurationError

FRESH = Freshness(Threshold(1, "day"))


def declared(package: str, name: str, table: str, freshness: Freshness | None = FRESH) -> Source:
    return Source(f"{package}.{name}.{table}", table, name, package, freshness=freshness)


SOURCES = [
    declared("shop", "app", "orders"),
    declared("shop", "app", "payments"),
    declared("shop", "crm", "orders"),
    declared("tools", "app", "orders"),
    declared("shop", "app", "unwatched", None),
]
MANIFEST = Manifest(Metadata(), {source.unique_id: source for source in SOURCES})
WHOLE = ["shop.app.orders", "shop.app.payments", "shop.crm.orders", "tools.app.orders"]


@pytest.mark.parametrize(
    ("selected", "excluded", "expected"),
    [
        ([], [], WHOLE),
        (["source:app"], [], ["shop.app.orders", "shop.app.payments", "tools.app.orders"]),
        (["source:app.orders"], [], ["shop.app.orders", "tools.app.orders"]),
        (["source:shop.app.orders"], [], ["shop.app.orders"]),
        (["source:c*"], [], ["shop.crm.orders"]),
        (["source:crm source:shop.app.orders"], [], ["shop.app.orders", "shop.crm.orders"]),
        (["source:app", "source:crm"], ["source:tools.*.*"], WHOLE[:3]),
        ([], ["source:app"], ["shop.crm.orders"]),
        (["source:app.unwatched"], [], []),
    ],
)
def test_sources_are_selected_as_dbt_does(
    selected: list[str], excluded: list[str], expected: list[str]
) -> None:
    assert select(MANIFEST, selected, excluded) == (expected, [])


def test_what_matches_nothing_is_told() -> None:
    found = select(MANIFEST, ["source:app.orders", "source:nothing"], ["source:nowhere"])

    assert found == (["shop.app.orders", "tools.app.orders"], ["source:nothing", "source:nowhere"])


@pytest.mark.parametrize(
    "selector",
    [
        *("orders", "tag:daily", "+source:app", "source:app+", "source:app,tag:daily", "@source:a"),
        *(
            "source:a.b.c.d",
            "source:",
            "source:a..b",
            "path:models",
            "state:modified",
            "source.x:a",
        ),
    ],
)
def test_what_only_dbt_can_follow_is_refused_by_name(selector: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        select(MANIFEST, [selector], [])

    assert repr(selector) in str(raised.value)
