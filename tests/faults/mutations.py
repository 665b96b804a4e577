"""Small faults of the product itself, each of which the harness must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A text of the product, what it becomes, and the trials of which one must turn red."""

    name: str
    file: str
    before: str
    after: str
    noticed_by: tuple[str, ...]


_OF_DBT = (
    Mutation(
        "files of several runs are taken for one",
        "dbt/reconcile.py",
        "if len({run for run in runs.values() if run}) > 1:",
        "if len({run for run in runs.values() if run}) > 9:",
        ("dbt/the file of another run@end of push",),
    ),
    Mutation(
        "the sources.json of the run before is not removed",
        "dbt/process.py",
        "    _remove(artifact)\n",
        "",
        ("dbt/dbt exits with 0@begin of push",),
    ),
    Mutation(
        "entries that contradict each other are believed",
        "dbt/artifacts.py",
        "    _check_repeats((result.unique_id for result in artifact.results), name)\n",
        "",
        ("dbt/sources.json: said-twice-otherwise@push",),
    ),
    Mutation(
        "a look that lies ahead is believed",
        "dbt/reconcile.py",
        "if objection := span.objection(checked_at):",
        "if (objection := span.objection(checked_at)) and not objection:",
        ("dbt/sources.json: looked-tomorrow@push",),
    ),
    Mutation(
        "dbt may take as long as it likes",
        "dbt/process.py",
        "deadline = time.monotonic() + timeout",
        "deadline = time.monotonic() + timeout * 1e6",
        ("dbt/dbt hangs@spoken of push",),
    ),
    Mutation(
        "nobody ends dbt when obs is killed",
        "dbt/process.py",
        "with _watchdog(child.pid):",
        "with suppress():",
        ("signals/KILL, dbt waits@one-source of push",),
    ),
    Mutation(
        "two runs on one target do not wait for each other",
        "dbt/lock.py",
        "with _name_held(directory, path, deadline), _file_held(path, deadline):",
        "with suppress():",
        ("two runs/the same target@one-source of the other, push",),
    ),
)

_OF_THE_GATE = (
    Mutation(
        "one source that passes lets all through",
        "gate/judge.py",
        "and all(not judgement.blocks for judgement in self.judgements)",
        "and any(not judgement.blocks for judgement in self.judgements)",
        ("dbt/no fault@check --exposure, stale",),
    ),
    Mutation(
        "what is missing passes",
        "gate/judge.py",
        "return state is State.PASS or state in policy.allowed",
        "return state in {State.PASS, State.MISSING} or state in policy.allowed",
        ("dbt/sources.json: last-absent@check --exposure, fresh",),
    ),
    Mutation(
        "a query that failed passes",
        "gate/judge.py",
        "return state is State.PASS or state in policy.allowed",
        "return state in {State.PASS, State.QUERY_ERROR} or state in policy.allowed",
        ("dbt/sources.json: unknown-status@check --exposure, fresh",),
    ),
    Mutation(
        "a reader that leaves makes a refusal a success",
        "cli/__init__.py",
        "            if output.lost and not decided:\n",
        "            if output.lost == errno.EPIPE:\n                code = 0\n"
        "            elif output.lost and not decided:\n",
        ("streams/nobody reads stdout@check, stale",),
    ),
    Mutation(
        "Prometheus' partial answer counts",
        "gate/prometheus.py",
        "if answer.warnings or answer.isPartial:",
        "if answer.isPartial:",
        ("Prometheus/a warning@the gate, stale",),
    ),
    Mutation(
        "Prometheus' error with data counts",
        "gate/prometheus.py",
        'if answer.status != "success":',
        "if not answer.status:",
        ("Prometheus/an error with data@the gate, stale",),
    ),
    Mutation(
        "a newest row that lies ahead is fresh",
        "gate/prometheus.py",
        "if loaded_at and loaded_at - min(checked_at, now) > FUTURE_TOLERANCE:",
        "if loaded_at and loaded_at - min(checked_at, now) > FUTURE_TOLERANCE * 1e6:",
        ("Prometheus/newest row ahead@the gate, stale",),
    ),
    Mutation(
        "an answer of yesterday counts",
        "gate/prometheus.py",
        "if not abs(gap) <= FUTURE_TOLERANCE.total_seconds():",
        "if not abs(gap) <= 1e9:",
        ("Prometheus/answer of yesterday@the gate, stale",),
    ),
    Mutation(
        "series of another project count",
        "gate/prometheus.py",
        "        if found != value:\n",
        "        if not found:\n",
        ("Prometheus/another project@the gate, stale",),
    ),
)

MUTATIONS = (*_OF_DBT, *_OF_THE_GATE)
