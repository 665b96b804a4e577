"""What must hold after every run, whatever went wrong in it: each with its name."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.faults.scene import Outcome, Scene, Series
from tests.faults.trial import DOCUMENTED, DONE, REFUSED, SIGNALS, Kind, Trial
from tests.faults.world import RANK, TABLES, UPSTREAM, state

LOADED_AT = "dbt_source_loaded_at_seconds"
CHECKED_AT = "dbt_source_checked_at_seconds"
STATUS = "dbt_source_freshness_status"
RUN_SUCCESS = "dbt_freshness_run_success"
RUN_TIMESTAMP = "dbt_freshness_run_timestamp_seconds"
OF_SOURCES = (
    *(LOADED_AT, CHECKED_AT, STATUS, "dbt_source_info"),
    *("dbt_source_warn_after_seconds", "dbt_source_error_after_seconds"),
)
STATES = 7
FROM_SIGNALS = 128
MEGABYTES = 220.0
LINES = 6  # of obs' own, with two for each file that it cannot use
LINE_LENGTH = 1500
_AHEAD_SECONDS = 300.0
_EXACT_SECONDS = 0.01
UNKNOWN = Outcome(None, "", "", 0.0, 0.0)
_LINE = re.compile(r"obs: |Usage: |Try 'obs|Error: |\s|$")


@dataclass
class Evidence:
    """What was seen before, after and in a run, and in the next one."""

    trial: Trial
    scene: Scene
    outcome: Outcome
    before: Series
    after: Series
    happened: list[str]
    neighbour: bool
    next_outcome: Outcome = UNKNOWN
    restored: Series = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    processes: list[int] = field(default_factory=list)
    locks: list[Path] = field(default_factory=list)
    temporary: list[Path] = field(default_factory=list)

    @property
    def exit(self) -> int | None:
        """The exit code, as a shell shows it."""
        return self.outcome.exit

    @property
    def is_push(self) -> bool:
        """Whether the run was to deliver something."""
        return self.trial.command.kind is Kind.PUSH

    @property
    def killed(self) -> bool:
        """Whether obs was ended by a signal that it cannot handle."""
        return self.exit == 128 + SIGNALS["KILL"]

    def truth(self, *, before: bool) -> dict[str, float]:
        """Return each table's newest row, as Unix time."""
        times = self.scene.world.at(self.scene.started_at, before=before)
        return {table: moment.timestamp() for table, moment in times.items()}


def value(series: Series, name: str, **labels: str) -> float | None:
    """Return the value of the first series of a metric with these labels."""
    wanted = labels.items()
    return next(
        (v for (n, own), v in series.items() if n == name and wanted <= dict(own).items()), None
    )


def happened(run: Evidence) -> Iterator[str]:
    """The fault took place; else the run proves nothing."""
    trial = run.trial
    expected = trial.must_happen and bool(trial.misdeed or trial.met or trial.hook)
    if expected and not any(run.happened):
        yield "the fault did not take place"
    yield from (f"it did not happen: {word}" for word in trial.noted if word not in run.happened)


def ends_in_time(run: Evidence) -> Iterator[str]:
    """The run ended within its limit."""
    if run.outcome.code is None:
        yield f"it did not end within {run.trial.seconds:.0f} s"


def stays_small(run: Evidence) -> Iterator[str]:
    """Whatever is sent, obs holds little of it."""
    if run.outcome.megabytes > MEGABYTES:
        yield f"it took {run.outcome.megabytes:.0f} MB"


def exit_code(run: Evidence) -> Iterator[str]:
    """The exit code is documented, and is one that fits what happened."""
    if run.exit is None:
        return
    if run.exit not in DOCUMENTED:
        yield f"exit code {run.exit} is not documented"
    elif run.exit not in run.trial.codes:
        wanted = ", ".join(map(str, sorted(run.trial.codes)))
        yield f"exit code {run.exit}, not {wanted}"


def delivered(run: Evidence) -> Iterator[str]:
    """Exit code 0 of a push means that this run's series are there."""
    if not (run.is_push and run.exit == DONE) or run.trial.elsewhere:
        return
    if not _is_newer(run):
        yield "exit code 0, and the series are those of the run before"
    elif value(run.after, RUN_SUCCESS) != 1.0:
        yield "exit code 0, and run_success is not 1"
    if run.trial.misdeed.get("alter") or run.trial.may_lack:
        return
    for table in _measured(run):
        if table in run.trial.measured_otherwise:
            continue
        if not _same(value(run.after, LOADED_AT, table=table), run.truth(before=False)[table]):
            yield f"exit code 0, and {table} has not the time that was measured"


def nothing_is_gone(run: Evidence) -> Iterator[str]:
    """No series of a source that exists is gone."""
    for name in OF_SOURCES if run.is_push else ():
        for table in TABLES:
            if table in run.trial.measured_otherwise or not value(run.before, name, table=table):
                continue
            if value(run.after, name, table=table) is None:
                yield f"{name} of {table} is gone"


def no_time_goes_back(run: Evidence) -> Iterator[str]:
    """A source's time is one that was true, and a look is never unlearnt or ahead."""
    if not run.is_push:
        return
    old, new = run.truth(before=True), run.truth(before=False)
    latest = datetime.now(UTC).timestamp() + _AHEAD_SECONDS
    for table in TABLES:
        loaded_at = value(run.after, LOADED_AT, table=table)
        known_times = (old[table], new[table])
        if loaded_at is None or table in run.trial.measured_otherwise:
            continue
        if not any(_same(loaded_at, moment) for moment in known_times):
            yield f"{table} has the time {loaded_at!r}, which was never true"
        looked = value(run.after, CHECKED_AT, table=table)
        known = value(run.before, CHECKED_AT, table=table)
        if looked is not None and known is not None and not known <= looked <= latest:
            yield f"{table} was looked at {looked - known:+.0f} s from the look before"


def one_state(run: Evidence) -> Iterator[str]:
    """Each source is in exactly one state, which is no better than the truth."""
    if not run.is_push:
        return
    for table in TABLES:
        states = _states(run.after, table)
        if states and (len(states) != STATES or sorted(states.values()) != [0.0] * 6 + [1.0]):
            yield f"{table} is in {sum(states.values()):g} of {len(states)} states"
        yield from _flattered(run, table, states)


def _flattered(run: Evidence, table: str, states: Mapping[str, float]) -> Iterator[str]:
    said = next((name for name, number in states.items() if number == 1.0), "")
    worlds = [run.scene.world.at(run.scene.started_at, before=before) for before in (True, False)]
    best = min(RANK[state(world[table])] for world in worlds)
    if said in RANK and RANK[said] < best:
        yield f"{table} is called {said}"


def failure_is_told(run: Evidence) -> Iterator[str]:
    """A run that failed is told to the gateway, if that could be reached."""
    delivered = run.exit in (DONE, REFUSED)  # it says that sources are stale (--fail-on)
    if not run.is_push or delivered or not run.trial.told:
        return
    if not _is_newer(run) or value(run.after, RUN_SUCCESS) != 0.0:
        yield f"exit code {run.exit}, and run_success is still {value(run.after, RUN_SUCCESS)}"


def gate_is_shut(run: Evidence) -> Iterator[str]:
    """The gate is open only on evidence of this decision, and says only one thing."""
    if run.trial.command.kind is not Kind.GATE:
        return
    verdict = _verdict(run.outcome.stdout)
    opened = run.exit == DONE or verdict in ("pass", "warn", "open")
    times = run.scene.world.at(run.scene.started_at, before=False)
    stale = [t for t in UPSTREAM if state(times[t]) == "error"]
    if opened and stale:
        yield f"the gate is open ({run.exit}, {verdict!r}) over {', '.join(stale)}"
    elif opened and DONE not in run.trial.codes:
        yield f"the gate is open ({run.exit}, {verdict!r}) without evidence"
    if run.exit != DONE and verdict in ("pass", "warn", "open"):
        yield f"exit code {run.exit}, and the verdict is {verdict!r}"


def refusal_is_written(run: Evidence) -> Iterator[str]:
    """A gate that is asked for JSON writes a refusal where it does not open."""
    readable = run.trial.streams.stdout == "pipe"
    signalled = run.exit is None or run.exit > FROM_SIGNALS
    if run.trial.command.kind is not Kind.GATE or not run.trial.command.is_json:
        return
    if not readable or signalled:
        return
    if run.exit != DONE and _verdict(run.outcome.stdout) != "block":
        yield f"exit code {run.exit}, and stdout has no verdict: {run.outcome.stdout[:100]!r}"


def no_secret(run: Evidence) -> Iterator[str]:
    """No secret is in anything that was written, sent or shown."""
    for name, secret in run.scene.secrets.items():
        for place, text in run.texts.items():
            if any(form in text for form in _forms(secret)):
                yield f"the {name} is in {place}"


def _forms(secret: str) -> set[str]:
    login = base64.b64encode(f"shop:{secret}".encode()).decode()
    alone = base64.b64encode(secret.encode()).decode()
    return {secret, login, alone.rstrip("="), quote(secret, safe=""), quote_plus(secret)}


def few_words(run: Evidence) -> Iterator[str]:
    """A fault costs a line and its next step, and no traceback."""
    lines = run.outcome.stderr.splitlines()
    if "Traceback" in run.outcome.stderr or "Exception ignored" in run.outcome.stderr:
        yield f"a traceback: {lines[-1][:200]}"
        return
    odd = [line for line in lines if not _LINE.match(line) or len(line) > LINE_LENGTH]
    # What dbt says as it ends is repeated in its own words.
    odd += [line for line in lines if "[Errno" in line and "obs: dbt ended" not in line]
    if odd:
        yield f"stderr has an odd line: {odd[0][:200]!r}"
    messages = [line for line in lines if line.startswith("obs: ")]
    if len(messages) > LINES:
        yield f"{len(messages)} messages: {messages[-1][:200]}"


def says_something(run: Evidence) -> Iterator[str]:
    """A run that failed says why, in words."""
    heard = run.trial.streams.stdout == run.trial.streams.stderr == "pipe"
    silent = run.exit in (None, DONE) or (run.exit or 0) > FROM_SIGNALS or not heard
    words = run.outcome.stderr + run.outcome.stdout
    if not silent and not words.strip():
        yield f"exit code {run.exit}, and not a word"


def nothing_left(run: Evidence) -> Iterator[str]:
    """No process, lock or temporary file outlives the run."""
    if run.processes and not run.trial.leaves:
        yield f"processes are left: {run.processes}"
    yield from (f"{path.name} is still held" for path in run.locks)
    if len(run.temporary) > int(run.killed):
        yield f"files are left: {', '.join(path.name for path in run.temporary)}"


def neighbour_is_well(run: Evidence) -> Iterator[str]:
    """Another project's group is untouched."""
    if not run.neighbour:
        yield "another project's group is changed"


def next_run_restores(run: Evidence) -> Iterator[str]:
    """The next run alone, without a fault, brings back the truth."""
    if run.next_outcome.exit != DONE:
        words = (run.next_outcome.stderr or run.next_outcome.stdout).strip()[:300]
        yield f"the next run ends with {run.next_outcome.exit}: {words}"
    if not run.is_push:
        return
    for table, moment in run.truth(before=False).items():
        if not _same(value(run.restored, LOADED_AT, table=table), moment):
            yield f"after the next run {table} has not its true time"
        if sum(_states(run.restored, table).values()) != 1.0:
            yield f"after the next run {table} is not in one state"
    if value(run.restored, RUN_SUCCESS) != 1.0:
        yield "after the next run run_success is not 1"


def others_are_well(run: Evidence) -> Iterator[str]:
    """What ran beside it ended as it should."""
    yield from run.scene.complaints


Invariant = Callable[[Evidence], Iterator[str]]

INVARIANTS: dict[str, Invariant] = {
    check.__name__.replace("_", " "): check
    for check in (
        *(happened, ends_in_time, stays_small, exit_code, delivered, nothing_is_gone),
        *(no_time_goes_back, one_state, failure_is_told, gate_is_shut, refusal_is_written),
        *(no_secret, few_words, says_something, nothing_left, neighbour_is_well),
        *(next_run_restores, others_are_well),
    )
}


def violations(run: Evidence) -> list[tuple[str, str]]:
    """Return each invariant that is violated, and how."""
    return [(name, how) for name, check in INVARIANTS.items() for how in check(run)]


def _measured(run: Evidence) -> list[str]:
    """Return the tables that a run without a fault measures."""
    if "--select" in run.trial.command.argv:
        return ["orders"]
    return [table for table in TABLES if table not in run.scene.world.failing]


def _states(series: Series, table: str) -> dict[str, float]:
    found = {}
    for (name, own), number in series.items():
        labels = dict(own)
        if name == STATUS and labels.get("table") == table:
            found[labels.get("status", "")] = number
    return found


def _is_newer(run: Evidence) -> bool:
    old, new = value(run.before, RUN_TIMESTAMP), value(run.after, RUN_TIMESTAMP)
    return old is not None and new is not None and new > old


def _same(found: float | None, wanted: float) -> bool:
    return found is not None and abs(found - wanted) < _EXACT_SECONDS


def _verdict(stdout: str) -> str | None:
    try:
        document = json.loads(stdout)
    except ValueError:
        return None
    return document.get("verdict") if isinstance(document, dict) else None
