import pytest

from ledgermind_obs.monitoring.promql import (
    Matcher,
    TooComplexError,
    normal_form,
    parse,
    pattern_of,
)


def test_a_selector_keeps_its_metric_and_its_matchers() -> None:
    (selector,) = parse('rate(x{a="1", b=~"2|3"}[5m])').selectors
    assert selector.name == "x"
    assert selector.matchers == (Matcher("a", "=", "1"), Matcher("b", "=~", "2|3"))


def test_a_metric_may_be_named_by_a_matcher() -> None:
    (selector,) = parse('{__name__="x", a="1"}').selectors
    assert (selector.name, selector.matchers) == ("x", (Matcher("a", "=", "1"),))


def test_what_stands_behind_unless_is_marked() -> None:
    query = parse("x unless on (a) (y and z)")
    assert [(s.name, s.excludes) for s in query.selectors] == [
        ("x", False),
        ("y", True),
        ("z", True),
    ]


def test_every_part_of_an_expression_is_looked_at() -> None:
    query = parse("topk(scalar(a), -rate(b[1h:5m])) * on (l) group_left (m) sum(c) by (n)")
    assert {s.name for s in query.selectors} == {"a", "b", "c"}
    assert query.labels == {"l", "m", "n"}


@pytest.mark.parametrize(
    ("expression", "kept", "dropped"),
    [
        ("max by (table) (x)", "table", "target"),
        ("max without (target) (x)", "table", "target"),
    ],
)
def test_an_aggregation_knows_what_it_drops(expression: str, kept: str, dropped: str) -> None:
    (aggregation,) = parse(expression).aggregations
    assert (aggregation.drops(kept), aggregation.drops(dropped)) == (False, True)


def test_an_aggregation_without_labels_drops_all() -> None:
    (aggregation,) = parse("max(x)").aggregations
    assert aggregation.drops("target")


@pytest.mark.parametrize(
    ("operator", "value", "yes", "no"),
    [
        ("=", "a", "a", "ab"),
        ("!=", "a", "ab", "a"),
        ("=~", "a|b", "b", "ab"),
        ("!~", "a|b", "ab", "b"),
    ],
)
def test_matchers_match_as_prometheus_does(operator: str, value: str, yes: str, no: str) -> None:
    matcher = Matcher("l", operator, value)
    assert (matcher.matches(yes), matcher.matches(no)) == (True, False)


def test_a_variable_may_be_anything() -> None:
    assert Matcher("l", "=", "$table").matches("transactions")


def test_what_is_not_promql_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        parse("max by (")


@pytest.mark.parametrize(
    "expression",
    [
        "-" * 100_000 + "a",
        "- " * 100_000 + "a",
        "(" * 20_000 + "a" + ")" * 20_000,
        "abs(" * 20_000 + "a" + ")" * 20_000,
        "1+" * 20_000 + "1",
        "a OR " * 20_000 + "a",
        "a == " * 20_000 + "a",
        "a unless " * 20_000 + "a",
        "a[1m:" * 20_000,
        "a @ " * 20_000,
    ],
)
def test_what_could_overflow_the_parser_is_refused_before_it(expression: str) -> None:
    with pytest.raises(TooComplexError, match="the limit is 500"):
        parse(expression)


@pytest.mark.parametrize("form", ["-({})", "abs({})", "({}) + 1", "1 + ({})", "sum by (b) ({})"])
def test_what_is_within_the_limit_is_parsed(form: str) -> None:
    expression = "a"
    for _ in range(165):
        expression = form.format(expression)
    assert [s.name for s in parse(expression).selectors] == ["a"]


def test_signs_in_quotes_do_not_count() -> None:
    signs = "(-+" * 1000
    (selector,) = parse(f"""a{{b="{signs}\\"{signs}", c='{signs}', d=`{signs}`}}""").selectors
    assert [m.value.count("+") for m in selector.matchers] == [2000, 1000, 1000]


@pytest.mark.parametrize("text", ['\\"' * 50_000, "'" * 99_999, "`" * 99_999, '"a' * 99_999])
def test_quotes_without_end_are_no_endless_search(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize("text", [r"\pL", "[[:alpha:]]", "a{99999999999}", "(" * 5000, "(?P<a"])
def test_a_pattern_that_python_reads_otherwise_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        pattern_of(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ('sum by(a,b)(x{l="1"})', 'sum by (a, b) (\n  x{l="1"}\n)'),
        ("rate(x[60m]) > 1e3", "rate(x[1h]) > 1000"),
        ("x  and\ty", "x and y"),
        ('x{b=~"c|d", a!="e"}', 'x{a!="e",b=~"c|d"}'),
    ],
)
def test_two_ways_to_write_an_expression_have_one_normal_form(one: str, other: str) -> None:
    assert normal_form(one) == normal_form(other)


def test_what_is_no_expression_keeps_its_words() -> None:
    assert normal_form("x  and\n(") == "x and ("
    assert normal_form("x > 1") != normal_form("x > 2")
