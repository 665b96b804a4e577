"""The command line of the harness: which trials, how many at once, and what is told of them."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path

from tests.faults.catalogue import catalogue, named, reduced, shuffled
from tests.faults.play import Result, play
from tests.faults.stage import Template, parsed_template, stage
from tests.faults.table import as_markdown, record
from tests.faults.trial import Trial

PACKAGE_VARIABLE = "FAULTS_PACKAGE"
_POLL_SECONDS = 1.0
WORKERS = 3


def main(argv: Sequence[str]) -> int:
    """Run what the arguments ask for; return 1 if anything was violated."""
    told = _arguments(argv)
    trials = catalogue()
    chosen = named(trials, told.only) if told.only else trials
    chosen = reduced(chosen) if told.reduced else chosen
    if told.list:
        sys.stdout.writelines(f"{trial.name}\n" for trial in chosen)
        return 0
    if not chosen:
        sys.stderr.write(f"no trial is called {' or '.join(told.only)}\n")
        return 2
    began = time.monotonic()
    results = []
    for result in played(shuffled(chosen, told.seed), told.workers):
        results.append(result)
        _tell(result, len(results), len(chosen), verbose=told.verbose)
    table = as_markdown(chosen, results)
    seconds = time.monotonic() - began
    if told.record and len(results) == len(trials):
        record(told.record, table, len(results), seconds)
    return _conclude(results, table, seconds)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", metavar="FAULT@MOMENT", help="a name or pattern")
    parser.add_argument("--reduced", action="store_true", help="one moment of each fault")
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--seed", type=int, default=9, help="decides the order")
    parser.add_argument("--record", type=Path, help="put the table of a whole run into this page")
    parser.add_argument("--list", action="store_true", help="print the names and run nothing")
    parser.add_argument("--verbose", action="store_true", help="print how each run ended")
    return parser.parse_args(argv)


def played(trials: Sequence[Trial], workers: int) -> Iterator[Result]:
    """Play the trials with so many workers, and yield the results as they come."""
    context = multiprocessing.get_context("spawn")
    results: Queue[Result | None] = context.Queue()
    names: Queue[str | None] = context.Queue()
    for name in [*(trial.name for trial in trials), *[None] * workers]:
        names.put(name)
    with parsed_template() as template:
        arguments = (template, names, results, os.environ.get(PACKAGE_VARIABLE, ""))
        processes = [context.Process(target=_work, args=arguments) for _ in range(workers)]
        with _running(processes):
            yield from _gathered(results, processes)


def _gathered(results: Queue[Result | None], processes: Sequence[SpawnProcess]) -> Iterator[Result]:
    """Yield results until every worker says that it has done; raises if one dies before."""
    working = len(processes)
    while working:
        try:
            result = results.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            if any(process.exitcode for process in processes):
                raise ChildProcessError("a worker of the harness died") from None
            continue
        if result is None:
            working -= 1
        else:
            yield result


@contextmanager
def _running(processes: Sequence[SpawnProcess]) -> Iterator[None]:
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            if process.pid and sys.exc_info()[0]:
                os.kill(process.pid, signal.SIGTERM)
            process.join()


def _work(
    template: Template, names: Queue[str | None], results: Queue[Result | None], package: str
) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    known = {trial.name: trial for trial in catalogue()}
    try:
        with stage(template, Path(package) if package else None) as own:
            for name in iter(names.get, None):
                results.put(play(own, known[name]))
    finally:
        results.put(None)


def _tell(result: Result, number: int, total: int, *, verbose: bool) -> None:
    if verbose:
        outcome = result.outcome
        words = f"{outcome.exit} in {outcome.seconds:.2f} s, {outcome.megabytes:.0f} MB"
        sys.stderr.write(f"{number}/{total}  {result.name}: {words}\n")
        sys.stderr.write("".join(f"    | {line}\n" for line in outcome.stderr.splitlines()))
    for name, how in dict(reversed(result.violations)).items():  # the first of each
        sys.stderr.write(f"VIOLATED  {name}: {how}\n  {result.name}\n")
    if result.violations:
        sys.stderr.write(f"  python -m tests.faults --only {shlex.quote(result.name)}\n")


def _conclude(results: Sequence[Result], table: str, seconds: float) -> int:
    violated = [result for result in results if result.violations]
    sys.stdout.write(f"{table}\n{len(results)} runs in {seconds:.0f} s, ")
    sys.stdout.write(f"{len(violated)} with a violation\n")
    return int(bool(violated))
