import pytest

from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.metrics import RUN_SUCCESS, Series
from ledgermind_obs.sinks.exposition import exposition
from ledgermind_obs.sinks.pushgateway import Pushgateway, check_grouping_key
from tests.unit.servers import Answer, web

GROUP = {"job": "dbt-freshness", "project": "ledgermind", "target": "prod"}
SERIES = [Series(RUN_SUCCESS, (), 1.0)]


def gateway(url: str, **grouping: str) -> Pushgateway:
    return Pushgateway(Endpoint(url, timeout=5.0), {**GROUP, **grouping})


@pytest.mark.parametrize(("method", "verb"), [("put", "PUT"), ("post", "POST")])
def test_a_push_goes_to_the_groups_path_in_prometheus_format(method: str, verb: str) -> None:
    with web() as server:
        getattr(gateway(server.url), method)(SERIES)

    asked = server.asked[0]
    assert (asked.method, asked.path) == (
        verb,
        "/metrics/job/dbt-freshness/project/ledgermind/target/prod",
    )
    assert asked.body == exposition(SERIES)
    assert asked.headers["Content-Type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a/b", "/team@base64/YS9i"),
        ("", "/team@base64/="),
        ("ä b?", "/team/%C3%A4%20b%3F"),
    ],
)
def test_any_value_of_a_grouping_key_finds_its_way_into_the_path(value: str, segment: str) -> None:
    with web() as server:
        gateway(server.url, team=value).put(SERIES)

    assert server.asked[0].path.endswith(segment)


def test_the_gateways_own_words_reach_the_user() -> None:
    words = b"text format parsing error in line 1: unexpected end of input stream\n"
    with (
        web(Answer(400, words)) as server,
        pytest.raises(
            DestinationError, match="refused the PUT with 400: text format parsing error"
        ),
    ):
        gateway(server.url).put(SERIES)


def test_a_web_page_that_answers_is_not_taken_for_a_delivery() -> None:
    page = Answer(200, b"<html>", {"Content-Type": "text/html"})
    with (
        web(page) as server,
        pytest.raises(DestinationError, match="answers with a web page") as raised,
    ):
        gateway(server.url).put(SERIES)

    assert raised.value.next_step == "is this a Pushgateway?"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("table", "overwrite"),
        ("status", "overwrite"),
        ("not-a-label", "not a Prometheus label"),
        ("__name__", "not a Prometheus label"),
    ],
)
def test_a_grouping_key_that_would_spoil_the_series_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_grouping_key({name: "x"})
