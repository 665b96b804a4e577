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
        ("dbt/no fault@check, stale",),
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
        "http/prometheus.py",
        "if answer.warnings or answer.isPartial:",
        "if answer.isPartial:",
        ("Prometheus/a warning@the gate, stale",),
    ),
    Mutation(
        "Prometheus' error with data counts",
        "http/prometheus.py",
        'if answer.status != "success":',
        "if not answer.status:",
        ("Prometheus/an error with data@the gate, stale",),
    ),
    Mutation(
        "a newest row that lies ahead is fresh",
        "gate/prometheus.py",
        "if loaded_at and is_ahead(loaded_at, min(checked_at, now)):",
        "if loaded_at and is_ahead(loaded_at, loaded_at):",
        ("Prometheus/newest row ahead@the gate, stale",),
    ),
    Mutation(
        "an answer of yesterday counts",
        "gate/samples.py",
        "if not abs(gap) <= FUTURE_TOLERANCE.total_seconds():",
        "if not abs(gap) <= 1e9:",
        ("Prometheus/answer of yesterday@the gate, stale",),
    ),
    Mutation(
        "series of another project count",
        "gate/samples.py",
        "        if found != value:\n",
        "        if not found:\n",
        ("Prometheus/another project@the gate, stale",),
    ),
)

_OF_DELIVERY = (
    Mutation(
        "any success counts as delivered",
        "sinks/pushgateway.py",
        "if response.status not in {_OK, _ACCEPTED} or response.body:",
        "if response.body:",
        ("gateway/201@PUT of push",),
    ),
    Mutation(
        "an answer in words counts as delivered",
        "sinks/pushgateway.py",
        "if response.status not in {_OK, _ACCEPTED} or response.body:",
        "if response.status not in {_OK, _ACCEPTED}:",
        ("gateway/200 OK in words@PUT of push",),
    ),
    Mutation(
        "a body that may have been cut is believed",
        "sinks/pushgateway.py",
        "if not response.framed:\n            raise self._unproven(",
        "if not response.framed and not response.body:\n            raise self._unproven(",
        ("gateway/no length@GET of push, one source fails, nothing remembered",),
    ),
    Mutation(
        "metrics that are no Pushgateway's are believed",
        "sinks/pushgateway.py",
        "if _OWN_METRIC not in response.body or ",
        "if ",
        ("gateway/not a gateway's metrics@GET of push, one source fails, nothing remembered",),
    ),
    Mutation(
        "an answer in another encoding is believed",
        "sinks/pushgateway.py",
        'if response.headers.get("Content-Encoding"):',
        'if response.headers.get("Content-Encoding") == "x":',
        ("gateway/unknown encoding@GET of push --select, nothing remembered",),
    ),
    Mutation(
        "times that cannot be are kept",
        "sinks/pushgateway.py",
        "            check_series(series, datetime.now(UTC))\n",
        "",
        ("gateway/a day ahead@GET of push --select, nothing remembered",),
    ),
    Mutation(
        "last known values are not merged",
        "sinks/deliver.py",
        "series = [*metrics.report_series(report), *kept]",
        "series = [*metrics.report_series(report)]",
        ("dbt/no fault@push, one source fails",),
    ),
    Mutation(
        "what was delivered is not remembered",
        "sinks/deliver.py",
        "    memory.remember(series)\n",
        "",
        ("gateway/another, empty replica@GET of push, one source fails",),
    ),
    Mutation(
        "a failed run is not told",
        "sinks/deliver.py",
        "    sink.post(metrics.failed_run_series(started_at, duration_seconds))\n",
        "",
        ("dbt/dbt is killed@one-source of push",),
    ),
    Mutation(
        "a server may take as long as it likes",
        "http/exchange.py",
        "thread.join(max(0.0, deadline - time.monotonic()))",
        "thread.join()",
        ("gateway/dripping headers@PUT of push",),
    ),
    Mutation(
        "an answer may be as long as it likes",
        "http/exchange.py",
        "if size > MAX_BODY_BYTES:",
        "if size > MAX_BODY_BYTES * 1000:",
        ("gateway/endless body@PUT of push",),
    ),
    Mutation(
        "a textfile is written in place",
        "sinks/files.py",
        "        Path(temporary).replace(path)\n",
        "        path.write_bytes(content)\n",
        ("signals/KILL@the file takes its place of push --textfile",),
    ),
    Mutation(
        "a FIFO is opened as if it were a file",
        "sinks/files.py",
        "    check_file(path)  # some devices act when they are opened\n"
        "    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)\n",
        "    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)\n",
        ("files/the textfile is a fifo@push --textfile",),
    ),
    Mutation(
        "a secret is shown as it is",
        "secrets.py",
        "text = text.replace(form, MASK)",
        "text = text.replace(form, form)",
        ("gateway/400, the request echoed@PUT of push",),
    ),
)

MUTATIONS = (*_OF_DBT, *_OF_THE_GATE, *_OF_DELIVERY)
