import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgermind_obs.durations import format_age, parse_age


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("45m", 2700),
        ("12h", 43_200),
        ("5d", 432_000),
        ("1d12h", 129_600),
        ("1.5h", 5400),
    ],
)
def test_a_duration_is_read_as_prometheus_writes_it(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "d", "5 days", "-5d", "5d!", "1e9"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration such as"):
        parse_age(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_599, "59 min"),
        (4 * 3600, "4 h"),
        (4 * 3600 + 300, "4 h 5 min"),
        (58 * 3600, "2 d 10 h"),
        (432_000, "5 d"),
        (-7200, "-2 h"),
    ],
)
def test_an_age_shows_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert format_age(seconds) == text


@given(st.integers(min_value=0, max_value=10**9))
def test_a_shown_age_is_never_older_than_the_age(seconds: int) -> None:
    shown = format_age(seconds).replace("min", "m")
    assert 0 <= seconds - parse_age(shown) < max(60, seconds / 24 + 1)
