"""What a project's YAML takes from the time of parsing is found by its line, and nothing else."""

import pytest

from ledgermind_obs.dbt.clock_jinja import clock_lines

FOUND = {
    "limit": (
        "sources:\n- name: a\n  freshness:\n    warn_after: {count: '{{ modules.datetime }}'}",
        (4,),
    ),
    "under config": (
        "sources:\n- config:\n    freshness:\n      filter: '{{ run_started_at }}'",
        (4,),
    ),
    "filter": ("sources:\n- freshness:\n    filter: \"x > '{{ run_started_at }}'\"", (3,)),
    "table": ("sources:\n- tables:\n  - name: t\n    loaded_at_field: '{{ invocation_id }}'", (4,)),
    "statement": ("sources:\n- schema: '{% set m = modules %}{{ m.datetime }}'", (2,)),
    "pytz": ("sources:\n- x: '{{ modules.pytz.utc }}'", (2,)),
    "random": ("sources:\n- x: '{{ [1, 2] | random }}'", (2,)),
    "project": (
        "sources:\n  shop:\n    +freshness:\n      warn_after: {count: '{{ modules . datetime }}'}",
        (4,),
    ),
    "alias": (
        "x: &x '{{ run_started_at }}'\nsources:\n- schema: *x\n- schema: *x",
        (1,),
    ),
    "merge": (
        "x: &x\n  count: '{{ run_started_at }}'\nsources:\n- freshness: {warn_after: {<<: *x}}",
        (2,),
    ),
}
ELSEWHERE = {
    "model": "models:\n- description: '{{ run_started_at }}'\nsources: []",
    "description": "sources:\n- description: '{{ run_started_at }}'\n  meta: {x: '{{ modules }}'}",
    "no Jinja": "sources:\n- schema: modules\n  loaded_at_field: run_started_at",
    "var": "sources:\n- freshness: {warn_after: {count: \"{{ var('days') }}\"}}",
    "env_var": "sources:\n- freshness: {warn_after: {count: \"{{ env_var('DAYS') | int }}\"}}",
    "re": "sources:\n- schema: \"{{ modules.re.sub('a', 'b', target.name) }}\"",
    "no YAML": "sources: [ '{{ run_started_at }}'",
    "a list": "- sources\n- '{{ run_started_at }}'",
}


@pytest.mark.parametrize("name", FOUND)
def test_what_depends_on_the_time_of_parsing_is_found(name: str) -> None:
    text, lines = FOUND[name]

    assert clock_lines(text.encode()) == lines


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_does_not_say_what_a_source_is_does_not_matter(name: str) -> None:
    assert clock_lines(ELSEWHERE[name].encode()) == ()


def test_what_is_no_text_has_no_lines() -> None:
    assert clock_lines(b"sources: \xff {{ run_started_at }}") == ()
