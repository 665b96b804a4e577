import re
import socket

import pytest

from ledgermind_obs import metrics
from ledgermind_obs.errors import ConfigurationError, DestinationError
from ledgermind_obs.http.endpoint import Endpoint
from ledgermind_obs.metrics import CHECKED_AT, METRICS, RUN_SUCCESS, Series
from ledgermind_obs.sinks.exposition import exposition
from ledgermind_obs.sinks.known import known_of
from ledgermind_obs.sinks.pushgateway import Pushgateway, check_grouping_key
from tests.unit.reports import of_source, report, source, unmeasured
from tests.unit.servers import Answer, raw, web

GROUP = {"job": "dbt-freshness", "project": "ledgermind", "target": "prod"}
SERIES = [Series(RUN_SUCCESS, (), 1.0)]
REPORT = list(metrics.report_series(report(source("a"), unmeasured("b"))))


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


def test_a_group_is_taken_away_by_its_path_alone() -> None:
    with web(Answer(202)) as server:
        gateway(server.url).delete()

    (asked,) = server.asked
    assert (asked.method, asked.body) == ("DELETE", b"")
    assert asked.path == "/metrics/job/dbt-freshness/project/ledgermind/target/prod"


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("a/b", "/team@base64/YS9i"),
        ("", "/team@base64/="),
        ("ä b?", "/team/%C3%A4%20b%3F"),
        (".", "/team@base64/Lg"),
        ("..", "/team@base64/Li4"),
        ("...", "/team/..."),
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

    assert raised.value.next_step.startswith("is this a Pushgateway")
    assert raised.value.next_step.endswith(f"curl {server.url}/api/v1/status")


PLAIN = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
OWN = b'# no type\npushgateway_build_info{version="1.5.1"} 1\n'


def metrics_of(group: dict[str, str] | None = None) -> bytes:
    return OWN + exposition(REPORT, {**(GROUP if group is None else group), "instance": ""})


def known(answer: Answer) -> list[Series]:
    with web(answer) as server:
        return gateway(server.url).known(METRICS)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain; version=0.0.4",
        "Text/Plain;charset=utf-8; Version=0.0.4; escaping=underscores",
    ],
)
def test_the_group_is_read_from_a_gateways_own_answer(kind: str) -> None:
    other = exposition(SERIES, {**GROUP, "target": "dev"})

    found = known(Answer(200, metrics_of() + other, {"Content-Type": kind}))

    assert known_of(found) == known_of(REPORT)


def test_a_gateway_that_does_not_have_the_group_says_so_by_having_none() -> None:
    assert known(Answer(200, OWN, PLAIN)) == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(201, metrics_of(), PLAIN), "answers with 201, not with 200"),
        (Answer(202, metrics_of(), PLAIN), "answers with 202, not with 200"),
        (Answer(206, metrics_of(), PLAIN), "answers with 206, not with 200"),
        (Answer(204, b"", PLAIN), "answers with 204, not with 200"),
        (Answer(200, b"", PLAIN), "not a Pushgateway's"),
        (Answer(200, b"OK", PLAIN), "not a Pushgateway's"),
        (Answer(200, metrics_of()[:-1], PLAIN), "not a Pushgateway's"),
        (Answer(200, exposition(SERIES, GROUP), PLAIN), "not a Pushgateway's"),
        (Answer(200, metrics_of(), {"Content-Type": "application/json"}), "text format"),
        (Answer(200, metrics_of(), {"Content-Type": "application/xhtml+xml"}), "text format"),
        (Answer(200, metrics_of(), {"Content-Type": "text/html"}), "answers with a web page"),
        (Answer(200, metrics_of(), {"Content-Type": "text/plain; version=1.0.0"}), "text format"),
        (Answer(200, metrics_of(), {}), "text format"),
        (Answer(200, metrics_of(), {**PLAIN, "Content-Encoding": "gzip"}), "is encoded"),
        (Answer(200, metrics_of() + metrics_of(), PLAIN), "is there twice"),
        (Answer(200, metrics_of() + b"dbt_source_info{\n", PLAIN), "not a sample"),
        (Answer(404, b"404 page not found\n"), "refused the GET with 404"),
        (Answer(302, b"", {"Location": "/login"}), "redirects to another place"),
    ],
)
def test_what_is_not_provably_a_gateways_whole_answer_is_none(answer: Answer, words: str) -> None:
    with pytest.raises(DestinationError, match=words):
        known(answer)


def test_an_answer_that_may_have_been_cut_is_none() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"

    def unsized(connection: socket.socket) -> None:
        connection.sendall(head + metrics_of())

    with raw(unsized) as server, pytest.raises(DestinationError, match="may have been cut"):
        gateway(server.url).known(METRICS)


@pytest.mark.parametrize("number", [b"NaN", b"+Inf", b"1e+300", b"-1.5", b"1.79", b"0"])
def test_a_group_with_impossible_times_is_no_evidence(number: bytes) -> None:
    line = re.compile(rb"^(dbt_source_checked_at_seconds\{.*\}) .*$", re.MULTILINE)
    body = line.sub(rb"\1 " + number, metrics_of())

    with pytest.raises(DestinationError, match=r"/metrics cannot be believed: \S+ of .* is "):
        known(Answer(200, body, PLAIN))


def test_impossible_times_of_another_group_are_not_ours() -> None:
    other = exposition([of_source(CHECKED_AT, 1e300)], {**GROUP, "target": "dev"})

    found = known(Answer(200, metrics_of() + other, PLAIN))

    assert known_of(found) == known_of(REPORT)


@pytest.mark.parametrize("status", [200, 202])
def test_an_empty_200_or_202_confirms_a_push(status: int) -> None:
    with web(Answer(status)) as server:
        gateway(server.url).put(SERIES)
        gateway(server.url).post(SERIES)

    assert len(server.asked) == 2


@pytest.mark.parametrize("method", ["put", "post"])
@pytest.mark.parametrize(
    "answer", [Answer(200, b"OK"), Answer(202, b"{}"), Answer(201), Answer(204), Answer(207)]
)
def test_any_other_answer_does_not_confirm_a_push(method: str, answer: Answer) -> None:
    with (
        web(answer) as server,
        pytest.raises(DestinationError, match=r"answered the (PUT|POST) with 20"),
    ):
        getattr(gateway(server.url), method)(SERIES)


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
