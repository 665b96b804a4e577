"""Who gets an alert, as Alertmanager decides it, and which owner gets none."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from ledgermind_obs.errors import ConfigurationError
from ledgermind_obs.monitoring.routes import check_routes, read_routing
from ledgermind_obs.monitoring.rules import Rule, read_rules

ROOT = Path(__file__).parents[2]
FALL_BACK = {"receiver": "fall-back"}
RECEIVERS = [
    {"name": "fall-back", "webhook_configs": [{"url": "http://x"}]},
    {"name": "team", "webhook_configs": [{"url": "http://x"}]},
    {"name": "silence"},
]


def config(*routes: Mapping[str, object]) -> bytes:
    document = {"route": {**FALL_BACK, "routes": list(routes)}, "receivers": RECEIVERS}
    return yaml.safe_dump(document).encode()


def receivers(labels: dict[str, str], *routes: Mapping[str, object]) -> list[str]:
    return read_routing(config(*routes), "am.yml").route.receivers(labels)


def alert(owner: str, name: str = "SourceStaleOrders", **labels: str) -> Rule:
    return Rule("r.yml", name, "up", True, {"severity": "warning", "owner": owner, **labels})


def codes(rules: list[Rule], *routes: Mapping[str, object]) -> list[str]:
    return [found.code for found in check_routes(rules, read_routing(config(*routes), "am.yml"))]


@pytest.mark.parametrize(
    "matchers",
    [
        {"matchers": ['owner="payments"']},
        {"matchers": ["owner = payments"]},
        {"matchers": ['{owner=~"pay.*|other", severity!="critical"}']},
        {"matchers": ['"owner"="payments"', 'team!~".+"']},
        {"match": {"owner": "payments"}},
        {"match_re": {"owner": "pay.+"}},
    ],
)
def test_every_way_to_write_a_matcher_is_read(matchers: Mapping[str, object]) -> None:
    team = {"receiver": "team", **matchers}
    assert receivers({"owner": "payments"}, team) == ["team"]
    assert receivers({"owner": "sales"}, team) == ["fall-back"]


def test_the_first_route_that_matches_wins_unless_it_goes_on() -> None:
    team = {"receiver": "team", "matchers": ['owner="a"']}
    rest = {"receiver": "silence"}
    assert receivers({"owner": "a"}, team, rest) == ["team"]
    assert receivers({"owner": "a"}, {**team, "continue": True}, rest) == ["team", "silence"]
    nested = {"matchers": ['owner="a"'], "routes": [team]}
    assert receivers({"owner": "a"}, nested) == ["team"]


def test_an_owner_that_no_route_looks_for_is_found() -> None:
    team = {"receiver": "team", "matchers": ['owner="payments"']}
    assert codes([alert("payments")], team) == []
    assert codes([alert("paymets")], team) == ["R501"]
    assert codes([alert("payments")], {"receiver": "team"}) == ["R501"]


def test_an_owner_of_recorded_series_counts_too() -> None:
    recorded = Rule("r.yml", "source:dbt_source:owner", "vector(1)", False, {"owner": "payments"})
    assert codes([recorded]) == ["R501"]


def test_an_owner_in_braces_is_found_as_it_is_sent() -> None:
    team = {"receiver": "team", "matchers": ['owner="{{ x"']}
    assert codes([alert('{{ "{{" }} x')], team) == []


@pytest.mark.parametrize("receiver", ["silence", "gone"])
def test_an_owner_whose_receiver_notifies_nobody_is_found(receiver: str) -> None:
    assert codes([alert("payments")], {"receiver": receiver, "matchers": ["owner=payments"]}) == [
        "R502"
    ]


def test_our_own_configuration_reaches_every_owner_of_our_rules() -> None:
    rules = read_rules((ROOT / "prometheus/rules/dbt_freshness.yml").read_bytes(), "r.yml")
    content = (ROOT / "ops/alertmanager/alertmanager.yml").read_bytes()
    assert {rule.labels["owner"] for rule in rules if "owner" in rule.labels} == {"LedgerMind ML"}
    assert list(check_routes(rules, read_routing(content, "alertmanager.yml"))) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"route: 1", b"a: b: c", b"route: {matchers: [x]}"]
)
def test_what_is_no_configuration_is_named(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"^am\.yml is no configuration of Alertmanager"):
        read_routing(content, "am.yml")
